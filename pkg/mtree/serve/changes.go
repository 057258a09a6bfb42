package serve

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/journal"
	"tidemark/pkg/mtree/serve/internal/published"
	"tidemark/pkg/mtree/serve/internal/render"
)

// changes answers ?changes: the names that changed, as the journal has them, for programs that
// look at each of them and copy nothing: to purge a cache, to index. A name is told when it is
// written down, which is before its stamp. With &after=RUN.NUMBER it tells what came after that
// position, with &wait as soon as there is anything; without it, the position alone.
func (h *Handler) changes(w http.ResponseWriter, r *http.Request, q *dirRequest) {
	q.format, q.explicit, q.noStore = render.Text, true, true
	after, err := parsePosition(q.query["after"])
	if err != nil || q.path != "" || q.has("after") && after.run == "" { // guard (without q.has("after")): TestChanges
		h.send(w, q.base().refused(http.StatusBadRequest, "want /?changes[&after=RUN.NUMBER][&wait=SECONDS]"))
		return
	}
	if _, wait := q.query.Wait(); wait && after.run != "" {
		end := h.await(w, r, q, func(*disk.Dir) (bool, error) {
			view, err := h.tree.Journal(q.snap)
			run, number := view.Last()
			return err != nil || run != after.run || number != after.number, nil
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
	body, err := h.changesAfter(q.snap, after)
	leave() // the client may take long to read the answer
	if code, why := refusalOfChanges(err); code != 0 {
		h.send(w, a.refused(code, why))
	} else if err != nil {
		h.fail(w, a, err)
	} else {
		h.send(w, a.withBody(body))
	}
}

// refusalOfChanges returns the status and the text for what the journal does not tell; 0: there is
// none for this error.
func refusalOfChanges(err error) (code int, why string) {
	switch {
	case errors.Is(err, journal.ErrAgain): // guard: TestChangesWhileTheJournalGoesOn
		return http.StatusServiceUnavailable, "the journal goes on: ask again"
	case isGone(err):
		return http.StatusGone, "nothing is known after that: look at everything"
	}
	return 0, ""
}

// isGone reports whether err says that the journal does not tell what changed, and will not
// in a moment either.
func isGone(err error) bool {
	return errors.Is(err, journal.ErrUnproved) && !disk.IsOutOfResources(err) // guard (without !disk): TestCallsOfChangesThatFail
}

// position is a position in a journal: after the batch of this number in this run.
type position struct {
	run    string // "": not given
	number uint64
}

// parsePosition reads RUN.NUMBER, or nothing.
func parsePosition(text string) (p position, err error) {
	if text == "" {
		return p, nil
	}
	var number string
	p.run, number, _ = strings.Cut(text, ".")
	if p.number, err = strconv.ParseUint(number, 10, 64); err == nil && p.run == "" {
		err = strconv.ErrSyntax
	}
	return p, err
}

// Bounds of one answer to ?changes, besides its last batch. The next request gets the rest. Each
// name stands behind the path of its directory, which may have 4 KiB. So directories with many
// are told without their names: those with more than maxDirBytes, and those that come after
// maxChangesBytes, as one batch may have more.
const (
	maxChanges      = 100_000
	maxChangesBytes = 8 << 20
	maxDirBytes     = 1 << 20
)

// changesAfter returns the body of an answer to ?changes. journal.ErrUnproved: it is not known
// what came after that.
func (h *Handler) changesAfter(snap *published.Snapshot, after position) ([]byte, error) {
	view, err := h.tree.Journal(snap)
	if err != nil {
		return nil, err
	}
	run, number := view.Last()
	if after.run == "" {
		return appendPosition(nil, position{run, number}), nil
	}
	batches, ok := view.After(after.run, after.number)
	if !ok {
		return nil, fmt.Errorf("%w: not in the index", journal.ErrUnproved)
	}
	c := changedNames{
		tree: h.tree, lister: h.tree.Lister(snap), view: view, after: after.number, above: above{tree: h.tree}, failed: h.logError,
		dirs: map[string]*changedDir{}, told: map[string]struct{}{},
	}
	for i := range batches {
		if c.isFull() {
			break
		}
		c.add(&batches[i])
		after.number = batches[i].Number
	}
	if err := c.tell(); err != nil {
		return nil, err
	}
	return appendPosition(c.text, after), nil
}

// appendPosition appends the line that ends an answer.
func appendPosition(dst []byte, p position) []byte {
	return fmt.Appendf(dst, "#next %s.%d\n", p.run, p.number)
}
