package watch

import (
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/journal"
	"tidemark/pkg/mtree/watch/internal/ownwrites"
)

// names writes the journal: which names change in each batch, before the batch is stamped.
// Where it cannot, readers go by whole listings, and nothing else changes.
type names struct {
	writer journal.Writer
	log    func(err error) // called when it can no longer be written
	stats  *Stats
	on     bool // this run keeps a journal
	failed bool // the last try to write it failed
}

// Write implements publish.Journal.
func (n *names) Write(floor mtree.Stamp, lines []journal.Line) {
	if n.result(n.writer.Write(floor, lines)) {
		n.stats.Journalled.Add(1)
	} else {
		n.stats.Unjournalled.Add(1)
	}
}

// Drop implements publish.Journal.
func (n *names) Drop() { n.writer.Drop() }

// result logs the first of several failures, and reports whether there was none.
func (n *names) result(err error) (ok bool) {
	if err != nil && !n.failed { // guard (without !n.failed): TestJournalThatCannotBeWritten
		n.log(err)
	}
	n.failed = err != nil
	return !n.failed
}

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
		w.Log.Warn("cannot write which names change to .tidemark/journal.0 and .1: readers list changed directories whole, until there is room and the right to write there", "error", err)
	}
	w.beginJournal()
}

// forgetGiven forgets which stamps directories were given: in another epoch they may come
// again.
func (w *watcher) forgetGiven() { w.published.Given = ownwrites.Given{} }
