package replica

import (
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/journal"
)

// mayAnnounce reports whether the copy has a journal. Copies of a copy without attributes have
// no parts; nor does a folding one tell all the names that it changes.
func (r *Replica) mayAnnounce() bool {
	return !r.ReadOnly && r.tree.ID != "" && r.records == nil && !r.Staging.Folds
}

// Announce writes down that these directories are about to be stamped, and which names changed
// in them. floor is the stamp with which the copy was complete before. What was announced before
// and not stamped since counts no more, even if there are no lines. If it cannot be written,
// nobody uses the journal, and everything may be stamped all the same. Cost: see
// [journal.Writer.Write].
func (r *Replica) Announce(floor mtree.Stamp, lines []journal.Line) {
	a := &r.announcer
	a.mu.Lock()
	defer a.mu.Unlock()
	a.told = nil // guard: TestAnAnnouncementThatWasTakenBack
	if len(lines) == 0 || !r.mayAnnounce() {
		return
	}
	tree := journal.Tree{ID: r.tree.ID, Epoch: r.tree.Epoch}
	if a.begun != tree {
		a.begun = tree
		_ = a.writer.Begin(r.marker, tree) // Write tries again
	}
	a.told = make(map[string]bool, len(lines))
	for i := range lines {
		a.told[lines[i].Path] = true
	}
	err := a.writer.Write(floor, lines)
	if err != nil && !a.warned {
		r.log.Warn("cannot write which names change to .tidemark/journal.0 and .1: copies of this copy list changed directories whole until then", "error", err,
			"remedy", "make room (8 MiB), or chown the two files to mirror's user")
	}
	a.warned = err != nil
}

// Stamp gives the directory dir at path a time that copies of this copy may see. All such
// times are given here. If it was not announced, nobody uses the journal from before it on.
// Cost: utimensat.
func (r *Replica) Stamp(dir *disk.Dir, path string, to mtree.Stamp) error {
	a := &r.announcer
	a.mu.Lock()
	if !a.told[path] {
		a.writer.Drop() // guard: TestAStampThatWasNotAnnounced
	}
	delete(a.told, path) // guard: TestAStampThatWasNotAnnounced
	a.mu.Unlock()
	return dir.SetTime(to)
}

// Recall reports whether a reader that has the directory at path with the stamp before has all
// that is in it. That is forgotten then: something may change from now on. before is the stamp of
// its record; the zero value if that has none of the source's.
func (r *Replica) Recall(path string, before mtree.Stamp) bool {
	a := &r.announcer
	a.mu.Lock()
	defer a.mu.Unlock()
	was, ok := a.given[path]
	switch {
	case ok:
		a.given[path] = given{stamp: was.stamp} // guard: TestWhatWasVisitedSince
	case before != mtree.Stamp{}:
		a.keep(path, given{stamp: before})
	}
	return was.whole && was.stamp == before // guard (without was.stamp): TestWhatWasVisitedSince
}

// Retain takes back what Recall forgot: nothing in the directory was changed. It had that stamp.
func (r *Replica) Retain(path string, stamp mtree.Stamp) {
	a := &r.announcer
	a.mu.Lock()
	defer a.mu.Unlock()
	a.keep(path, given{stamp, true})
}

// Remember notes that the directory at path is complete with the stamp that it was given. If it
// had that stamp before, or may have had it, readers may have it with something else in it. A
// directory that is fresh had none.
func (r *Replica) Remember(path string, stamp mtree.Stamp, fresh bool) {
	a := &r.announcer
	a.mu.Lock()
	defer a.mu.Unlock()
	was, ok := a.given[path]
	next := given{stamp: stamp}
	next.whole = fresh || ok && stamp.After(was.stamp) // guard (without stamp.After): TestAStampThatIsGivenAgain
	if ok && !fresh && was.stamp.After(stamp) {
		next.stamp = was.stamp
	}
	a.keep(path, next)
}
