package serve

import (
	"cmp"
	"container/heap"
	"net/http"
	"slices"
	"strconv"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/lister"
)

// Bounds of one search.
const (
	maxRecent     = 1000    // files in an answer
	maxRecentRead = 1 << 20 // entries that are looked at
)

// recent answers ?recent=N: the N newest files at or below the directory,
// newest first. A stamp is never below the time of a file under it, so the
// search goes into directories by their stamps, latest first, and ends when no
// stamp is left above the oldest file found: O(N x depth) directories.
func (h *Handler) recent(w http.ResponseWriter, r *http.Request, q *dirRequest) {
	n, err := strconv.Atoi(q.query["recent"])
	if err != nil || n < 1 || n > maxRecent {
		h.send(w, q.base().refused(http.StatusBadRequest, "want ?recent=N, 1 to 1000"))
		return
	}
	if !h.ready(w, q) {
		return
	}
	if !q.snap.State.Prunes() {
		h.send(w, q.base().refused(http.StatusConflict, "only where watch keeps the stamps can the newest files be found"))
		return
	}
	leave, ok := h.enter(w, r, q)
	if !ok {
		return
	}
	defer leave()
	s := &search{h: h, root: q.path, lister: h.tree.Lister(q.snap), most: n, dirs: []ranked{{stamp: q.self.MTime}}}
	if err := s.run(r); err != nil {
		h.fail(w, q.base(), err)
		return
	}
	h.sendFound(w, q, s.files(), leave)
}

// search is a best-first search for the newest files.
type search struct {
	h      *Handler
	root   string
	lister *lister.Lister
	most   int
	dirs   latest // directories still to be looked at
	found  oldest // the newest files so far, no more than most
	read   int    // entries so far
}

// ranked is a path and the time that decides when it is looked at.
type ranked struct {
	stamp mtree.Stamp
	path  string
	entry mtree.Entry
}

// run searches until nothing newer can be found.
func (s *search) run(r *http.Request) error {
	for len(s.dirs) > 0 && s.read < maxRecentRead {
		if err := r.Context().Err(); err != nil {
			return err
		}
		next := heap.Pop(&s.dirs).(ranked)
		if len(s.found) == s.most && !next.stamp.After(s.found[0].stamp) {
			return nil
		}
		if err := s.look(r, next.path); err != nil {
			return err
		}
	}
	return nil
}

// look looks at the entries of one directory. A directory that has gone or may not be
// read shows no files.
func (s *search) look(r *http.Request, path string) error {
	l, err := s.h.readDir(r, s.lister, joined(s.root, path))
	if path != "" && (disk.IsAbsent(err) || disk.IsDenied(err)) {
		return nil
	}
	if err != nil {
		return err
	}
	s.read += len(l.Entries)
	for i := range l.Entries {
		e := &l.Entries[i]
		switch e.Kind {
		case mtree.Dir:
			heap.Push(&s.dirs, ranked{stamp: e.MTime, path: mtree.JoinPath(path, e.Name)})
		case mtree.File:
			s.take(ranked{rank(e, l.Stamp), mtree.JoinPath(path, e.Name), *e})
		}
	}
	return nil
}

// rank returns the time by which a file is ordered. A file that was dated ahead of the
// clock counts from its ctime, even after its date has come. No rank is above stamp, its
// directory's, else the search would miss the file.
func rank(e *mtree.Entry, stamp mtree.Stamp) mtree.Stamp {
	if e.MTime.After(stamp) {
		return mtree.Earlier(e.CTime, stamp)
	}
	return e.MTime
}

// take keeps a file if it is among the newest so far.
func (s *search) take(file ranked) {
	if len(s.found) < s.most {
		heap.Push(&s.found, file)
	} else if file.stamp.After(s.found[0].stamp) {
		s.found[0] = file
		heap.Fix(&s.found, 0)
	}
}

// files returns the files found as entries that are named by their paths, newest first.
func (s *search) files() []mtree.Entry {
	slices.SortFunc(s.found, func(a, b ranked) int {
		return cmp.Or(b.stamp.Compare(a.stamp), cmp.Compare(a.path, b.path))
	})
	entries := make([]mtree.Entry, len(s.found))
	for i, file := range s.found {
		entries[i] = file.entry
		entries[i].Name = file.path
	}
	return entries
}

// latest is a heap with the latest stamp on top.
type latest []ranked

func (q latest) Len() int           { return len(q) }
func (q latest) Less(i, j int) bool { return q[i].stamp.After(q[j].stamp) }
func (q latest) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *latest) Push(x any)        { *q = append(*q, x.(ranked)) }
func (q *latest) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

// oldest is a heap with the earliest stamp on top.
type oldest []ranked

func (q oldest) Len() int           { return len(q) }
func (q oldest) Less(i, j int) bool { return q[i].stamp.Before(q[j].stamp) }
func (q oldest) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *oldest) Push(x any)        { *q = append(*q, x.(ranked)) }
func (q *oldest) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}
