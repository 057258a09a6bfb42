package watch

import (
	"context"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
)

// No event of the tree reports the following changes, so the watcher looks for them.

// checkClock reads the clock after somebody set it. A clock that was set back is a loss,
// at once.
func (w *watcher) checkClock(ctx context.Context) error {
	w.lookAtClock()
	if w.clock.Now(); !w.clockSetBack() {
		w.writeStatus() // guard: TestSetForwardAndBack
		return nil
	}
	return w.publishEvents(ctx)
}

// publishMounts publishes the changes that came with mounts, when the mount table has
// changed.
func (w *watcher) publishMounts(ctx context.Context) error {
	if err := w.checkMounts(); err != nil || len(w.mountEvents) == 0 {
		return err
	}
	return w.publishEvents(ctx)
}

// checkBorders publishes everything below directories whose watcher has ended. A border
// that was moved is recorded under its new path when its arrival is published.
func (w *watcher) checkBorders(ctx context.Context) error {
	b := w.newBatch()
	paths := w.borders.List(nil) // guard (List -> Record): TestManyBordersAreLookedAt
	if len(paths) > 0 {
		w.borders.Wait()
	}
	for _, path := range paths {
		dir, err := w.root.OpenDirPath(path, w.CrossMounts)
		if err == nil {
			live := state.IsLiveTree(dir)
			_ = dir.Close()
			if live {
				continue
			}
		}
		w.borders.Remove(path)
		if !disk.IsGone(err) {
			b.AddEntry(path, mtree.MarkerName)
		}
	}
	if b.Size == 0 {
		return nil
	}
	w.waitForClock(ctx)
	if err := w.write(b); err != nil {
		return err
	}
	w.endBatch(true)
	return nil
}

// retryUnread tries to read the directories that could not be read.
func (w *watcher) retryUnread(ctx context.Context) error {
	w.exceptions.Tried()
	b := w.newBatch()
	for path := range w.exceptions.Unread() {
		b.AddRetry(path)
	}
	if b.Size == 0 {
		return nil
	}
	w.waitForClock(ctx)
	if err := w.write(b); err != nil {
		return err
	}
	w.exceptions.Wait()
	w.endBatch(b.Size > 0)
	return nil
}

// publishReadable publishes that directories can be read again: everything below them is
// stamped.
func (w *watcher) publishReadable(ctx context.Context, paths []string) error {
	if len(paths) == 0 {
		return nil
	}
	b := w.newBatch()
	for _, path := range paths {
		b.AddReadable(path)
	}
	w.waitForClock(ctx)
	return w.write(b)
}
