package changed

import (
	"errors"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/lister"
	"tidemark/pkg/mtree/serve/internal/pages"
	"tidemark/pkg/mtree/serve/internal/render"
)

// maxBody bounds one answer, in bytes before compression. The next question gets the rest.
const maxBody = pages.MaxWhole

// sendPiece is how many bytes of an answer are gathered before they are sent.
const sendPiece = 64 << 10

// Walk is the walk for one answer: it writes the listings of the directories that changed,
// parents first, and reads each directory while the one before it is sent. One goroutine may
// use it, once.
type Walk struct {
	Question
	Kept *pages.Page // the listing that was too long for the body, to be sent by another walk of the same question; nil: none

	// Reserve takes room for KeptMost bytes. It is called once at most: before the first whole
	// listing is read, or before an answer that is kept in memory gets as long as a page that
	// counts. It may wait. An error of it ends the walk. nil: no room is taken.
	Reserve func() error

	reader  *Reader
	lister  *lister.Lister
	out     *Output // nil: all is kept in body, up to maxShared bytes
	body    []byte  // not yet in out
	written int     // bytes of listings
	last    string  // path of the last listing written
	cut     bool    // there is more
	hot     bool    // a listing or a part was hot
	sending func()  // called before a piece is sent or room is waited for, which may take long; nil: nothing

	reserved bool // Reserve was called
}

// walk writes the directory at path, relative to the one that was asked about, and then
// those below it, in the order of their names. A directory that has gone or may not be
// read is skipped: its parent's listing, or a request for it, shows that. ahead is the
// directory if it is being read already, or nil.
func (w *Walk) walk(path string, ahead *prefetch) error {
	defer ahead.wait()
	order := mtree.TreeOrder(path, w.After)
	if order < 0 && !isWithin(w.After, path) {
		return nil
	}
	if w.written > maxBody && w.last != "" {
		w.cut = true
		return nil
	}
	page, ok, err := w.list(path, ahead)
	if err != nil || !ok {
		return err
	}
	if order > 0 || w.After == "" {
		if err := w.write(path, page); err != nil {
			return err
		}
	}
	return w.walkEach(path, w.changed(page.Below))
}

// list returns the listing of the directory at path, or false if there is none to be told now.
func (w *Walk) list(path string, ahead *prefetch) (page *pages.Page, ok bool, err error) {
	if err := w.reserve(); err != nil {
		return nil, false, err
	}
	page, err = w.take(path, ahead)
	switch {
	case path != "" && (disk.IsAbsent(err) || disk.IsDenied(err)):
		return nil, false, nil
	case err == ErrBusy && w.last != "":
		w.cut = true
		return nil, false, nil
	}
	return page, err == nil, err
}

// walkEach walks the directories of these names in the directory at path.
func (w *Walk) walkEach(path string, names []string) error {
	var next *prefetch
	for i, name := range names {
		this := next
		if next = nil; i+1 < len(names) && w.written <= maxBody {
			next = w.prefetch(mtree.JoinPath(path, names[i+1]))
		}
		if err := w.walk(mtree.JoinPath(path, name), this); err != nil || w.cut {
			next.wait()
			return err
		}
	}
	return nil
}

// changed returns the names of the directories whose stamps are above Since.
func (w *Walk) changed(below []pages.Subdir) (names []string) {
	for _, dir := range below {
		if dir.Stamp.After(w.Since) {
			names = append(names, dir.Name)
		}
	}
	return names
}

// write writes the listing of the directory at path.
func (w *Walk) write(path string, page *pages.Page) error {
	w.last = path
	w.hot = w.hot || page.Hot
	if w.out != nil {
		give, err := w.out.Hold(page)
		if err != nil {
			return err
		}
		defer give()
	}
	for _, piece := range page.Pieces {
		if err := w.put(piece); err != nil {
			w.Kept = page
			return err
		}
	}
	return nil
}

// maxShared is how many bytes an answer that is made for several who ask may have.
const maxShared = 1 << 20

// KeptMost is how much memory such an answer takes at most while it is made, in bytes: its body and
// the listing that is added to it.
const KeptMost = 2 * maxShared

// reserve calls Reserve, unless it was called.
func (w *Walk) reserve() error {
	if w.Reserve == nil || w.reserved {
		return nil
	}
	w.reserved = true
	if w.sending != nil {
		w.sending()
	}
	return w.Reserve()
}

// put writes a piece of the body.
func (w *Walk) put(piece []byte) (err error) {
	w.written += len(piece)
	switch {
	case w.out == nil:
		return w.keep(piece)
	case len(w.body)+len(piece) < sendPiece:
		w.body = append(w.body, piece...)
		return nil
	}
	if w.sending != nil {
		w.sending()
	}
	if len(piece) < sendPiece {
		w.body = append(w.body, piece...)
		err = w.out.Send(w.body)
		w.body = w.body[:0]
		return err
	}
	err = errors.Join(w.out.Send(w.body), w.out.Send(piece))
	w.body = w.body[:0]
	return err
}

// keep adds a piece to a body that is kept in memory.
func (w *Walk) keep(piece []byte) error {
	length := len(w.body) + len(piece)
	if length > maxShared {
		return ErrNotShared
	}
	if length >= pages.Small {
		if err := w.reserve(); err != nil {
			return err
		}
	}
	w.body = append(w.body, piece...)
	return nil
}

// prefetch is a directory that is read in a goroutine of its own.
type prefetch struct {
	done chan struct{}
	page *pages.Page
	err  error
}

// prefetch begins to read the directory at path. It returns nil if the walk will not
// write that directory.
func (w *Walk) prefetch(path string) *prefetch {
	if mtree.TreeOrder(path, w.After) < 0 {
		return nil
	}
	p := &prefetch{done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.page, p.err = w.read(path, true)
		if p.err == nil && p.page.Size >= pages.Small { // guard: TestLargeDirectoriesAreNotReadAhead
			p.page, p.err = nil, errLarge
		}
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
func (w *Walk) take(path string, ahead *prefetch) (*pages.Page, error) {
	if p := w.Kept; p != nil && p.Key == sinceKey(path, joined(w.Path, path)) {
		w.Kept = nil
		return p, nil
	}
	if ahead != nil {
		if ahead.wait(); ahead.err != errLarge {
			return ahead.page, ahead.err
		}
	}
	return w.read(path, false)
}

// sharedSize is the least size of a directory, in bytes as stat returns them, that walks
// read together if several want it at one time. Reading a smaller one takes little
// memory.
const sharedSize = 64 << 10

// aheadSize is the largest directory, in bytes as stat returns them, that is read ahead of its turn:
// until then nothing counts its listing, and the client may take long to read the one before. So
// one that would count is not kept either. Names of usual length reach that above 16 KiB.
const aheadSize = 16 << 10

// read reads the directory at path. With ahead, a large one gives errLarge.
func (w *Walk) read(path string, ahead bool) (*pages.Page, error) {
	full := joined(w.Path, path)
	dir, err := w.reader.Tree.OpenDir(full)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	info, err := dir.Self()
	switch {
	case err != nil:
		return nil, err
	case ahead && info.Size > min(aheadSize, w.reader.LargeSize): // guard: TestLargeDirectoriesAreNotReadAhead
		return nil, errLarge
	case info.Size <= min(sharedSize, w.reader.LargeSize):
		return w.page(dir, path, full, w.Since)
	}
	key := pages.FlightKey{Key: sinceKey(path, full), Fingerprint: w.reader.Tree.Now().Fingerprint}
	return w.reader.Shared(key, info.Size, func() (*pages.Page, error) { return w.page(dir, path, full, mtree.MinStamp) })
}

// sinceKey names the listing of the directory at full as it stands in an answer to
// ?since, under path.
func sinceKey(path, full string) pages.Key {
	return pages.Key{Path: full, Format: render.Format("since " + path)}
}

// page reads and renders one directory as it stands in an answer, with the directories in
// it whose stamps are above from.
func (w *Walk) page(dir *disk.Dir, path, full string, from mtree.Stamp) (*pages.Page, error) {
	w.reader.Listings.Add(1)
	l, err := w.lister.Read(dir, full)
	if err != nil {
		return nil, err
	}
	l.Path = path
	p := pages.New(sinceKey(path, full), &l, render.New(render.Text, &l, render.Options{}), false)
	p.Below = pages.Subdirs(&l, from)
	return p, nil
}
