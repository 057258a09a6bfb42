package watch

import (
	"context"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/notify"
	"tidemark/pkg/mtree/internal/state"
)

// noteBorders writes which borders there are before the checkpoint can move: the
// next start treats one that is none by then as arrived.
func (w *watcher) noteBorders() {
	if !w.borders.Changed() {
		return
	}
	w.tree.Borders = w.borders.Record(w.bordered)
	_ = w.writeTree()
	if len(w.tree.Borders) > 0 {
		w.borders.Wait()
	}
}

// lookAtBorders publishes what is below directories whose watcher has ended. One
// that has moved is noted under its new path, when its arrival is published.
func (w *watcher) lookAtBorders(ctx context.Context) error {
	var b batch
	b.paths = w.triggered()
	paths := w.borders.List(nil)
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
			t := b.at(path)
			t.entries = append(t.entries, notify.Entry{Name: mtree.MarkerName})
			b.size++
		}
	}
	if b.size == 0 {
		return nil
	}
	w.pause(ctx)
	if err := w.write(&b); err != nil {
		return err
	}
	w.noteBorders()
	w.wroteBatch(true)
	return nil
}
