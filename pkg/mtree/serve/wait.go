package serve

import (
	"net/http"

	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/serve/internal/negotiate"
	"tidemark/pkg/mtree/wire"
)

// listingWhenNew answers ?wait: the listing as soon as it is not the one that If-None-Match
// names, or 304 after the time-out.
func (h *Handler) listingWhenNew(w http.ResponseWriter, r *http.Request, q *dirRequest) {
	if mismatched(r) {
		h.send(w, q.base().refused(http.StatusPreconditionFailed, noStrongTag))
		return
	}
	tags := negotiate.Field(r, "If-None-Match")
	q.noStore = true
	end := differs
	leave, ok := func() {}, true
	if !q.snap.State.Prunes() {
		leave, ok = h.pollLimit.tryEnter(&place{client: clientOf(r)})
	}
	switch {
	case !ok:
		q.retry = "1"
		end = timedOut
	case tags != "":
		defer leave()
		end = h.await(w, r, q, func(dir *disk.Dir) (bool, error) { return h.isNew(r, q, dir, tags) })
	default:
		leave()
	}
	if end == answered {
		return
	}
	dir, err := h.tree.OpenDir(q.path)
	if err != nil {
		h.fail(w, q.base(), err)
		return
	}
	defer dir.Close()
	if end == timedOut {
		h.nothingNew(w, r, q, dir, tags)
		return
	}
	h.listing(w, r, q, dir)
}

// isNew reports whether the listing differs from those that tags name. It reads the
// directory only if no stamp proves the listing.
func (h *Handler) isNew(r *http.Request, q *dirRequest, dir *disk.Dir, tags string) (bool, error) {
	if h.byStamp(q) {
		return !negotiate.NoneMatch(tags, q.stampTag(q.self.MTime, q.hot)), nil
	}
	p, err := h.page(r, q, dir)
	if err != nil {
		return false, err
	}
	if !p.Stamped {
		q.seen = p.Tag
	}
	return p.Tag == "" || !negotiate.NoneMatch(tags, p.Tag), nil
}

// nothingNew answers 304 to a request that waited in vain, with the present state of the
// tree; or the listing, if its stamp changed at the last moment.
func (h *Handler) nothingNew(w http.ResponseWriter, r *http.Request, q *dirRequest, dir *disk.Dir, tags string) {
	if err := h.look(q, dir); err != nil {
		h.fail(w, q.base(), err)
		return
	}
	tag := q.stampTag(q.self.MTime, q.hot)
	stamped := tags != "" && h.byStamp(q)
	if stamped && !negotiate.NoneMatch(tags, tag) {
		h.listing(w, r, q, dir)
		return
	}
	a := h.listingReply(q)
	if stamped {
		a.tag = wire.QuoteTag(tag, string(q.coding))
	} else if q.seen != "" {
		a.tag = wire.QuoteTag(q.seen, string(q.coding))
	}
	h.send(w, a.notModified())
}
