package watch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/watch/internal/trigger"
	"tidemark/pkg/mtree/wire"
)

// run is the one goroutine that stamps. While the tree is idle, it waits, and only the
// timer of the next audit runs.
func (w *watcher) run(ctx context.Context) error {
	w.beginAudits(ctx)
	err := w.loop(ctx)
	w.endAudits()
	w.hook.Stop()
	if err == nil {
		err = w.finish(ctx)
	}
	_, unprinted := w.printer.Close(trigger.Grace)
	return cmp.Or(err, unprinted)
}

// loop handles events, findings and timers, one after the other, until ctx ends or
// something fails.
func (w *watcher) loop(ctx context.Context) (err error) {
	var steps <-chan struct{}
	if w.steps != nil {
		steps = w.steps.C
	}
	for err == nil {
		wake := w.wake
		if w.batch.open {
			wake = nil // the timer will ask: further events cost no wake-up
		}
		select {
		case <-ctx.Done():
			return nil
		case <-wake:
			w.openBatch()
		case <-w.batch.timer.C:
			err = w.settle(ctx)
		case findings := <-w.audits.findings:
			err = w.publishFindings(ctx, findings)
		case r := <-w.audits.reports:
			err = w.finishAudit(ctx, r)
		case <-w.Audit:
			w.requestAudit(w.auditScope("asked for"))
		case <-w.audits.timer.C:
			w.requestAudit(w.auditScope(periodic))
		case <-w.borders.Due():
			err = w.checkBorders(ctx)
		case <-w.exceptions.Due():
			err = w.retryUnread(ctx)
		case <-steps:
			err = w.checkClock(ctx)
		case <-w.mounts.C():
			err = w.publishMounts(ctx)
		case <-w.hook.Retry():
			w.hook.Next()
		case failed := <-w.hook.Done():
			w.hook.Ended(failed)
		}
	}
	return err
}

// once does what run does, for a single audit.
func (w *watcher) once(ctx context.Context) error {
	w.beginAudits(ctx)
	defer w.endAudits()
	defer w.hook.Stop()
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("audit: %w", ctx.Err())
		case findings := <-w.audits.findings:
			if err := w.publishFindings(ctx, findings); err != nil {
				return err
			}
		case r := <-w.audits.reports:
			if err := w.finishAudit(ctx, r); err != nil {
				return err
			}
			if w.audits.running {
				continue // one more was asked for
			}
			err := errors.Join(w.finish(ctx), w.hook.Wait(ctx), w.printer.CloseAll())
			if reason := cmp.Or(w.health.Degraded(), w.exceptions.Unpublished()); reason != "" && err == nil {
				err = exit.With(exit.Failed, errors.New(reason), "the rest is published")
			}
			return err
		}
	}
}

// flushPatience is how long the end of a watch waits for the disk.
const flushPatience = 3 * time.Second

// finish publishes the waiting changes and writes the last status. Its field Clean says
// that the stamps are on disk, not only in memory.
func (w *watcher) finish(ctx context.Context) error {
	for range 2 { // the second proves the writes of the first: see ownwrites.Memory
		if err := w.publishEvents(context.WithoutCancel(ctx)); err != nil {
			return err
		}
	}
	flushed := make(chan error, 1)
	go func() { flushed <- w.root.Flush() }()
	timer := time.NewTimer(flushPatience)
	defer timer.Stop()
	select {
	case err := <-flushed:
		w.status.Clean = err == nil
	case <-timer.C:
		w.Log.Warn("the disk is too slow to stop cleanly: after a power cut the tree is compared anew")
	}
	if w.status.State = w.state(); w.status.State.Prunes() {
		w.status.State = wire.Audited
	}
	if stamps, unread, _ := w.exceptions.Counts(); w.StateDir != "" && stamps+unread > 0 {
		_, err := w.exceptions.Save(w.marker, true) // Flush may have flushed another file system
		w.status.Clean = w.status.Clean && err == nil
	}
	w.writeStatus()
	return exit.With(exit.Local, w.statusFile.Sync(), "")
}
