package serve

import (
	"net/http"
	"slices"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/wire"
)

// A change moves the time of its directory at once, and watch writes its name down some milliseconds
// later. An answer in between has nothing to tell of the directory but the whole listing.

// batchWait is how long an answer waits at most for the batch of a large directory: watch
// gathers for 50 ms where much changes. batchPause is the pause between two looks.
const (
	batchWait  = 100 * time.Millisecond
	batchPause = 2 * time.Millisecond
)

// awaitBatch waits for the batch of the directory that was asked about, if it is early and the whole
// listing is large. Of a small one the listing is as good, and comes sooner.
func (h *Handler) awaitBatch(r *http.Request, q *dirRequest, dir *disk.Dir, from mtree.Stamp) error {
	if q.self.Size <= sharedSize { // guard: TestAnEarlyAnswerWaitsForItsBatch
		return nil
	}
	for end := time.Now().Add(batchWait); h.isEarly(q, from) && time.Now().Before(end); {
		select {
		case <-time.After(batchPause):
		case <-h.stop.Done():
			return nil
		case <-r.Context().Done():
			return r.Context().Err()
		}
		if err := h.look(q, dir); err != nil {
			return err
		}
	}
	return nil
}

// isEarly reports whether the directory shows a time of the kernel whose batch is not written yet: what
// the journal tells then suffices for nobody who has from, since no batch came after that.
func (h *Handler) isEarly(q *dirRequest, from mtree.Stamp) bool {
	if q.snap.State != wire.Watched || !q.self.MTime.After(from) {
		return false
	}
	view, err := h.tree.Journal(q.snap)
	if err != nil {
		return false
	}
	told := view.Told(q.path, from)
	return !told.Whole && !slices.ContainsFunc(told.Spans, func(s mtree.Span) bool { return !s.To.Before(from) })
}
