package sourcetest

import (
	"slices"
	"strings"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/wire"
)

// stamped is a directory that a batch stamps.
type stamped struct {
	path string
	n    *node
}

// Publish stamps what changed: the deepest directories first, the root last. It yields
// before each stamp. Changes that come meanwhile wait for the next batch, and so does a call
// meanwhile: one watch publishes one batch after the other.
func (t *Tree) Publish() {
	if t.again = true; t.publishing {
		return
	}
	t.publishing = true
	for t.again {
		t.again = false
		t.publish()
	}
	t.publishing = false
}

func (t *Tree) publish() {
	if len(t.pending) == 0 {
		return
	}
	batch := t.batch()
	planned := t.plan(batch)
	if t.Mistake == LateJournal {
		defer func() { t.journal = append(t.journal, planned) }()
	} else {
		t.journal = append(t.journal, planned)
	}
	clear(t.pending)
	value := t.tick // the time of the last change
	if !value.After(t.floor) {
		value = t.floor.Add(1)
	}
	for _, s := range batch {
		t.yield("stamp " + quoted(s.path))
		if t.at(s.path) != s.n {
			continue // it has gone or moved, which is pending
		}
		if s.n.mtime.Before(value) || s.n.mtime.After(t.now()) {
			s.n.mtime = value
		} else {
			s.n.mtime = s.n.mtime.Add(1) // somebody may have read the time that the kernel gave
		}
		t.floor, t.given[s.n] = mtree.Later(t.floor, s.n.mtime), s.n.mtime
		s.n.ctime, s.n.stamped = t.kernelTime(), true
		t.record()
	}
}

// batch returns the directories to stamp, in order.
func (t *Tree) batch() []stamped {
	want := map[string]*node{}
	t.root.walk("", func(path string, n *node) {
		c := t.pending[n]
		if c == nil || n.kind != mtree.Dir {
			return
		}
		for up := path; ; up = mtree.ParentPath(up) {
			want[up] = t.at(up)
			if up == "" {
				break
			}
		}
		if c.arrived {
			n.walk(path, func(path string, n *node) {
				if n.kind == mtree.Dir {
					want[path] = n
				}
			})
		}
	})
	batch := make([]stamped, 0, len(want))
	for path, n := range want {
		batch = append(batch, stamped{path, n})
	}
	slices.SortFunc(batch, func(a, b stamped) int {
		if d := depth(b.path) - depth(a.path); d != 0 {
			return d
		}
		return strings.Compare(a.path, b.path)
	})
	return batch
}

func depth(path string) int {
	if path == "" {
		return 0
	}
	return 1 + strings.Count(path, "/")
}

func quoted(path string) string { return "/" + path }

// IsPublished reports whether nothing waits to be published.
func (t *Tree) IsPublished() bool { return len(t.pending) == 0 }

// Stop ends watch: what changes from now on is published by the next one.
func (t *Tree) Stop() {
	if t.State == wire.Watched || t.State == wire.Auditing {
		t.State = wire.Audited
	}
}

// SetClock sets the clock of the source's machine. If it is set back, the watch that runs
// or the next one finds out.
func (t *Tree) SetClock(by time.Duration) {
	t.shift += by
	t.tick = t.now()
	if by < 0 {
		if at := t.now(); !t.setBack || at.Before(t.setBackTo) {
			t.setBackTo = at
		}
		t.setBack = true
	}
	if by < 0 && t.State.Prunes() && t.State != wire.Audited {
		t.State = wire.Auditing
		t.lose()
		t.Publish()
		t.State = wire.Watched
	}
}

// lose raises the epoch, and has everything stamped. A latest stamp that lies far ahead of
// the clock is given up.
func (t *Tree) lose() {
	began := t.now()
	if t.setBack {
		began = mtree.Earlier(began, t.setBackTo)
	}
	sec, _ := began.Unix()
	t.Epoch, t.setBack = max(t.Epoch+1, uint64(sec)), false
	t.beginJournal()
	if t.floor.Sub(t.now()) > time.Minute {
		t.floor = t.now()
	}
	t.arrived(t.root)
}

// Start begins another run of watch, which publishes what changed meanwhile. If lost is
// set it cannot prove continuity: everything is stamped, in a higher epoch.
func (t *Tree) Start(lost bool) {
	top := mtree.Later(t.floor, t.root.mtime)
	t.Runs = slices.Clone(t.Runs)
	if n := len(t.Runs); n > 0 && t.Runs[n-1].Floor == nil {
		t.Runs[n-1].Floor = &top
	}
	t.Runs = append(t.Runs, wire.Run{ID: t.newRun()})
	t.Runs = t.Runs[max(0, len(t.Runs)-wire.MaxRuns):]
	t.floor = mtree.Later(top, t.now())
	t.beginJournal()
	t.State = wire.Auditing
	if len(t.lacks) > 0 {
		t.lacks = nil
		t.arrived(t.root)
		t.record()
	}
	if lost || t.setBack {
		t.lose()
	}
	t.Publish()
	t.State = wire.Watched
}

// Fill makes the tree a copy that is being filled: about half of it has not arrived yet.
// Start ends that.
func (t *Tree) Fill() {
	t.lacks = map[string]bool{}
	n := 0
	t.root.walk("", func(path string, _ *node) {
		if n++; path != "" && n%2 == 0 {
			t.lacks[path] = true
		}
	})
	t.State = wire.Filling
	t.fills++
	t.arrived(t.root)
	t.record()
}

// Snapshot returns the present tree.
func (t *Tree) Snapshot() *Snapshot {
	s := &Snapshot{root: t.root.clone(), floor: t.floor, epoch: t.Epoch, runs: slices.Clone(t.Runs), left: map[string]bool{}}
	t.shots = append(t.shots, s)
	t.root.walk("", func(path string, n *node) {
		if c := t.pending[n]; c != nil {
			s.left[path] = c.arrived
		}
	})
	return s
}

// Restore brings a snapshot back, and starts another run of watch on it.
func (t *Tree) Restore(s *Snapshot) {
	t.root, t.floor, t.Epoch, t.Runs = s.root.clone(), s.floor, s.epoch, slices.Clone(s.runs)
	t.State = wire.Audited
	clear(t.pending)
	for path, arrived := range s.left {
		if t.heard(t.at(path)); arrived {
			t.arrived(t.at(path))
		}
	}
	t.record()
	t.Start(false)
}

// beginJournal begins a new one: what was given before is not remembered.
func (t *Tree) beginJournal() {
	t.journal = nil
	clear(t.given)
}

// plan returns what is written down of a batch.
func (t *Tree) plan(stamps []stamped) batch {
	b := batch{floor: t.floor, lines: map[string]line{}}
	for _, s := range stamps {
		l := line{span: mtree.Span{From: s.n.mtime, To: s.n.mtime}, known: true, names: map[string]bool{}}
		if gave, ok := t.given[s.n]; ok {
			l.span.From, l.known = gave, !s.n.mtime.Before(gave)
		}
		if c := t.pending[s.n]; c != nil {
			l.names, l.more, l.deep = c.names, c.found && t.Mistake != NamedFinding, c.arrived
		}
		b.lines[s.path] = l
	}
	for _, s := range stamps {
		if s.path != "" && t.Mistake != NoChildren {
			b.lines[mtree.ParentPath(s.path)].names[mtree.BaseName(s.path)] = true
		}
	}
	return b
}
