package replica

import (
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/journal"
	"tidemark/pkg/mtree/internal/sys"
)

// announcer keeps the journal of the copy: which names changed, written down before the
// directories are stamped. By it copies of this copy need no whole listings.
//
// A reader that has a directory with the stamp that we gave it last has all that was in it then.
// What changed since is known only if each change came by one pass that gives the directory a
// later stamp. So a directory is forgotten with each visit, and remembered with each later stamp.
type announcer struct {
	mu     sys.Mutex // steps of a pass stamp directories, too
	writer journal.Writer
	begun  journal.Tree     // whose journal was begun; the zero value: none was
	told   map[string]bool  // directories of the last call of Announce that were not stamped since
	given  map[string]given // by path; at most mostGiven
	warned bool             // since a batch was written
}

// given is what is known of the stamps of a directory.
type given struct {
	stamp mtree.Stamp // the highest that it was complete with
	whole bool        // it has that stamp now, and whoever listed it with that has all that is in it
}

// mostGiven bounds how many directories are remembered: some 4 MB.
const mostGiven = 20_000

// keep notes what is known of a directory. mu is held.
func (a *announcer) keep(path string, g given) {
	if len(a.given) >= mostGiven || a.given == nil {
		a.given = map[string]given{}
	}
	a.given[path] = g
}

// forget is for another tree or epoch: the same stamps may come again.
func (a *announcer) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.writer.Drop()
	a.given = nil
}

// close ends the journal. Its files stay, and prove nothing any more.
func (a *announcer) close() { _ = a.writer.Close() }
