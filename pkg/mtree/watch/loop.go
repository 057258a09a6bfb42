package watch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/sys"
	"tidemark/pkg/mtree/watch/internal/audit"
	"tidemark/pkg/mtree/wire"
)

// run is the one goroutine that stamps. While the tree is idle, it waits, and only the
// timer of the next audit runs.
func (w *watcher) run(ctx context.Context) error {
	w.keepJournal()
	w.beginAudits(ctx)
	err := w.loop(ctx)
	w.endAudits()
	w.hook.Stop()
	if err == nil {
		err = w.finish(ctx)
	}
	_, unprinted := w.printer.Close()
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
		err = w.next(ctx, steps)
	}
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}

// errStop ends the loop when ctx ends.
var errStop = errors.New("told to stop")

// next handles what comes next. It waits with sys.Select, and not with a select statement,
// so that a simulation decides what comes first.
func (w *watcher) next(ctx context.Context, steps <-chan struct{}) error {
	wake := w.wake
	if w.batch.open {
		wake = nil // the timer will ask: further events cost no wake-up
	}
	return sys.Select(
		sys.On(ctx.Done(), func(struct{}) error { return errStop }),
		sys.On(wake, func(struct{}) error { return w.heard(ctx) }),
		sys.On(w.batch.timer.C, func(time.Time) error { return w.settle(ctx) }),
		sys.On(w.audits.findings, func(f []audit.Finding) error { return w.publishFindings(ctx, f) }),
		sys.On(w.audits.reports, func(r auditReport) error { return w.finishAudit(ctx, r) }),
		sys.On(w.Audit, func(struct{}) error { w.requestAudit(w.auditScope("asked for")); return nil }),
		sys.On(w.audits.timer.C, func(time.Time) error { w.requestAudit(w.auditScope(periodic)); return nil }),
		sys.On(w.statusRetry.C, func(time.Time) error { w.writeStatus(); w.answerCookies(); return nil }),
		sys.On(w.borders.Due(), func(time.Time) error { return w.checkBorders(ctx) }),
		sys.On(w.exceptions.Due(), func(time.Time) error { return w.retryUnread(ctx) }),
		sys.On(steps, func(struct{}) error { return w.checkClock(ctx) }),
		sys.On(w.mounts.C(), func(struct{}) error { return w.publishMounts(ctx) }),
		sys.On(w.hook.Retry(), func(struct{}) error { w.hook.Next(); return nil }),
		sys.On(w.hook.Done(), func(failed error) error { w.hook.Ended(failed); return nil }),
	)
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
	flushed, mounted := make(chan error, 1), w.readableMounts()
	go func() { flushed <- flush(w.root, mounted) }()
	timer := time.NewTimer(flushPatience)
	defer timer.Stop()
	select {
	case err := <-flushed:
		w.status.Clean = err == nil
	case <-timer.C:
		w.Log.Warn("the disk is too slow to stop cleanly: after a power cut the tree is compared anew",
			"remedy", "none is needed; if it comes at each stop, the disk is slow or broken")
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

// readableMounts returns the paths of what is mounted in the tree, without what cannot be read: that
// is stamped throughout when it can be.
func (w *watcher) readableMounts() []string {
	unread := w.exceptions.Unread()
	return slices.DeleteFunc(w.mounts.Entered(), func(path string) bool {
		for path != "" && !unread[path] {
			path = mtree.ParentPath(path)
		}
		return path != "" // guard (returns false): TestStopFlushesWhatIsMounted
	})
}

// flush makes durable what was stamped: on the file system of the root, and on those mounted below it.
func flush(root *disk.Dir, mounted []string) error {
	err := root.Flush()
	for _, path := range mounted {
		dir, failed := root.OpenDirPath(path, true)
		if disk.IsGone(failed) { // guard: TestStopFlushesWhatIsMounted
			continue // it is a file, which is not stamped, or was unmounted, which flushed it
		}
		if failed == nil {
			failed = dir.Flush()
			_ = dir.Close()
		}
		err = cmp.Or(err, failed)
	}
	return err
}
