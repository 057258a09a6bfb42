package watch

import (
	"context"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/notify"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/watch/internal/identity"
)

// recall takes over the two files, and returns why continuity cannot be proved
// without what they held, "" if it can.
func (w *watcher) recall(id *identity.Identity) string {
	if id.First || id.Doubt { // of another tree, or of none
		if w.marker.Has("stamps") || w.marker.Has("unread") {
			w.exceptions.Distrust()
		}
		return ""
	}
	left, err := w.marker.ReadApart()
	if err != nil {
		w.Log.Warn("what is known of directories apart from their times cannot be read", "err", err)
		w.exceptions.Distrust()
		return "a damaged .tidemark/stamps or .tidemark/unread"
	}
	w.exceptions.Load(left, w.exclude.Hides)
	for _, have := range left.Stamps {
		w.floor = mtree.Later(w.floor, have.Stamp)
	}
	if id.Status.Stamps > 0 && !w.marker.Has("stamps") || id.Status.Unread > 0 && !w.marker.Has("unread") {
		return "a lost .tidemark/stamps or .tidemark/unread"
	}
	return ""
}

// keep writes the two files, before anything above the directories in them is
// stamped. Readers who know of none yet look at the status now and then only.
func (w *watcher) keep() {
	said := w.exceptions.Trouble() != ""
	first, err := w.exceptions.Save(w.marker, false)
	if err != nil && said {
		return
	}
	if err != nil {
		w.Log.Error("cannot write .tidemark/stamps and .tidemark/unread: the tree is degraded", "err", err)
		return
	}
	if first {
		w.writeStatus()
		w.outwait(state.StatusLag)
	}
	w.exceptions.Wait()
}

// opened publishes that directories can be read again: what is below them is stamped.
func (w *watcher) opened(ctx context.Context, paths []string) error {
	if len(paths) == 0 {
		return nil
	}
	b := batch{paths: w.triggered()}
	for _, path := range paths {
		t := b.at(mtree.ParentPath(path))
		t.entries = append(t.entries, notify.Entry{Name: mtree.BaseName(path)})
		b.size++
	}
	w.pause(ctx)
	return w.write(&b)
}

// tryUnread tries to read what could not be read.
func (w *watcher) tryUnread(ctx context.Context) error {
	w.exceptions.Tried()
	b := batch{paths: w.triggered()}
	for path := range w.exceptions.Unread() {
		b.at(path).retry = true
		b.size++
	}
	if b.size == 0 {
		return nil
	}
	w.pause(ctx)
	if err := w.write(&b); err != nil {
		return err
	}
	w.exceptions.Wait()
	w.wroteBatch(b.size > 0)
	return nil
}
