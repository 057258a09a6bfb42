package watch_test

import (
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/journal"
	"tidemark/pkg/mtree/internal/lister"
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

// prefetch gets what has changed in one directory.
func (w *simWalk) prefetch(path string, since mtree.Stamp) {
	d, err := w.root.OpenDirPath(path, true)
	if err != nil {
		return
	}
	defer func() { _ = d.Close() }()
	if have := w.part(d, path, since); have != nil {
		w.fetched[path] = have
	} else if have, err := w.whole(d, path); err == nil {
		w.fetched[path] = have
	}
}

// part is what serve does: nil if all must be listed.
func (w *simWalk) part(d *disk.Dir, path string, since mtree.Stamp) *seen {
	s := w.parts
	if f, ok := s.journal.(*followed); ok {
		return w.listedPart(f, d, path, since)
	}
	for range 3 {
		early := s.planted.tailFirst && s.journal.read(w.process, w.root, s.tree)
		w.pause()
		p := &seen{now: mtree.FromTime(w.process.Now()), shows: map[string]string{}}
		before, err := w.lister.Self(d, path)
		if err != nil {
			return nil
		}
		if except, err := w.lister.Exceptions(); err != nil || touches(except, path) {
			return nil
		}
		w.pause()
		if j, ok := s.journal.(*plain); ok && s.planted.after {
			j.top = w.rootStamp()
		}
		if !early && !s.journal.read(w.process, w.root, s.tree) {
			return nil
		}
		told := s.journal.told(path, since)
		if told.Whole || len(told.Spans) == 0 {
			return nil
		}
		w.pause()
		p.stamp, p.id, p.spans = before.MTime, lister.DirID(s.tree.ID, before), told.Spans
		if !w.look(d, told.Names, p) {
			return nil
		}
		w.pause()
		after, err := w.lister.Self(d, path)
		if err != nil {
			return nil
		}
		if after.MTime != before.MTime {
			continue
		}
		if there, err := w.root.StatPath(path, true); path != "" && (err != nil || there.Node != after.Node) {
			p.hot = true
		}
		s.told++
		return p
	}
	return nil
}

// listedPart is part as package lister reads it.
func (w *simWalk) listedPart(f *followed, d *disk.Dir, path string, since mtree.Stamp) *seen {
	l := w.lister
	l.TreeID = w.parts.tree.ID
	reading, err := l.BeginPart(d, path)
	w.pause()
	if err != nil || !f.read(w.process, w.root, w.parts.tree) {
		return nil
	}
	told := f.told(path, since)
	w.pause()
	if told.Whole || len(told.Spans) == 0 {
		return nil
	}
	part, err := reading.Read(told.Names)
	if err != nil {
		return nil
	}
	p := &seen{stamp: part.Stamp, now: part.Now, id: part.ID, hot: part.Hot, spans: told.Spans, gone: part.Gone, shows: map[string]string{}}
	for _, e := range part.Entries {
		if !w.add(d, p, e) {
			return nil
		}
	}
	w.parts.told++
	return p
}

// lookSlowly is look, and other things happen meanwhile.
func (r *simReader) lookSlowly() bool {
	if r.parts != nil && !r.busy.Load() {
		r.parts.slow = true
		defer func() { r.parts.slow = false }()
	}
	return r.look()
}

// pause lets other things happen.
func (w *simWalk) pause() {
	s, rng := w.s, w.parts.rng
	if !w.parts.slow || rng.IntN(3) > 0 {
		return
	}
	if s.watcher != nil {
		defer s.as(s.watcher.process)()
	}
	if rng.IntN(3) == 0 {
		s.changeFile(rng)
	}
	for range rng.IntN(60) {
		if !s.order.Step() {
			s.order.Pass(simPause(rng))
		}
	}
}

// rootStamp returns the root's time as it is.
func (w *simWalk) rootStamp() mtree.Stamp {
	info, _ := w.root.Self()
	return info.MTime
}

// touches reports whether something is told apart of a directory or of an entry of it.
func touches(except *state.Exceptions, path string) bool {
	if except == nil {
		return false
	}
	at := func(p string) bool { return p == path || p != "" && mtree.ParentPath(p) == path }
	for p := range except.Stamps {
		if at(p) {
			return true
		}
	}
	for p := range except.Unread {
		if at(p) {
			return true
		}
	}
	return false
}

// look looks at names of d.
func (w *simWalk) look(d *disk.Dir, names []string, p *seen) bool {
	for _, name := range names {
		if name == mtree.MarkerName {
			continue
		}
		info, err := d.Stat(name)
		if errors.Is(err, fs.ErrNotExist) {
			p.gone = append(p.gone, name)
			continue
		}
		if err != nil {
			return false
		}
		e := lister.EntryOf(name, info)
		if e.Kind == mtree.Symlink {
			if e.Link, err = d.Readlink(name); err != nil {
				return false
			}
		}
		if !w.add(d, p, e) {
			return false
		}
	}
	return true
}

// add adds an entry.
func (w *simWalk) add(d *disk.Dir, p *seen, e mtree.Entry) bool {
	var err error
	if p.shows[e.Name], err = w.show(d, e); err != nil {
		return false
	}
	if e.Kind == mtree.Dir {
		p.dirs = append(p.dirs, e)
	}
	return true
}

// whole lists all of d.
func (w *simWalk) whole(d *disk.Dir, path string) (*seen, error) {
	now := mtree.FromTime(w.process.Now())
	listing, err := w.lister.Read(d, path)
	if err != nil {
		return nil, err
	}
	info, err := d.Self()
	if err != nil {
		return nil, err
	}
	p := &seen{stamp: listing.Stamp, now: now, id: lister.DirID(w.parts.tree.ID, info), hot: listing.Hot, whole: true, shows: map[string]string{}}
	for _, e := range listing.Entries {
		if !w.add(d, p, e) {
			return nil, fs.ErrInvalid
		}
	}
	return p, nil
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

// planted are mistakes of a reader by parts, or of a journal, each of which must be found.
type planted struct {
	after       bool // the journal is written after the stamps
	tailFirst   bool // the tail is read before s0
	ignoresGaps bool // a batch is missing, which goes unnoticed
	noChildren  bool // child directories that are stamped are not named
	noArrivals  bool // what arrived is no "**"
	noUnknown   bool // what was found, set or dropped is no "*"
	anyRecord   bool // a record outside FROM:TO is accepted
	ignoresLock bool // nobody looks at the lock
}

// plant makes the mistakes that are planted in a journal.
func (j *plain) plant() {
	if j.planted.ignoresGaps {
		j.batches = slices.DeleteFunc(j.batches, func(b journal.Batch) bool { return b.Number%3 == 2 })
	}
	if n := len(j.batches); j.planted.after && n > 0 && !j.top.After(j.batches[n-1].Floor) {
		j.batches = j.batches[:n-1]
	}
	for i := range j.batches {
		b := &j.batches[i]
		stamped := map[string]bool{}
		for _, l := range b.Lines {
			stamped[l.Path] = true
		}
		for k := range b.Lines {
			l := &b.Lines[k]
			if j.planted.noChildren {
				l.Names = slices.DeleteFunc(slices.Clone(l.Names), func(name string) bool {
					return stamped[mtree.JoinPath(l.Path, strings.TrimSuffix(name, "/"))]
				})
			}
			if j.planted.noUnknown && !l.Below {
				l.Unknown = false
			}
		}
		if j.planted.noArrivals {
			b.Lines = slices.DeleteFunc(b.Lines, func(l journal.Line) bool { return l.Below })
		}
	}
}
