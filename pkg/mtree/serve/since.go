package serve

import (
	"net/http"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/serve/internal/changed"
	"tidemark/pkg/mtree/serve/internal/negotiate"
	"tidemark/pkg/mtree/serve/internal/pages"
	"tidemark/pkg/mtree/serve/internal/render"
	"tidemark/pkg/mtree/wire"
)

// since answers ?since=STAMP: one whole listing for each directory at or below this one
// whose stamp is above STAMP, parents first. When a directory changes, all directories
// above it get a stamp as new, so the walk goes down only into directories with stamps
// above STAMP.
//
// With &wait it is a long poll that works through every cache, because its condition is
// in the URL: nginx and varnish drop If-None-Match from requests whose answers they might
// store. A time-out without that header is answered with no listing and the same #stamp.
func (h *Handler) since(w http.ResponseWriter, r *http.Request, q *dirRequest) {
	q.format, q.explicit = render.Text, true
	from, err := mtree.ParseStamp(q.query["since"])
	after := q.query["after"]
	if err != nil || mtree.CheckPath(after) != nil {
		h.send(w, q.base().refused(http.StatusBadRequest, "want ?txt&since=STAMP[&after=PATH][&wait=SECONDS]"))
		return
	}
	q.noStore = true
	end, looked := differs, false
	if _, looked = q.query.Wait(); looked {
		end = h.await(w, r, q, func(*disk.Dir) (bool, error) {
			return q.self.MTime != from || !q.snap.State.Prunes() || otherEpoch(r, q), nil
		})
	}
	if end == answered || !(looked && end == differs) && !h.lookForSince(w, q) {
		return
	}
	a := h.listingReply(q)
	a.policy = ""
	switch {
	case !q.snap.State.Prunes() || from.After(q.self.MTime) || otherEpoch(r, q):
		h.send(w, a.refused(http.StatusGone, "nothing is known since then: compare everything"))
	case end == timedOut && r.Header.Get("If-None-Match") != "":
		h.send(w, a.notModified())
	default:
		h.sendSince(w, r, q, a, from, after)
	}
}

// lookForSince reads the directory's own times. If that fails, it sends the answer and
// returns false.
func (h *Handler) lookForSince(w http.ResponseWriter, q *dirRequest) (ok bool) {
	dir, err := h.tree.OpenDir(q.path)
	if err == nil {
		defer dir.Close()
		q.self, err = h.tree.Lister(q.snap).Self(dir, q.path)
	}
	if err != nil {
		h.fail(w, q.base(), err)
	}
	return err == nil
}

// otherEpoch reports whether the client's stamps are of another epoch or tree: by
// ?epoch=N, or by an ETag of ours in If-None-Match.
func otherEpoch(r *http.Request, q *dirRequest) bool {
	if epoch, given := q.query["epoch"]; given && epoch != wire.FormatEpoch(q.snap.Tree.Epoch) {
		return true
	}
	tags := negotiate.Field(r, "If-None-Match")
	return tags != "" && !negotiate.AnyTag(tags, func(tag string) bool {
		known, ok := wire.ParseListingTag(tag)
		return ok && known.Fingerprint == q.snap.Fingerprint
	})
}

// sendSince sends the listings that changed since from, after the path after.
func (h *Handler) sendSince(w http.ResponseWriter, r *http.Request, q *dirRequest, a *reply, from mtree.Stamp, after string) {
	a.options = q.snap.Fingerprint // there is no ETag that says so
	if q.query["part"] == "1" {
		defer q.giveRoom() // not before the page is held
		p, err := h.sharedSince(r, q, from, after)
		switch {
		case err == nil:
			a.about = h.about(q.snap, q.path, p.Stamp, q.now) // as in sendListing
			h.sendPage(w, p, a)
			return
		case err != changed.ErrNotShared:
			h.fail(w, a, err)
			return
		}
	}
	if q.coding == render.Gzip {
		one, err := h.room.Take(&pages.Load{Bytes: render.GzipMemory}, cutting(w))
		if err != nil {
			h.fail(w, a, err)
			return
		}
		defer one.Give()
	}
	out := h.newSink(w, a)
	defer out.release()
	walk := h.newWalk(r, q, from, after, &changed.Output{
		Send: out.flush,
		Hold: func(p *pages.Page) (give func(), err error) { return h.hold(w, p) },
	})
	walk.Kept = q.kept
	err := walk.Run()
	if err != nil && !out.sent {
		h.fail(w, a, err)
		return
	}
	if err == nil {
		err = out.end(walk.End())
	}
	if err != nil {
		h.abort(err)
	}
}
