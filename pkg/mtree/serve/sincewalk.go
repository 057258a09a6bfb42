package serve

import (
	"errors"
	"net/http"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/lister"
	"tidemark/pkg/mtree/serve/internal/pages"
	"tidemark/pkg/mtree/serve/internal/render"
)

// maxSince bounds one answer to ?since, in bytes before compression. The next request
// gets the rest.
const maxSince = pages.MaxWhole

// sinceWalk is the walk for one answer to ?since: it writes the listings of the directories
// that changed, parents first, and reads each directory while the one before it is sent.
type sinceWalk struct {
	h       *Handler
	r       *http.Request
	lister  *lister.Lister
	root    string      // path of the directory that was asked about
	from    mtree.Stamp // write directories with stamps above this
	after   string      // write directories that come after this path; "": all
	out     *sink       // nil: all is kept in body, up to maxShared bytes
	body    []byte      // not yet in out
	written int         // bytes of listings
	last    string      // path of the last listing written
	cut     bool        // there is more
	hot     bool        // a listing or a part was hot
	sending func()      // called before a piece is sent, which may take long; nil: nothing
	kept    *pages.Page // the listing that was too long for body, to be sent by another walk; nil: none
}

// walk writes the directory at path, relative to the one that was asked about, and then
// those below it, in the order of their names. A directory that has gone or may not be
// read is skipped: its parent's listing, or a request for it, shows that. ahead is the
// directory if it is being read already, or nil.
func (s *sinceWalk) walk(path string, ahead *prefetch) error {
	defer ahead.wait()
	order := mtree.TreeOrder(path, s.after)
	if order < 0 && !isWithin(s.after, path) {
		return nil
	}
	if s.written > maxSince && s.last != "" {
		s.cut = true
		return nil
	}
	page, ok, err := s.list(path, ahead)
	if err != nil || !ok {
		return err
	}
	if order > 0 || s.after == "" {
		if err := s.write(path, page); err != nil {
			return err
		}
	}
	return s.walkEach(path, s.changed(page.Below))
}

// list returns the listing of the directory at path, or false if there is none to be told now.
func (s *sinceWalk) list(path string, ahead *prefetch) (page *pages.Page, ok bool, err error) {
	page, err = s.take(path, ahead)
	switch {
	case path != "" && (disk.IsAbsent(err) || disk.IsDenied(err)):
		return nil, false, nil
	case err == errBusy && s.last != "":
		s.cut = true
		return nil, false, nil
	}
	return page, err == nil, err
}

// walkEach walks the directories of these names in the directory at path.
func (s *sinceWalk) walkEach(path string, names []string) error {
	var next *prefetch
	for i, name := range names {
		this := next
		if next = nil; i+1 < len(names) && s.written <= maxSince {
			next = s.prefetch(mtree.JoinPath(path, names[i+1]))
		}
		if err := s.walk(mtree.JoinPath(path, name), this); err != nil || s.cut {
			next.wait()
			return err
		}
	}
	return nil
}

// changed returns the names of the directories whose stamps are above from.
func (s *sinceWalk) changed(below []pages.Subdir) (names []string) {
	for _, dir := range below {
		if dir.Stamp.After(s.from) {
			names = append(names, dir.Name)
		}
	}
	return names
}

// write writes the listing of the directory at path.
func (s *sinceWalk) write(path string, page *pages.Page) error {
	s.last = path
	s.hot = s.hot || page.Hot
	if s.out != nil {
		give, err := s.h.hold(s.out.w, page)
		if err != nil {
			return err
		}
		defer give()
	}
	for _, piece := range page.Pieces {
		if err := s.put(piece); err != nil {
			s.kept = page
			return err
		}
	}
	return nil
}

// maxShared is how many bytes an answer that is made for several requests may have.
const maxShared = 1 << 20

// errNotShared says that an answer is too long to be made for several requests.
var errNotShared = errors.New("too long for one answer to several requests")

// put writes a piece of the body.
func (s *sinceWalk) put(piece []byte) (err error) {
	s.written += len(piece)
	switch {
	case s.out == nil && len(s.body)+len(piece) > maxShared:
		return errNotShared
	case s.out == nil || len(s.body)+len(piece) < sinkPiece:
		s.body = append(s.body, piece...)
		return nil
	}
	if s.sending != nil {
		s.sending()
	}
	if len(piece) < sinkPiece {
		s.body, err = s.out.write(append(s.body, piece...))
		return err
	}
	err = errors.Join(s.out.flush(s.body), s.out.flush(piece))
	s.body = s.body[:0]
	return err
}

// prefetch is a directory that is read in a goroutine of its own.
type prefetch struct {
	done chan struct{}
	page *pages.Page
	err  error
}

// prefetch begins to read the directory at path. It returns nil if the walk will not
// write that directory.
func (s *sinceWalk) prefetch(path string) *prefetch {
	if mtree.TreeOrder(path, s.after) < 0 {
		return nil
	}
	p := &prefetch{done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.page, p.err = s.read(path, true)
	}()
	return p
}

// wait waits until the goroutine has ended, even if its result is not needed. p may be
// nil.
func (p *prefetch) wait() {
	if p != nil {
		<-p.done
	}
}

// errLarge says that a directory is too large to be read ahead of its turn.
var errLarge = errors.New("not read ahead")

// take returns the listing of the directory at path: the one that was kept, or from ahead, unless
// that is nil or the directory was too large for it.
func (s *sinceWalk) take(path string, ahead *prefetch) (*pages.Page, error) {
	if p := s.kept; p != nil && p.Key == sinceKey(path, joined(s.root, path)) {
		s.kept = nil
		return p, nil
	}
	if ahead != nil {
		if ahead.wait(); ahead.err != errLarge {
			return ahead.page, ahead.err
		}
	}
	return s.read(path, false)
}

// sharedSize is the least size of a directory, in bytes as stat returns them, that walks
// read together if several want it at one time. Reading a smaller one takes little
// memory.
const sharedSize = 64 << 10

// read reads the directory at path. With ahead, a large one gives errLarge.
func (s *sinceWalk) read(path string, ahead bool) (*pages.Page, error) {
	full := joined(s.root, path)
	dir, err := s.h.tree.OpenDir(full)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	info, err := dir.Self()
	switch {
	case err != nil:
		return nil, err
	case info.Size <= min(sharedSize, s.h.largeSize):
		return s.page(dir, path, full, s.from)
	case info.Size > s.h.largeSize && ahead:
		return nil, errLarge
	}
	key := pages.FlightKey{Key: sinceKey(path, full), Fingerprint: s.h.tree.Now().Fingerprint}
	return s.h.share(s.r, key, pages.Time{}, func() (*pages.Page, error) {
		leave, err := s.h.enterLarge(s.r, info.Size)
		if err != nil {
			return nil, err
		}
		defer leave()
		p, err := s.page(dir, path, full, mtree.MinStamp)
		if err != nil {
			return nil, err
		}
		return s.h.live.Same(p), nil
	})
}

// sinceKey names the listing of the directory at full as it stands in an answer to
// ?since, under path.
func sinceKey(path, full string) pages.Key {
	return pages.Key{Path: full, Format: render.Format("since " + path)}
}

// page reads and renders one directory as it stands in an answer, with the directories in
// it whose stamps are above from.
func (s *sinceWalk) page(dir *disk.Dir, path, full string, from mtree.Stamp) (*pages.Page, error) {
	s.h.cfg.Stats.Listings.Add(1)
	l, err := s.lister.Read(dir, full)
	if err != nil {
		return nil, err
	}
	l.Path = path
	p := pages.New(sinceKey(path, full), &l, render.New(render.Text, &l, render.Options{}), false)
	p.Below = pages.Subdirs(&l, from)
	return p, nil
}
