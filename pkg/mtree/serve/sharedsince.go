package serve

import (
	"net/http"
	"strings"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/serve/internal/negotiate"
	"tidemark/pkg/mtree/serve/internal/pages"
	"tidemark/pkg/mtree/serve/internal/render"
	"tidemark/pkg/mtree/wire"
)

// answersBytes bounds the memory of answers that are kept for others who ask the same.
const answersBytes = 4 << 20

// sharedSince returns an answer to ?since with parts, made once for all who ask the same while
// the directory has the same stamp: after each change many mirrors do. errNotShared: it is too
// long for that.
func (h *Handler) sharedSince(r *http.Request, q *dirRequest, from mtree.Stamp, after string) (*pages.Page, error) {
	key := pages.Key{Path: q.path, Format: render.Format("part " + from.String() + " " + after), Coding: q.coding}
	flight, time := pages.FlightKey{Key: key, Fingerprint: q.snap.Fingerprint, State: q.snap.State}, pages.Time{}
	if q.snap.State == wire.Watched {
		p := h.answers.Get(key, q.time())
		if p != nil && !strings.Contains(negotiate.Field(r, "Cache-Control"), "no-cache") {
			h.cfg.Stats.Cached.Add(1)
			return p, nil
		}
		time = q.time()
	}
	return h.share(r, flight, time, func() (*pages.Page, error) { return h.makeSince(r, q, key, from, after) })
}

// makeSince makes such an answer.
func (h *Handler) makeSince(r *http.Request, q *dirRequest, key pages.Key, from mtree.Stamp, after string) (*pages.Page, error) {
	dir, err := h.tree.OpenDir(q.path)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	if err := h.look(q, dir); err != nil { // again: it may have waited for another answer
		return nil, err
	}
	if err := h.awaitBatch(r, q, dir, from); err != nil {
		return nil, err
	}
	s := h.newSinceWalk(r, q, from, after)
	if err := s.run(q); err != nil {
		q.kept = s.kept
		return nil, err
	}
	body := mtree.AppendTrailer(s.body, mtree.Trailer{Stamp: q.self.MTime, More: s.cut, After: s.last})
	if q.coding == render.Gzip {
		body = render.Compress(body)
	}
	p := &pages.Page{Key: key, Pieces: [][]byte{body}, Size: int64(cap(body)), Stamp: q.self.MTime, Hot: s.hot, Whole: true}
	p.Load.Bytes, p.Key.Path = p.Size, strings.Clone(key.Path) // it may be a piece of a request's header
	if !s.hot && !s.cut && after == "" && q.snap.State == wire.Watched {
		h.answers.Put(key, q.time(), p)
	}
	return p, nil
}
