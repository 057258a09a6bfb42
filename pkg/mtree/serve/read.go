package serve

import (
	"net/http"
	"runtime/debug"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/lister"
)

// look reads the directory's own times.
func (h *Handler) look(q *dirRequest, dir *disk.Dir) (err error) {
	reader := h.tree.Lister(q.snap)
	if q.self, err = reader.Self(dir, q.path); err == nil && reader.Copy {
		q.hot = !reader.Finished(dir, q.path, q.self)
	}
	return err
}

// read reads the listing of a directory that was looked at.
func (h *Handler) read(q *dirRequest, dir *disk.Dir) (*mtree.Listing, error) {
	if dir == h.tree.Root() {
		// A descriptor has one position for all its readers.
		own, err := h.tree.OpenDir("")
		if err != nil {
			return nil, err
		}
		defer own.Close()
		dir = own
	}
	h.cfg.Stats.Listings.Add(1)
	l, err := h.tree.Lister(q.snap).Read(dir, q.path)
	if err == nil && !l.Hot && l.Stamp == q.self.MTime && !hasLinks(&l) {
		h.linkless.Learn(q.path, q.time())
	}
	return &l, err
}

// readDir opens the directory at path and reads its listing, for a request that needs
// more than the listing, or several. It passes largeLimit.
func (h *Handler) readDir(r *http.Request, reader *lister.Lister, path string) (mtree.Listing, error) {
	dir, err := h.tree.OpenDir(path)
	if err != nil {
		return mtree.Listing{}, err
	}
	defer dir.Close()
	self, err := dir.Self()
	if err != nil {
		return mtree.Listing{}, err
	}
	leave, err := h.enterLarge(r, self.Size)
	if err != nil {
		return mtree.Listing{}, err
	}
	defer leave()
	return reader.Read(dir, path)
}

// enterLarge lets a request read a directory of this size; leave must follow. For a large
// directory, the request waits for a place in largeLimit.
func (h *Handler) enterLarge(r *http.Request, size int64) (leave func(), err error) {
	if size <= h.largeSize {
		return func() {}, nil
	}
	out, err := h.largeLimit.enter(r, &place{client: clientOf(r)})
	if err != nil {
		return nil, err
	}
	return func() {
		// 140 bytes an entry are garbage now. Without this call, the next listing would need
		// as much beside it. The call takes a hundredth of the time of reading.
		debug.FreeOSMemory()
		out()
	}, nil
}

// listingMemory returns how many bytes of memory a listing takes as it was read.
func listingMemory(l *mtree.Listing) int64 { return 200 * int64(len(l.Entries)) }
