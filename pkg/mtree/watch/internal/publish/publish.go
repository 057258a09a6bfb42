package publish

import (
	"errors"
	"slices"
	"strings"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/notify"
	"tidemark/pkg/mtree/watch/internal/ownwrites"
	"tidemark/pkg/mtree/watch/internal/stamprule"
	"tidemark/pkg/mtree/watch/internal/trigger"
)

// Publish stamps the batch by the rule. Everything up to until was published before; nil
// if that is unknown. An error means that the root could not be looked at.
func (t *Tree) Publish(b *Batch, rule stamprule.Rule, until *mtree.Stamp) (Result, error) {
	p := &publisher{Tree: t, Result: Result{Top: rule.Floor}, rule: rule, until: until, batch: b}
	info, err := t.Root.Self()
	if err != nil {
		return p.Result, err
	}
	defer p.release()
	p.look(t.Root, info, &b.top, "", 0)
	if b.Drained { // guard: TestReplacedBehindTheEvents
		t.lately = lately{}
		t.Awaited.Clear() // guard: TestOwnEventsAmongOthers
	}
	t.lately.join(p.written)
	p.writeDown() // guard: TestJournalBeforeTheStamps
	p.within(t.Root, &b.top, "", 0)
	return p.Result, nil
}

// within stamps the directories of the batch at and below d. stamp is that of d; ok is
// false if nothing in d changed.
func (p *publisher) within(d *disk.Dir, c *dirChange, path string, at ownwrites.Place) (stamp mtree.Stamp, ok bool) {
	top, since, info := mtree.MinStamp, p.Health.Exceptions.Placed(), c.plan.info
	raise := func(value mtree.Stamp, changed bool) {
		if changed {
			top, ok = mtree.Later(top, value), true
		}
	}
	for _, name := range c.plan.order {
		raise(p.below(d, info, c.below[name], name, mtree.JoinPath(path, name)))
	}
	var ref notify.Ref                        // of d itself; another directory may have been heard here
	if slices.ContainsFunc(c.entries, arms) { // guard: TestCopiedTreeIsNoBorder
		ref = p.known(d)
	}
	for i, e := range c.entries {
		raise(p.entry(d, info, ref, e, c.plan.seen[i], path))
	}
	if c.dirty { // guard: TestNamesThatWereNotKept
		raise(p.rule.Least(), true)
	}
	if c.self {
		raise(p.rule.Value(info.MTime, info.CTime, p.Clock.Now()), true)
	}
	if f := c.found; f != nil && !f.First { // guard (without !f.First): TestFirstAuditKeepsStamps
		raise(p.rule.Value(f.MTime, f.CTime, p.Clock.Now()), true)
	}
	if !ok {
		if c.found != nil { // and it is of the first run
			p.stampFirst(d, path, at, c.found)
		} else if c.showOnly {
			p.showPublished(d, path, at) // guard: TestARefusalEndsWhileNobodyWatches
		}
		return stamp, false
	}
	came := mtree.MinStamp
	if c.found != nil {
		came = c.found.Came
	}
	stamp = p.write(d, path, at, top, c.found, came, since)
	p.listChanges(c, path, stamp)
	return stamp, true
}

// arms reports whether e makes the publisher arm directories.
func arms(e notify.Entry) bool { return e.Arrived || e.Name == mtree.MarkerName } // guard (without e.Name): TestBorderFromTheStart

// below goes down to the directory name in d, as it was planned.
func (p *publisher) below(d *disk.Dir, parent disk.Info, c *dirChange, name, path string) (mtree.Stamp, bool) {
	switch c.plan.fate {
	case nothing:
		return mtree.Stamp{}, false
	case asEntry:
		return c.plan.value, true
	case absent:
		p.forget(c, path)
		return mtree.Stamp{}, false
	case closed:
		return p.rule.Least(), p.Health.CannotRead(path, c.plan.info.Node.Ino, c.plan.err)
	case unread:
		return p.rule.Least(), c.self // guard (c.self -> false): TestModeOfWhatCannotBeRead
	case readable:
		return p.reopen(d, parent, p.known(d), name, path), true
	}
	child := c.plan.dir
	if c.plan.dir = nil; child == nil {
		var err error
		var info disk.Info
		if child, info, err = openDir(d, name); err != nil {
			return p.unopened(d, c, name, path, err)
		}
		if info.Node != c.plan.info.Node { // guard: TestReplacedSinceThePlan
			_ = child.Close()
			return mtree.Stamp{}, false // the one that is there by now has its own event
		}
	}
	defer child.Close()
	return p.within(child, c, path, ownwrites.PlaceOf(parent, name, c.plan.info))
}

// unopened handles a directory name in d that cannot be opened: it is no longer
// published. The directories above it change by that, once.
func (p *publisher) unopened(d *disk.Dir, c *dirChange, name, path string, err error) (mtree.Stamp, bool) {
	info, statErr := d.Stat(name)
	if disk.IsGone(err) || disk.IsGone(statErr) {
		p.forget(c, path)
		return mtree.Stamp{}, false
	}
	return p.rule.Least(), p.Health.CannotRead(path, info.Node.Ino, err)
}

// forget drops the exceptions of a directory that is gone, and of those below it that
// were to be looked at.
func (p *publisher) forget(c *dirChange, path string) {
	p.Health.Accept(path)
	p.Health.Exceptions.SetReadable(path)
	if c == nil {
		return
	}
	for name, below := range c.below {
		p.forget(below, mtree.JoinPath(path, name))
	}
}

// reopen stamps the directory name in d, which can be read again.
func (p *publisher) reopen(d *disk.Dir, self disk.Info, ref notify.Ref, name, path string) mtree.Stamp {
	return p.arrived(d, self, ref, name, path, p.past(self.CTime))
}

// entry returns the value of one changed name in d, as it was planned.
func (p *publisher) entry(d *disk.Dir, self disk.Info, ref notify.Ref, e notify.Entry, now seen, path string) (mtree.Stamp, bool) {
	switch {
	case e.Name == mtree.MarkerName: // guard: TestBorder
		return p.markerChanged(d, self, ref, path)
	case e.Arrived:
		return p.arrived(d, self, ref, e.Name, mtree.JoinPath(path, e.Name), p.past(self.CTime)), true
	}
	switch now.fate {
	case nothing:
		return mtree.Stamp{}, false
	case unread:
		return p.rule.Least(), true
	case readable:
		return p.reopen(d, self, p.known(d), e.Name, mtree.JoinPath(path, e.Name)), true
	case absent:
		if p.Health.Exceptions.AnyRefuses() {
			p.Health.Accept(mtree.JoinPath(path, e.Name))
		}
		return p.rule.Least(), true
	}
	if e.Renamed {
		now = p.renamed(d, e.Name, now)
	}
	return p.rule.Value(now.mtime, now.ctime, p.Clock.Now()), true
}

// markerChanged handles a .tidemark that came or went in d, or whose watcher or mirror
// has ended. In the root it is ours. In another directory where nothing runs now,
// everything below counts as arrived: it is not known which stamps its readers have.
func (p *publisher) markerChanged(d *disk.Dir, self disk.Info, ref notify.Ref, path string) (mtree.Stamp, bool) {
	if path == "" {
		return mtree.Stamp{}, false
	}
	return p.inside(d, self, ref, path, p.past(self.CTime), false), true // guard (returns mtree.Stamp{}, false): TestBorder
}

// arrived stamps the directory that arrived at name, and every directory below it: their
// times may equal those that a reader remembers for these names. came is the latest ctime of
// the directories above it: before it arrived, its name cannot have shown a later time.
func (p *publisher) arrived(d *disk.Dir, self disk.Info, ref notify.Ref, name, path string, came mtree.Stamp) mtree.Stamp {
	child, err := d.OpenDir(name)
	if err != nil {
		p.unopened(d, nil, name, path, err) // perhaps it left again, or something else has the name
		return p.rule.Least()
	}
	defer child.Close()
	info, err := child.Self()
	if err != nil {
		p.unopened(d, nil, name, path, err)
		return p.rule.Least()
	}
	p.noteMount(info, path) // guard: TestMountsThatABatchSaw
	if p.passesOver(self, info, path) || child.IsPlaceholder(info) {
		return p.rule.Least() // the kernel moved the time of d with it
	}
	since := p.Health.Exceptions.Placed()
	own, fresh := p.arm(ref, d, name, child, info)
	if n := len(p.Fresh); fresh && (n == 0 || !strings.HasPrefix(path, p.Fresh[n-1]+"/")) {
		p.Fresh = append(p.Fresh, path)
	}
	top := p.rule.Value(info.MTime, info.CTime, p.Clock.Now())
	if p.isBorder(child, path) {
		p.Health.Exceptions.SetReadable(path)
		// guard: TestBorderFromTheStart
		return top // armed because its watcher may end
	}
	came = mtree.Later(came, p.past(info.CTime))                          // guard: TestArrivedWithATimeThatItsNameShowed
	top = mtree.Later(top, p.inside(child, info, own, path, came, fresh)) // guard: TestUnreadIsTried
	return p.write(child, path, ownwrites.PlaceOf(self, name, info), top, nil, came, since)
}

// inside arms and stamps all directories in d, which is armed itself. It returns the
// greatest value among them. With files, the files of d count, too: d was not heard so
// far.
func (p *publisher) inside(d *disk.Dir, self disk.Info, ref notify.Ref, path string, came mtree.Stamp, files bool) mtree.Stamp {
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
			p.noteMount(info, mtree.JoinPath(path, string(name))) // guard: TestMountsThatABatchSaw
			top = mtree.Later(top, p.rule.Value(info.MTime, info.CTime, p.Clock.Now()))
		}
		return nil
	})
	if err != nil && !disk.IsGone(err) {
		p.Health.CannotRead(path, self.Node.Ino, err)
	} else {
		p.Health.Exceptions.SetReadable(path)
	}
	for _, name := range names {
		at := mtree.JoinPath(path, name)
		if !p.Exclude.Excluded(at, true) {
			top = mtree.Later(top, p.arrived(d, self, ref, name, at, came))
		}
	}
	return top
}

// past returns a time that is not later than now.
func (p *publisher) past(t mtree.Stamp) mtree.Stamp {
	return stamprule.Past(t, mtree.MinStamp, p.Clock.Now())
}

// known returns d as the source knows it. If that cannot be found out, what arrives in d is not
// heard.
func (p *publisher) known(d *disk.Dir) notify.Ref {
	ref, err := p.Source.Known(d.FD())
	if err != nil && !errors.Is(err, notify.ErrGone) { // guard: TestWhatArrivesWhereNothingIsKnown
		p.Health.CannotHear(err)
	}
	return ref
}

// arm begins to hear a directory that arrived. If no watch is left, it goes on without
// one. What was mounted may be armed, and not heard where others change it. fresh says that the
// directory was not heard before.
func (p *publisher) arm(parent notify.Ref, d *disk.Dir, name string, child *disk.Dir, info disk.Info) (ref notify.Ref, fresh bool) {
	if parent != (notify.Ref{}) {
		var err error
		ref, fresh, err = p.Source.Arm(parent, d.FD(), name, child.FD())
		if err == nil && info.MountRoot { // guard: TestArrivedFromElsewhere
			err = notify.Supported(child.FD())
		}
		if err != nil && !errors.Is(err, notify.ErrGone) {
			p.Health.CannotHear(err)
		}
	}
	return ref, fresh
}

// listChanges lists the changes in one directory, for the triggers.
func (p *publisher) listChanges(c *dirChange, path string, stamp mtree.Stamp) {
	if !p.batch.Paths {
		return
	}
	for _, e := range c.entries {
		if e.Name == mtree.MarkerName {
			continue
		}
		name := mtree.JoinPath(path, e.Name)
		if e.Arrived {
			name += "/"
		}
		p.Changes = append(p.Changes, trigger.Change{Path: name, Stamp: stamp})
	}
	if c.self && len(c.entries) == 0 || c.dirty || c.found != nil {
		p.Changes = append(p.Changes, trigger.Change{Path: mtree.DirPath(path), Stamp: stamp})
	}
}
