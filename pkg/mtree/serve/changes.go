package serve

import (
	"cmp"
	"errors"
	"net/http"

	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/journal"
	"tidemark/pkg/mtree/serve/internal/changed"
	"tidemark/pkg/mtree/serve/internal/render"
)

// changes answers ?changes: the names that changed, as the journal has them, for programs that
// look at each of them and copy nothing: to purge a cache, to index. A name is told when it is
// written down, which is before its stamp. With &after=RUN.NUMBER it tells what came after that
// position, with &wait as soon as there is anything; without it, the position alone.
func (h *Handler) changes(w http.ResponseWriter, r *http.Request, q *dirRequest) {
	q.format, q.explicit, q.noStore = render.Text, true, true
	after, err := changed.ParsePosition(q.query["after"])
	if err != nil || q.path != "" || q.has("after") && after.Run == "" { // guard (without q.has("after")): TestChanges
		h.send(w, q.base().refused(http.StatusBadRequest, "want /?changes[&after=RUN.NUMBER][&wait=SECONDS]"))
		return
	}
	if _, wait := q.query.Wait(); wait && after.Run != "" {
		end := h.await(w, r, q, func(*disk.Dir) (bool, error) {
			last, err := changed.Last(h.tree, q.snap)
			return err != nil || last != after, nil
		})
		if end == answered {
			return
		}
	}
	if !h.ready(w, q) {
		return
	}
	leave, ok := h.enter(w, r, q)
	if !ok {
		return
	}
	defer leave()
	a := h.listingReply(q)
	a.policy, a.coding, a.options = "", render.Identity, q.snap.Fingerprint
	body, err := changed.Names(h.tree, q.snap, after, h.logBroken)
	give, full := h.keep(w, body) // before it leaves: what waits for room is bounded, too
	defer give()
	leave() // the client may take long to read the answer
	err = cmp.Or(err, full)
	if code, why := refusalOfChanges(err); code != 0 {
		h.send(w, a.refused(code, why))
	} else if err != nil {
		h.fail(w, a, err)
	} else {
		extend(w)
		h.send(w, a.withBody(body))
	}
}

// refusalOfChanges returns the status and the text for what the journal does not tell; 0: there is
// none for this error.
func refusalOfChanges(err error) (code int, why string) {
	switch {
	case errors.Is(err, journal.ErrAgain): // guard: TestChangesWhileTheJournalGoesOn
		return http.StatusServiceUnavailable, "the journal goes on: ask again"
	case changed.IsGone(err):
		return http.StatusGone, "nothing is known after that: look at everything"
	}
	return 0, ""
}
