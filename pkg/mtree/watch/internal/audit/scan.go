package audit

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/glob"
	"tidemark/pkg/mtree/internal/notify"
	"tidemark/pkg/mtree/internal/sys"
	"tidemark/pkg/mtree/watch/internal/health"
	"tidemark/pkg/mtree/watch/internal/ownwrites"
)

// Tree is what an audit scans. OwnWrites, Health and Borders may be used by others
// meanwhile; the rest does not change while an audit runs.
type Tree struct {
	Root        *disk.Dir
	Source      notify.Source // where directories are armed
	Exclude     *glob.List
	CrossMounts bool          // enter directories on other file systems
	Granule     time.Duration // the smallest step of time that the file system stores
	Now         func() mtree.Stamp

	OwnWrites *ownwrites.Memory
	Health    *health.Monitor
	Borders   *health.Borders
	Earlier   map[string]bool // borders of an earlier run, by path; "" is every directory

	Unfollowed error // why nobody tells when mounts come or go; nil: somebody does
}

// Scope says which times an audit takes for changes.
type Scope struct {
	All    bool        // every directory counts as changed
	First  bool        // the first run on this tree: stamps are the greatest mtimes
	Since  mtree.Stamp // ctimes at or after this are changes
	Before mtree.Stamp // start of the audit before this one
	Floor  mtree.Stamp // highest stamp published when this one starts
	Slow   bool        // one worker, whose disk requests come after those of others
}

// Join returns the scope that covers both.
func (s Scope) Join(t Scope) Scope {
	return Scope{
		All: s.All || t.All, First: s.First || t.First, Slow: s.Slow && t.Slow,
		Since: mtree.Earlier(s.Since, t.Since), Before: mtree.Earlier(s.Before, t.Before),
		Floor: t.Floor,
	}
}

// FindingsAtOnce is how many findings go to the writer together: enough that
// their common ancestors are stamped once for many, few enough that changes
// heard meanwhile wait only milliseconds.
const FindingsAtOnce = 512

// scan is one scan of the whole tree, in parallel by directory descriptors.
//
// Cost: per directory one open, two fstat, one statx for .tidemark, the watch,
// and a getdents64 for each 64 KiB of names; per entry one statx. Memory: the
// names of directories that wait to be opened.
type scan struct {
	Tree
	Scope
	ctx      context.Context
	findings chan<- []Finding
	unread   map[string]bool // directories that could not be read before

	mu     sync.Mutex
	ready  sync.Cond
	stack  []*visit // directories that wait to be opened
	busy   int      // workers that may still push
	chunk  []Finding
	failed error
	mounts map[string]bool // see Report

	mounted atomic.Bool // something is mounted below the root, and not excluded

	sending sys.Mutex     // held until the writer took a chunk
	waited  time.Duration // for the writer

	directories, files, others, bytes, found atomic.Int64
}

// visit is one directory of a scan.
type visit struct {
	parent   *visit
	name     string
	inode    uint64      // when it was listed
	ctime    mtree.Stamp // the same
	dir      *disk.Dir   // open while children wait to be opened
	info     disk.Info   // of dir
	ref      notify.Ref
	fresh    bool         // it is heard from this visit on
	arrived  bool         // it or a directory above it may have got another name
	below    bool         // see Finding
	came     mtree.Stamp  // the latest ctime of it and of those above it
	judged   mtree.Stamp  // see Finding
	waiting  atomic.Int64 // children not yet opened, +1 while it is listed itself
	pending  atomic.Int64 // children not yet finished, +1 while it is listed itself
	mu       sync.Mutex   // of greatest
	greatest mtree.Stamp  // first run: the greatest mtime at or below
}

// opened records that one child no longer needs the descriptor.
func (v *visit) opened() {
	if v.waiting.Add(-1) == 0 {
		_ = v.dir.Close()
	}
}

func (v *visit) raise(t mtree.Stamp) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.greatest = mtree.Later(v.greatest, t)
}

// path returns the path of v. It is built only for directories with something to report,
// with one allocation: a tree may be thousands of directories deep.
func (v *visit) path() string {
	size := 0
	for up := v; up.parent != nil; up = up.parent {
		size += len(up.name) + 1
	}
	if size == 0 {
		return ""
	}
	path := make([]byte, size-1)
	at := len(path)
	for up := v; up.parent != nil; up = up.parent {
		at -= len(up.name)
		copy(path[at:], up.name)
		if at > 0 {
			at--
			path[at] = '/'
		}
	}
	return string(path)
}

// place returns where v is, for ownwrites; the root is always at its own.
func (v *visit) place() ownwrites.Place {
	if v.parent == nil {
		return 0
	}
	return ownwrites.PlaceOf(v.parent.info, v.name, v.info)
}

// push puts the subdirectories of v on the stack.
func (s *scan) push(v *visit, below []*visit) {
	v.waiting.Add(int64(len(below)))
	v.pending.Add(int64(len(below)))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stack = append(s.stack, below...)
	if len(below) > 1 {
		s.ready.Broadcast()
	}
}

// finished is called for v when v and everything below it are listed. It goes on to
// the parent if this was the parent's last child. On the first run the greatest mtime
// is known then, children before their parents.
func (s *scan) finished(v *visit) {
	for ; v != nil && v.pending.Add(-1) == 0; v = v.parent {
		if !s.First || v.dir == nil {
			continue
		}
		s.report(Finding{Path: v.path(), Judged: v.judged, First: true, Value: v.greatest, Showed: v.info.MTime})
		if v.parent != nil {
			v.parent.raise(v.greatest)
		}
	}
}

// report queues a finding for the writer.
func (s *scan) report(f Finding) {
	s.found.Add(1)
	s.mu.Lock()
	s.chunk = append(s.chunk, f)
	full := len(s.chunk) >= FindingsAtOnce
	s.mu.Unlock()
	if full {
		s.send(false)
	}
}

// send hands the queued findings to the writer and waits until it takes them: the last
// ones always, else only a full chunk. One at a time, so that the writer gets them in
// the order of report: on the first run children come before their parents.
func (s *scan) send(last bool) {
	s.sending.Lock()
	defer s.sending.Unlock()
	s.mu.Lock()
	chunk := s.chunk
	if !last && len(chunk) < FindingsAtOnce {
		chunk = nil
	} else {
		s.chunk = nil
	}
	s.mu.Unlock()
	if len(chunk) == 0 {
		return
	}
	began := time.Now()
	select {
	case s.findings <- chunk:
	case <-s.ctx.Done():
	}
	s.waited += time.Since(began)
}
