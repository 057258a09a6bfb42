package watch_test

import (
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/journal"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/wire"
)

// simParts makes a simReader one that follows by parts: it asks the journal for the names that
// changed, as serve does, and takes them where what it knows of a directory suffices, as
// mirror does. Everything else it lists whole.
type simParts struct {
	rng     *rand.Rand
	planted planted
	journal simJournal
	since   []mtree.Stamp // stamps of the root that were listed, the last one last
	later   bool          // a child that is later than listed does not block
	tree    journal.Tree
	day     time.Duration // what was listed whole so long ago is listed whole again
	slow    bool          // things happen between the steps of a pass

	told, used int // parts; of them those that were taken
}

// seen is what a reader got of one directory: a part or all of it.
type seen struct {
	stamp, now mtree.Stamp
	id         string
	hot        bool
	whole      bool
	spans      []mtree.Span
	shows      map[string]string // by name: what shows
	dirs       []mtree.Entry     // the directories among them
	gone       []string
}

// newSimParts returns what a reader by parts has when it begins.
func newSimParts(seed uint64, p planted) *simParts {
	rng := rand.New(rand.NewPCG(seed, 5))
	parts := &simParts{rng: rng, planted: p, since: []mtree.Stamp{mtree.MinStamp}, later: rng.IntN(2) == 0, day: 24 * time.Hour}
	parts.restart()
	return parts
}

// restart makes a serve that has read nothing yet.
func (s *simParts) restart() {
	if s.planted != (planted{}) || s.rng.IntN(2) == 0 {
		s.journal = &plain{planted: s.planted}
	} else {
		s.journal = new(followed)
	}
}

// beginParts begins a pass. It reports whether parts may be asked for.
func (w *simWalk) beginParts(published *state.Published) bool {
	s := w.parts
	if s == nil {
		return false
	}
	s.tree = journal.Tree{ID: published.Tree.ID, Epoch: published.Tree.Epoch}
	w.fetched = map[string]*seen{}
	if !w.prunes || published.State != wire.Watched && published.State != wire.Auditing {
		return false
	}
	if s.rng.IntN(8) == 0 {
		s.restart()
	}
	if s.rng.IntN(4) == 0 {
		return true // what it needs it asks for one by one
	}
	if !s.journal.read(w.process, w.root, s.tree) {
		return true
	}
	since := w.sinceWhen()
	if dirs, ok := s.journal.dirs(since); ok {
		for _, path := range dirs {
			w.prefetch(path, since)
		}
	}
	return true
}

// sinceWhen chooses the stamp since which changes are told. It proves nothing, so any will do.
func (w *simWalk) sinceWhen() mtree.Stamp {
	s := w.parts
	if s.rng.IntN(3) == 0 {
		return s.since[s.rng.IntN(len(s.since))]
	}
	return s.since[len(s.since)-1]
}

// visit is descend by parts.
func (w *simWalk) visit(d *disk.Dir, path string) bool {
	have, s := w.known[path], w.parts
	p := w.fetched[path]
	if p == nil {
		info, err := w.lister.Self(d, path)
		if err != nil {
			return false
		}
		if w.prunes && have != nil && have.stamp == info.MTime && !have.denied {
			return true
		}
	}
	if except, err := w.lister.Exceptions(); err != nil {
		return false
	} else if except.Vouched(w.root, path) != nil {
		w.known[path] = &believed{denied: true}
		return true
	}
	if p == nil && w.byParts && s.rng.IntN(2) == 0 {
		p = w.part(d, path, w.sinceWhen())
	}
	if p != nil && have != nil && !have.denied && !p.hot && have.stamp == p.stamp { // of byParts
		return true // nothing is to be done
	}
	if p == nil || p.hot || !p.whole && !w.suffices(have, p) {
		var err error
		if p, err = w.whole(d, path); err != nil {
			return false
		}
	}
	if path == "" {
		s.since = append(s.since, p.stamp)
	}
	return !p.hot && w.take(d, path, have, p)
}

// suffices reports whether what the reader has of a directory and a part are all of it.
func (w *simWalk) suffices(have *believed, p *seen) bool {
	if have == nil || have.denied || have.own || have.id != p.id || p.now.Sub(have.now) >= w.parts.day {
		return false
	}
	if !slices.ContainsFunc(p.spans, func(s mtree.Span) bool { return s.Contains(have.stamp) }) && !w.parts.planted.anyRecord {
		return false
	}
	w.parts.used++
	return true
}

// take takes what was seen of a directory.
func (w *simWalk) take(d *disk.Dir, path string, have *believed, p *seen) bool {
	now := &believed{stamp: p.stamp, now: p.now, came: p.now, id: p.id, entries: map[string]string{}, own: w.showsItsOwn(path)}
	if !p.whole {
		now.entries, now.now = maps.Clone(have.entries), have.now
	}
	maps.Copy(now.entries, p.shows)
	for _, name := range p.gone {
		delete(now.entries, name)
	}
	delete(w.known, path)
	complete := true
	for _, e := range p.dirs {
		complete = w.listed(d, e, mtree.JoinPath(path, e.Name)) && complete
	}
	if complete {
		w.known[path] = now
	}
	return complete
}

// listed goes down to a directory that was listed.
func (w *simWalk) listed(d *disk.Dir, e mtree.Entry, path string) bool {
	child, err := d.OpenDir(e.Name)
	if err != nil {
		return false
	}
	defer func() { _ = child.Close() }()
	if have := w.known[path]; w.prunes && have != nil && !have.denied && have.stamp == e.MTime {
		return true
	}
	if w.fetched[path] != nil && w.visit(child, path) && w.suits(e, path) {
		return true
	}
	delete(w.fetched, path) // it is asked for again
	return w.visit(child, path) && w.suits(e, path)
}

// suits reports whether a directory that was visited has the stamp that was listed for it, or
// one that will bring the reader there again.
func (w *simWalk) suits(e mtree.Entry, path string) bool {
	have := w.known[path]
	if have.denied || have.stamp == e.MTime {
		return true
	}
	return w.parts.later && have.stamp.After(e.MTime) && !have.stamp.After(have.came)
}
