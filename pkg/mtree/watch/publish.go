package watch

import (
	"errors"
	"maps"
	"slices"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/filetime"
	"tidemark/pkg/mtree/internal/notify"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/watch/internal/ownwrites"
	"tidemark/pkg/mtree/watch/internal/stamprule"
	"tidemark/pkg/mtree/watch/internal/trigger"
)

// publisher writes the stamps of one batch: deepest first, the root last. It
// goes down from the root by descriptor and single names, nothing is followed,
// and stamps each directory on its way up, so at most as many directories are
// open as the tree is deep.
//
// A directory that is no longer where the batch says is left out: its rename or
// removal has an event of its own, which is still to come and stamps all that
// it concerns.
type publisher struct {
	*watcher
	rule    stamprule.Rule
	batch   *batch
	stamped int              // directories written
	top     mtree.Stamp      // highest stamp given, also where it was refused
	changed bool             // something was stamped or refused
	changes []trigger.Change // for triggers, if batch.paths
	failure error            // the root cannot be looked at
}

// publish stamps the batch and returns what was done.
func (w *watcher) publish(b *batch) *publisher {
	p := &publisher{watcher: w, rule: stamprule.Rule{Floor: w.floor, Granule: w.granule}, batch: b, top: w.floor}
	info, err := w.root.Self()
	if err != nil {
		p.failure = err
		return p
	}
	p.within(w.root, info, &b.top, "")
	w.floor = mtree.Later(w.floor, p.top)
	w.apart.settle()
	w.keep()
	return p
}

// within stamps what the batch has at and below d. stamp is what d was given;
// ok is false if nothing in it changed.
func (p *publisher) within(d *disk.Dir, info disk.Info, t *twig, path string) (stamp mtree.Stamp, ok bool) {
	top := mtree.MinStamp
	raise := func(value mtree.Stamp, changed bool) {
		if changed {
			top, ok = mtree.Later(top, value), true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(t.below)) {
		if !t.comes(name) { // else it is stamped with all below it anyway
			raise(p.below(d, info, t.below[name], name, mtree.JoinPath(path, name)))
		}
	}
	var ref notify.Ref // of d itself, whichever directory was heard here
	if slices.ContainsFunc(t.entries, walks) {
		ref = p.source.Known(d.FD())
	}
	for _, e := range t.entries {
		raise(p.entry(d, info, ref, e, path))
	}
	if t.dirty {
		raise(p.rule.Least(), true)
	}
	if t.self {
		var value mtree.Stamp
		value, t.self = p.self(d, path)
		raise(value, t.self)
	}
	if f := t.found; f != nil && !f.first {
		raise(p.rule.Value(f.mtime, f.ctime, p.clock.Now()), true)
	}
	if !ok {
		if t.found != nil { // and it is of the first run
			p.settleFirst(d, path, t.found)
		} else if t.settles {
			p.settle(d, path)
		}
		return stamp, false
	}
	stamp = p.write(d, path, top, t.found)
	p.tell(t, path, stamp)
	return stamp, true
}

// walks reports whether e makes the publisher arm directories.
func walks(e notify.Entry) bool { return e.Arrived || e.Name == mtree.MarkerName }

// below goes down to the directory name in d.
func (p *publisher) below(d *disk.Dir, parent disk.Info, t *twig, name, path string) (mtree.Stamp, bool) {
	if p.apart.closed(mtree.ParentPath(path), name) {
		return p.reopened(d, parent, t, name, path)
	}
	child, err := d.OpenDir(name)
	if err != nil {
		return p.unopened(d, t, name, path, err)
	}
	defer child.Close()
	info, err := child.Self()
	if err != nil {
		return p.unopened(d, t, name, path, err)
	}
	if p.foreign(parent, info, path) || child.IsPlaceholder(info) {
		return mtree.Stamp{}, false
	}
	if p.border(child, path) { // an entry of d, and nothing inside
		return p.rule.Value(info.MTime, info.CTime, p.clock.Now()), t.self || t.found != nil || t.touches(mtree.MarkerName)
	}
	return p.within(child, info, t, path)
}

// unopened tells what it means that the directory name in d cannot be opened: it is
// not published any more. That changes what is above it, once.
func (p *publisher) unopened(d *disk.Dir, t *twig, name, path string, err error) (mtree.Stamp, bool) {
	info, statErr := d.Stat(name)
	if disk.IsGone(err) || disk.IsGone(statErr) {
		p.vanished(t, path)
		return mtree.Stamp{}, false
	}
	return p.rule.Least(), p.trouble.cannotRead(path, info.Node.Ino, err)
}

// vanished forgets what is told apart of a directory that is gone, and of those
// below it that were to be looked at.
func (p *publisher) vanished(t *twig, path string) {
	p.trouble.accept(path)
	if t == nil {
		return
	}
	if t.retry {
		p.apart.open(path)
	}
	for name, below := range t.below {
		p.vanished(below, mtree.JoinPath(path, name))
	}
}

// reopened looks at a directory that could not be read, if anything was heard of
// itself: what is in it is not published until it can be read. Then all below counts
// as arrived.
func (p *publisher) reopened(d *disk.Dir, self disk.Info, t *twig, name, path string) (mtree.Stamp, bool) {
	if !t.self && !t.retry {
		return mtree.Stamp{}, false
	}
	return p.reopen(d, self, p.source.Known(d.FD()), name, path)
}

func (p *publisher) reopen(d *disk.Dir, self disk.Info, ref notify.Ref, name, path string) (mtree.Stamp, bool) {
	child, err := d.OpenDir(name)
	if err == nil {
		err = child.ScanStat(func([]byte, disk.Info) error { return nil })
		_ = child.Close()
	}
	if err != nil && !disk.IsGone(err) {
		return mtree.Stamp{}, false
	}
	return p.arrived(d, self, ref, name, path)
}

// entry values one changed name in d.
func (p *publisher) entry(d *disk.Dir, self disk.Info, ref notify.Ref, e notify.Entry, path string) (mtree.Stamp, bool) {
	if e.Name == mtree.MarkerName {
		return p.marked(d, self, ref, path)
	}
	if e.Arrived {
		return p.arrived(d, self, ref, e.Name, mtree.JoinPath(path, e.Name))
	}
	info, err := d.Stat(e.Name)
	switch {
	case p.apart.closed(path, e.Name):
		stamp, ok := p.reopen(d, self, p.source.Known(d.FD()), e.Name, mtree.JoinPath(path, e.Name))
		if !ok {
			stamp = p.rule.Least()
		}
		return stamp, true
	case err != nil:
		if p.apart.anyRefuses() {
			p.trouble.accept(mtree.JoinPath(path, e.Name))
		}
		return p.rule.Least(), true // gone, or not to be looked at: the name changed
	case info.Kind == mtree.Dir && (p.ownWrites.Shows(info) || p.foreign(self, info, mtree.JoinPath(path, e.Name))):
		return mtree.Stamp{}, false
	}
	return p.rule.Value(info.MTime, info.CTime, p.clock.Now()), true
}

// marked handles a .tidemark that came or went in d, or whose watcher or mirror
// has ended. In the root it is ours. In any other directory, as nothing runs there
// now, all below counts as arrived: nobody knows what is published of it.
func (p *publisher) marked(d *disk.Dir, self disk.Info, ref notify.Ref, path string) (mtree.Stamp, bool) {
	if path == "" {
		return mtree.Stamp{}, false
	}
	return p.inside(d, self, ref, path, false), true
}

// self values d itself if somebody else set its mode, owner or times. Where times do
// not hold nobody can tell whose event it was, and to stamp it again would make one
// more: its next change is found by an audit.
func (p *publisher) self(d *disk.Dir, path string) (mtree.Stamp, bool) {
	info, err := d.Self()
	if err != nil || p.ownWrites.Untouched(d, info) || p.trouble.loses(path) {
		return mtree.Stamp{}, false
	}
	return p.rule.Value(info.MTime, info.CTime, p.clock.Now()), true
}

// arrived stamps the directory that came to stand at name, with every directory
// below: what they carried may equal what a reader remembers for these names.
func (p *publisher) arrived(d *disk.Dir, self disk.Info, ref notify.Ref, name, path string) (mtree.Stamp, bool) {
	child, err := d.OpenDir(name)
	if disk.IsGone(err) {
		p.apart.open(path)
		return p.rule.Least(), true // it left again, or something else stands there
	}
	if err != nil {
		p.unopened(d, nil, name, path, err)
		return p.rule.Least(), true
	}
	defer child.Close()
	info, err := child.Self()
	if err != nil {
		p.unopened(d, nil, name, path, err)
		return p.rule.Least(), true
	}
	if p.foreign(self, info, path) || child.IsPlaceholder(info) {
		return mtree.Stamp{}, false
	}
	own, fresh := p.arm(ref, d, name, child)
	top := p.rule.Value(info.MTime, info.CTime, p.clock.Now())
	if p.border(child, path) {
		p.apart.open(path)
		return top, true // armed all the same: its watcher may end
	}
	top = mtree.Later(top, p.inside(child, info, own, path, fresh))
	return p.write(child, path, top, nil), true
}

// inside arms and stamps all directories in d, which is armed itself, and
// returns the greatest value among them; with files, also that of the files:
// those of a directory that was not heard so far.
func (p *publisher) inside(d *disk.Dir, self disk.Info, ref notify.Ref, path string, files bool) mtree.Stamp {
	top := p.rule.Least()
	var names []string
	err := d.Scan(func(name []byte, kind mtree.Kind) error {
		if !files && (kind == mtree.File || kind == mtree.Symlink) {
			return nil
		}
		info, err := d.Stat(string(name))
		if disk.IsGone(err) {
			return nil // its removal is heard
		}
		if err != nil {
			return err
		}
		if info.Kind == mtree.Dir {
			names = append(names, string(name))
		} else {
			top = mtree.Later(top, p.rule.Value(info.MTime, info.CTime, p.clock.Now()))
		}
		return nil
	})
	if err != nil && !disk.IsGone(err) {
		p.trouble.cannotRead(path, self.Node.Ino, err)
	} else {
		p.apart.open(path)
	}
	for _, name := range names {
		at := mtree.JoinPath(path, name)
		if p.exclude.Excluded(at, true) {
			continue
		}
		if stamp, ok := p.arrived(d, self, ref, name, at); ok {
			top = mtree.Later(top, stamp)
		}
	}
	return top
}

// arm begins to hear a directory that arrived. Out of watches, it goes on
// without. fresh says that it was not heard before.
func (p *publisher) arm(parent notify.Ref, d *disk.Dir, name string, child *disk.Dir) (ref notify.Ref, fresh bool) {
	if parent == (notify.Ref{}) {
		return ref, false
	}
	ref, fresh, err := p.source.Arm(parent, d.FD(), name, child.FD())
	if err != nil && !errors.Is(err, notify.ErrGone) {
		p.trouble.unheard(err)
	}
	return ref, fresh
}

// write gives d its stamp: top, or more if d already shows that much. A
// directory that refuses counts as stamped all the same, so that the floor and
// the stamps above it move on. System calls:
//
//	fstat, utimensat, fstat
//
// A stamp that equals the ctime which writing it leaves is written again, one
// granule more: a create or delete in the same tick shows the same, so it could
// neither be remembered as ours nor, by an audit, be told from theirs.
func (p *publisher) write(d *disk.Dir, path string, top mtree.Stamp, f *finding) mtree.Stamp {
	p.keep()
	p.ownWrites.Lock()
	defer p.ownWrites.Unlock()
	p.changed = true
	before, err := d.Self()
	if err != nil {
		p.trouble.overflow(err)
		return top
	}
	stamp := p.rule.Stamp(top, before.MTime, before.CTime, p.clock.Now())
	after, err := p.set(d, stamp)
	if err == nil && after.MTime == stamp && after.CTime == stamp {
		stamp = stamp.Add(p.rule.Granule)
		after, err = p.set(d, stamp)
	}
	p.top = mtree.Later(p.top, stamp)
	if err != nil {
		p.trouble.refuse(path, before.Node, stamp, err)
		return stamp
	}
	p.wrote(path, stamp, before, after, f)
	return stamp
}

// set sets d's time and returns what d shows then. One that does not hold, as where a
// file system takes no times and reports success, counts as refused. Somebody may
// change the directory between the two, but not each time.
func (p *publisher) set(d *disk.Dir, stamp mtree.Stamp) (after disk.Info, err error) {
	for range holdTries {
		if err = p.setTime(d, stamp); err != nil {
			return after, err
		}
		p.source.Wrote()
		if after, err = d.Self(); err != nil || filetime.SameStored(after.MTime, stamp) {
			return after, err
		}
	}
	return after, errNotHeld
}

const holdTries = 10

var errNotHeld = errors.New("the time does not hold")

// wrote remembers what the write left, so that its event is known as ours. If
// somebody changed the directory between the two fstat, nothing is remembered
// and the event counts as theirs. Nor is a stamp that equals the ctime.
func (p *publisher) wrote(path string, stamp mtree.Stamp, before, after disk.Info, f *finding) {
	p.stamped++
	p.trouble.accept(path)
	if after.MTime == stamp && after.MTime != after.CTime && after.Mode == before.Mode && after.UID == before.UID && after.GID == before.GID {
		p.ownWrites.Put(after, p.proofOf(before, f), p.backend != "none")
	}
}

// proofOf returns how far a write over what a directory shows proves that it did not
// arrive: see ownwrites.Memory. f is the finding that led to the write, if any.
func (p *publisher) proofOf(shows disk.Info, f *finding) ownwrites.Proof {
	if have := p.ownWrites.ProofOf(shows); have != ownwrites.Unproven {
		return have
	}
	if known := p.known(); known != nil && shows.CTime.Before(known.Add(-stamprule.LookBack)) {
		return ownwrites.Proven
	}
	if f != nil && f.judged == shows.CTime {
		return ownwrites.Judged
	}
	return ownwrites.Unproven
}

// settleFirst gives a directory its stamp on the first run of all: the greatest
// mtime at or below it. If it changed since it was scanned, the change is on
// its way as an event and nothing is written.
func (p *publisher) settleFirst(d *disk.Dir, path string, f *finding) {
	if p.batch.paths {
		p.changes = append(p.changes, trigger.Change{Path: mtree.DirPath(path), Stamp: f.value})
	}
	p.ownWrites.Lock()
	defer p.ownWrites.Unlock()
	before, err := d.Self()
	if err != nil || before.MTime != f.showed || p.ownWrites.Has(before) {
		return // changed since, or stamped by a batch
	}
	p.top = mtree.Later(p.top, f.value)
	if before.MTime == f.value {
		now := p.clock.Now()
		past := before.CTime.Add(p.rule.Granule + stamprule.CtimeLag).Before(now) // else a change to come may show the same
		if past && before.CTime == f.judged && before.CTime.After(now.Add(-2*stamprule.LookBack)) {
			p.ownWrites.Put(before, ownwrites.Judged, p.backend != "none") // as good as written: the next start need not take it for arrived
		}
		return
	}
	p.changed = true
	after, err := p.set(d, f.value)
	if err != nil {
		p.trouble.refuse(path, before.Node, f.value, err)
		return
	}
	p.wrote(path, f.value, before, after, f)
}

// settle gives a directory that refused its time the stamp that is published of it,
// if it takes it now: for readers nothing changes.
func (p *publisher) settle(d *disk.Dir, path string) {
	p.ownWrites.Lock()
	defer p.ownWrites.Unlock()
	before, err := d.Self()
	if err != nil {
		return
	}
	stamp, ok := p.apart.stampOf(path, before.Node.Ino)
	if !ok {
		p.trouble.accept(path) // another directory has its name
		return
	}
	if after, err := p.set(d, stamp); err == nil {
		p.wrote(path, stamp, before, after, nil)
	}
}

// foreign is beyond, and remembers the directory.
func (p *publisher) foreign(parent, child disk.Info, path string) bool {
	if !p.beyond(parent, child) {
		return false
	}
	p.trouble.pass(path)
	return true
}

// beyond reports whether another file system begins at child: such a directory
// is neither watched nor written.
func (w *watcher) beyond(parent, child disk.Info) bool {
	return !w.CrossMounts && disk.IsBorder(parent, child)
}

// border reports whether another watch or mirror runs in d, and remembers it.
func (p *publisher) border(d *disk.Dir, path string) bool {
	if !state.IsLiveTree(d) {
		return false
	}
	p.borders.note(path)
	return true
}

// tell lists what changed in one directory, for the triggers.
func (p *publisher) tell(t *twig, path string, stamp mtree.Stamp) {
	if !p.batch.paths {
		return
	}
	for _, e := range t.entries {
		if e.Name == mtree.MarkerName {
			continue
		}
		name := mtree.JoinPath(path, e.Name)
		if e.Arrived {
			name += "/"
		}
		p.changes = append(p.changes, trigger.Change{Path: name, Stamp: stamp})
	}
	if t.self && len(t.entries) == 0 || t.dirty || t.found != nil {
		p.changes = append(p.changes, trigger.Change{Path: mtree.DirPath(path), Stamp: stamp})
	}
}
