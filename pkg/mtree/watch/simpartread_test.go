package watch_test

import (
	"errors"
	"io/fs"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/lister"
	"tidemark/pkg/mtree/internal/state"
)

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
