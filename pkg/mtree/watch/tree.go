package watch

import (
	"errors"
	"io/fs"
	"reflect"

	"tidemark/pkg/mtree"
)

// writeTree writes the tree file. While it cannot, the tree is degraded and the
// checkpoint stays; each audit tries again.
func (w *watcher) writeTree() error {
	if reflect.DeepEqual(w.tree, w.writtenTree) {
		return nil
	}
	err := w.marker.WriteTree(w.tree)
	if err == nil {
		w.writtenTree = w.tree
	}
	if !errors.Is(err, fs.ErrNotExist) { // else .tidemark was removed: restoreMarker will write the file, or report why not
		w.health.TreeFile(err)
	}
	return err
}

// raiseEpoch tells readers to compare everything once. Until the very first audit is done
// there is nothing to compare: its end raises the epoch.
func (w *watcher) raiseEpoch() { w.raiseEpochTo(w.Now()) }

// raiseEpochTo does that for an epoch that began then.
func (w *watcher) raiseEpochTo(began mtree.Stamp) {
	if w.firstAudit {
		return
	}
	w.began = began
	w.tree.RaiseEpoch(began)
	_ = w.writeTree()
	w.forgetGiven()  // guard: TestGivenInAnotherEpoch
	w.beginJournal() // guard: TestAnotherJournal
}

// recordBorders writes which borders there are, before the checkpoint can move: a border
// in which nothing runs at the next start counts as arrived.
func (w *watcher) recordBorders() {
	if !w.borders.Changed() {
		return
	}
	w.tree.Borders = w.borders.Record(w.earlier)
	_ = w.writeTree()
	if len(w.tree.Borders) > 0 {
		w.borders.Wait()
	}
}

// setMounts puts the present mounts into the contents of the tree file.
func (w *watcher) setMounts() { w.tree.Mounts, w.mountsRecorded = w.mounts.Record(), true }

// recordMounts writes the present mounts, once everything that came with them is
// published: the next start compares with them.
func (w *watcher) recordMounts() {
	if !w.mountsRecorded && w.canAdvance() {
		w.setMounts()
		_ = w.writeTree()
	}
}
