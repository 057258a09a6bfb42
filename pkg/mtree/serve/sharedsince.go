package serve

import (
	"net/http"
	"strings"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/serve/internal/changed"
	"tidemark/pkg/mtree/serve/internal/negotiate"
	"tidemark/pkg/mtree/serve/internal/pages"
	"tidemark/pkg/mtree/serve/internal/render"
	"tidemark/pkg/mtree/wire"
)

// answersBytes bounds the memory of answers that are kept for others who ask the same.
const answersBytes = 4 << 20

// sharedSince returns an answer to ?since with parts, made once for all who ask the same while
// the directory has the same stamp: after each change many mirrors do. changed.ErrNotShared: it is too
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

// makeSince makes such an answer. Each STAMP is another one, so that any number of them may be made at
// once: before one takes memory it has room, which q keeps until giveRoom, so that the page counts
// also before it is sent.
func (h *Handler) makeSince(r *http.Request, q *dirRequest, key pages.Key, from mtree.Stamp, after string) (*pages.Page, error) {
	dir, err := h.tree.OpenDir(q.path)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	if err := h.look(q, dir); err != nil { // again: it may have waited for another answer
		return nil, err
	}
	walk := h.newWalk(r, q, from, after, nil)
	p := &pages.Page{Key: key, Load: pages.Load{Bytes: changed.KeptMost}, Whole: true}
	p.Key.Path = strings.Clone(key.Path) // it may be a piece of a request's header
	walk.Reserve = h.reserveFor(q, p)    // guard: TestSlowReadersOfManyAnswers
	lookAgain := func() (mtree.Stamp, error) {
		err := h.look(q, dir)
		return q.self.MTime, err
	}
	if err := walk.AwaitBatch(r.Context(), h.stop.Done(), q.self.Size, lookAgain); err != nil {
		return nil, err
	}
	if err := walk.Run(); err != nil {
		q.kept = walk.Kept
		q.giveRoom()
		return nil, err
	}
	body := walk.End()
	if q.coding == render.Gzip {
		body = render.Compress(body)
	}
	p.Pieces, p.Size, p.Stamp, p.Hot = [][]byte{body}, int64(cap(body)), q.self.MTime, walk.IsHot()
	if q.room == nil {
		p.Load.Bytes = p.Size
	} else {
		q.room.Resize(p.Size)
	}
	if !walk.IsHot() && !walk.IsCut() && after == "" && q.snap.State == wire.Watched {
		h.answers.Put(key, q.time(), p)
	}
	return p, nil
}

// reserveFor returns what takes the room for p, which q makes. While it is made no client is waited
// for, and nobody is cut.
func (h *Handler) reserveFor(q *dirRequest, p *pages.Page) func() error {
	return func() (err error) {
		q.room, err = h.room.Take(&p.Load, func() {})
		return err
	}
}

// newWalk returns a walk for an answer to q. out as for changed.NewWalk.
func (h *Handler) newWalk(r *http.Request, q *dirRequest, from mtree.Stamp, after string, out *changed.Output) *changed.Walk {
	reader := &changed.Reader{
		Tree: h.tree, LargeSize: h.largeSize, Listings: &h.cfg.Stats.Listings, Parts: &h.cfg.Stats.Parts,
		Shared: func(key pages.FlightKey, size int64, read func() (*pages.Page, error)) (*pages.Page, error) {
			return h.shareLarge(r, key, size, read)
		},
	}
	question := changed.Question{
		Path: q.path, Since: from, After: after, Parts: q.query["part"] == "1", Snap: q.snap, Stamp: q.self.MTime,
	}
	return changed.NewWalk(reader, question, out)
}

// shareLarge makes the page of a directory of this size for all requests that want it. It passes
// largeLimit.
func (h *Handler) shareLarge(r *http.Request, key pages.FlightKey, size int64, make func() (*pages.Page, error)) (*pages.Page, error) {
	return h.share(r, key, pages.Time{}, func() (*pages.Page, error) {
		leave, err := h.enterLarge(r, size)
		if err != nil {
			return nil, err
		}
		defer leave()
		p, err := make()
		if err != nil {
			return nil, err
		}
		return h.live.Same(p), nil
	})
}
