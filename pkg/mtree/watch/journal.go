package watch

import (
	"tidemark/pkg/mtree/internal/journal"
	"tidemark/pkg/mtree/watch/internal/ownwrites"
)

// beginJournal begins a new journal: at the start, in another epoch, and where .tidemark was
// put back. There is none before the end of the very first audit: until then directories show
// times that are no stamps.
func (w *watcher) beginJournal() {
	if !w.names.on || w.firstAudit { // guard (without w.firstAudit): TestNoJournalInTheFirstAudit
		return
	}
	w.names.result(w.names.writer.Begin(w.marker, journal.Tree{ID: w.tree.ID, Epoch: w.tree.Epoch}))
	w.published.Journal = &w.names
}

// keepJournal begins the journal of a run, which ends with it.
func (w *watcher) keepJournal() {
	w.names.on, w.names.stats = true, w.Stats
	w.names.log = func(err error) {
		w.Log.Warn("cannot write which names change to .tidemark/journal.0 and .1: readers list changed directories whole until then", "error", err,
			"remedy", "make room (8 MiB), or chown the two files to watch's user")
	}
	w.beginJournal()
}

// forgetGiven forgets which stamps directories were given: in another epoch they may come
// again.
func (w *watcher) forgetGiven() { w.published.Given = ownwrites.Given{} }
