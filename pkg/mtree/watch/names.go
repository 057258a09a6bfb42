package watch

import (
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/journal"
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
