package changed

import (
	"context"
	"slices"
	"time"

	"tidemark/pkg/mtree"
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

// AwaitBatch waits for the batch of the directory that was asked about, if it is early and the whole
// listing is large: size is that of the directory, in bytes as stat returns them. Of a small one the
// listing is as good, and comes sooner. look reads the directory's stamp again, which becomes that of the
// answer. It waits for 100 ms at most, and less if stop is closed. Errors: those of look and of ctx. Call
// it before Run.
func (w *Walk) AwaitBatch(ctx context.Context, stop <-chan struct{}, size int64, look func() (mtree.Stamp, error)) (err error) {
	if size <= sharedSize { // guard: TestAnEarlyAnswerWaitsForItsBatch
		return nil
	}
	for end := time.Now().Add(batchWait); w.isEarly() && time.Now().Before(end); {
		select {
		case <-time.After(batchPause):
		case <-stop:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
		if w.Stamp, err = look(); err != nil {
			return err
		}
	}
	return nil
}

// isEarly reports whether the directory shows a time of the kernel whose batch is not written yet: what
// the journal tells then suffices for nobody who has Since, since no batch came after that.
func (w *Walk) isEarly() bool {
	if w.Snap.State != wire.Watched || !w.Stamp.After(w.Since) {
		return false
	}
	view, err := w.reader.Tree.Journal(w.Snap)
	if err != nil {
		return false
	}
	told := view.Told(w.Path, w.Since)
	return !told.Whole && !slices.ContainsFunc(told.Spans, func(s mtree.Span) bool { return !s.To.Before(w.Since) })
}
