package watch

import (
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/watch/internal/identity"
)

// loadExceptions takes over the contents of .tidemark/stamps and .tidemark/unread. If they
// are lost or damaged, continuity cannot be proved: then it returns the reason, else "".
func (w *watcher) loadExceptions(id *identity.Identity) string {
	if id.First || id.Doubt { // the files belong to another tree, or are missing
		if w.marker.Has("stamps") || w.marker.Has("unread") {
			w.exceptions.Distrust()
		}
		return ""
	}
	have, err := w.marker.ReadExceptions()
	if err != nil {
		w.Log.Warn("cannot read .tidemark/stamps or .tidemark/unread: every directory is stamped anew", "error", err,
			"remedy", "none is needed for the tree; look whether the disk is sound")
		w.exceptions.Distrust()
		return "a damaged .tidemark/stamps or .tidemark/unread"
	}
	w.exceptions.Load(have, w.exclude.Hides)
	for _, s := range have.Stamps {
		w.floor = mtree.Later(w.floor, s.Stamp)
	}
	if id.Status.Stamps > 0 && !w.marker.Has("stamps") || id.Status.Unread > 0 && !w.marker.Has("unread") {
		return "a lost .tidemark/stamps or .tidemark/unread"
	}
	return ""
}

// saveExceptions writes the two files, before anything above the directories in them is
// stamped. Readers that know of no exceptions yet look at the status only now and then,
// so the first time it waits for them. If the status cannot be written then, readers do not come
// to know of the files: what is above is stamped all the same, and again by an audit.
func (w *watcher) saveExceptions() {
	logged := w.exceptions.Trouble() != ""
	first, err := w.exceptions.Save(w.marker, false)
	if err != nil && logged {
		return
	}
	if err != nil {
		w.Log.Error("cannot write .tidemark/stamps and .tidemark/unread: the tree is degraded", "error", err, "remedy", makeRoom)
		return
	}
	if first {
		w.writeStatus()
		if w.statusFails { // guard: TestFirstExceptionThatNobodyIsToldOf
			w.exceptions.Untold()
			return
		}
		sleep(state.StatusLag)
	}
	w.exceptions.Wait()
}
