package publish

import (
	"maps"
	"slices"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/notify"
	"tidemark/pkg/mtree/watch/internal/ownwrites"
)

// A batch is planned before anything of it is stamped: each directory in it is opened and
// looked at, and each changed name. So it is known which directories will be stamped, and that
// can be written down. What happens later has its own event. Nothing is armed for the plan,
// and nothing below directories that arrived is looked at.

// maxHeld is how many directories stay open between plan and stamps. The others are opened
// twice.
const maxHeld = 256

// look plans the directory d and those below it, and adds their lines. It reports whether d
// will be stamped.
func (p *publisher) look(d *disk.Dir, info disk.Info, c *dirChange, path string, at ownwrites.Place) bool {
	n := names{list: make([]string, 0, len(c.below)+len(c.entries))}
	c.plan.info = info
	for _, name := range slices.Sorted(maps.Keys(c.below)) {
		if c.arrives(name) { // guard: TestArrivedWithChangesBelow
			continue // it is stamped with everything below it anyway
		}
		c.plan.order = append(c.plan.order, name)
		if p.lookBelow(d, info, c.below[name], name, mtree.JoinPath(path, name)) {
			n.add(name, true) // guard: TestJournalNamesStampedDirectories
		}
	}
	c.plan.seen = make([]seen, len(c.entries))
	for i, e := range c.entries {
		c.plan.seen[i] = p.lookAt(d, info, e, path, &n)
	}
	if c.dirty {
		n.star() // guard: TestJournalOfUnknownNames
	}
	if c.self {
		p.lookAtSelf(d, info, c, path, &n)
	} else if n.changes && info.MTime != info.CTime && info.CTime.After(p.rule.Floor) && // guard: TestSetAfterTheEvents
		!p.OwnWrites.Shows(info) && !p.Health.DoesNotHold(path) {
		n.set = true // after the events were taken: that of it comes alone, perhaps
	}
	if f := c.found; f != nil && !f.First {
		n.star() // guard: TestJournalOfFindings
		n.below = n.below || f.Below
	}
	if n.set = n.set && n.changes; n.changes {
		p.announce(path, info, at, &n)
	}
	return n.changes
}

// lookAtSelf finds out whose events those of the mode, owner and times of d are. If they are ours,
// c.self is false from then on. If times do not hold, it cannot be known whose event it was, and
// another stamp would cause one more event: an audit finds the next change of such a directory.
//
// Our stamp may have come after what somebody else set, and hide it: d shows what we wrote. Then
// it need not be stamped; but whoever was told of a name in between may not have been meant to see it.
func (p *publisher) lookAtSelf(d *disk.Dir, info disk.Info, c *dirChange, path string, n *names) {
	ours, asked := p.ours[info.Node]
	if !asked { // guard (always): TestOwnEventsOfTwoPlaces
		ours = p.Awaited.Heard(info, c.selves)
		if p.ours == nil {
			p.ours = map[disk.Node]bool{}
		}
		p.ours[info.Node] = ours
	}
	ours = ours && p.batch.Drained // guard (p.batch.Drained -> true): TestOwnEventsAmongOthers
	// Something was made or removed last, or we wrote: else somebody's event became one with ours.
	ours = ours && n.changes && (info.MTime == info.CTime || p.OwnWrites.Shows(info)) // guard (n.changes -> true): TestOwnEventsAmongOthers
	untouched := p.OwnWrites.Untouched(d, info)
	c.self = !ours && !untouched && !p.Health.DoesNotHold(path) // guard (without !p.Health): TestTimeThatDoesNotHold
	n.changes = n.changes || c.self
	n.set = c.self
	if !p.Awaited.TellsOurs() || p.batch.Drained { // guard: TestSetBeforeThePlan
		n.set = !ours && !p.Health.DoesNotHold(path)
	}
}

// lookBelow plans the directory name in d. It reports whether d will be stamped for it.
func (p *publisher) lookBelow(d *disk.Dir, parent disk.Info, c *dirChange, name, path string) bool {
	if p.Health.Exceptions.IsUnread(mtree.ParentPath(path), name) {
		return p.lookAtUnread(d, c, name, path)
	}
	child, info, err := openDir(d, name)
	if err != nil {
		c.plan.err = err
		info, statErr := d.Stat(name)
		if c.plan.fate = closed; disk.IsGone(err) || disk.IsGone(statErr) {
			c.plan.fate = absent
		}
		c.plan.info = info
		return c.plan.fate == closed
	}
	p.noteMount(info, path) // guard: TestMountsThatABatchSaw
	changes := false
	switch c.plan.fate, c.plan.info = nothing, info; {
	case p.passesOver(parent, info, path), child.IsPlaceholder(info):
	case p.isBorder(child, path): // guard: TestBorder
		// Only its entry in d counts, nothing inside.
		if changes = c.self || c.found != nil || c.touches(mtree.MarkerName); changes {
			c.plan.fate, c.plan.value = asEntry, p.rule.Value(info.MTime, info.CTime, p.Clock.Now())
			p.announceBelow(path)
		}
	default:
		c.plan.fate = entered
		changes = p.look(child, info, c, path, ownwrites.PlaceOf(parent, name, info))
		if len(p.held) < maxHeld {
			c.plan.dir, p.held = child, append(p.held, c)
			return changes
		}
	}
	_ = child.Close()
	return changes
}

// openDir opens the directory name in d, and returns fstat of it.
func openDir(d *disk.Dir, name string) (*disk.Dir, disk.Info, error) {
	child, err := d.OpenDir(name)
	if err != nil {
		return nil, disk.Info{}, err
	}
	info, err := child.Self()
	if err != nil {
		_ = child.Close()
		return nil, disk.Info{}, err
	}
	return child, info, nil
}

// lookAtUnread plans a directory that could not be read. Once it can be, everything below it
// counts as arrived. Until then its contents are not published, but its mode and owner are.
func (p *publisher) lookAtUnread(d *disk.Dir, c *dirChange, name, path string) bool {
	c.plan.fate = unread
	if !c.self && !c.retry { // guard (without !c.retry): TestUnreadIsTried
		return false
	}
	if p.canRead(d, name) {
		c.plan.fate = readable
		p.announceBelow(path)
		return true
	}
	return c.self // guard (c.self -> false): TestJournalOfUnread
}

// canRead reports whether the directory name in d, which could not be read, can be now; or
// whether it is gone.
func (p *publisher) canRead(d *disk.Dir, name string) bool {
	child, err := d.OpenDir(name)
	if err == nil {
		err = child.ScanStat(func([]byte, disk.Info) error { return nil })
		_ = child.Close()
	}
	return err == nil || disk.IsGone(err)
}

// lookAt plans one changed name in d.
func (p *publisher) lookAt(d *disk.Dir, self disk.Info, e notify.Entry, path string, n *names) seen {
	// guard (without e.Replaced): TestReplacedInTheEvents
	if e.Replaced || e.Came && p.lately.has(path, e.Name) { // guard: TestReplacedBehindTheEvents
		n.link() // what was written there may have other names in d, at which nothing was heard
	}
	switch {
	case e.Name == mtree.MarkerName:
		if path != "" { // everything below d will count as arrived
			n.changes, n.below = true, true // guard: TestJournalOfBorders
		}
		return seen{}
	case e.Arrived:
		n.add(e.Name, true)
		p.lookForLinks(d, e.Name, n)
		p.announceBelow(mtree.JoinPath(path, e.Name)) // guard: TestJournalOfArrivals
		return seen{}
	case p.Health.Exceptions.IsUnread(path, e.Name): // guard: TestUnreadIsReadAgain
		n.add(e.Name, true)
		p.lookForLinks(d, e.Name, n)
		if !p.canRead(d, e.Name) {
			return seen{fate: unread}
		}
		p.announceBelow(mtree.JoinPath(path, e.Name))
		return seen{fate: readable}
	}
	info, err := d.Stat(e.Name)
	if err != nil && e.Written { // guard: TestLinksThatAreWrittenAndRemoved
		n.link() // as above
	}
	if err != nil {
		n.add(e.Name, false)
		return seen{fate: absent} // or not to be looked at: the name changed
	}
	p.noteMount(info, mtree.JoinPath(path, e.Name)) // guard: TestMountsThatABatchSaw
	isDir := info.Kind == mtree.Dir
	if isDir && e.Written { // guard: TestReplacedBehindTheEvents
		n.link() // as above: a directory got the name
	}
	if isDir && (p.OwnWrites.Shows(info) || p.passesOver(self, info, mtree.JoinPath(path, e.Name))) { // guard (without p.OwnWrites): TestNothingToWriteDown
		return seen{fate: nothing}
	}
	n.add(e.Name, isDir)
	if e.Written && !isDir {
		p.written.add(path, e.Name)
	}
	if !isDir && info.Links > 1 { // guard: TestJournalOfHardLinks
		n.link() // it may have other names in d, at which nothing was heard
	}
	return seen{kind: info.Kind, mtime: info.MTime, ctime: info.CTime}
}

// lookForLinks looks whether a name that a directory had is that of a file by now, which may have
// other names in d.
func (p *publisher) lookForLinks(d *disk.Dir, name string, n *names) {
	if info, err := d.Stat(name); err == nil && info.Kind != mtree.Dir && info.Links > 1 { // guard: TestLinkInThePlaceOfADirectory
		n.link()
	}
}

// release closes the directories that are still open.
func (p *publisher) release() {
	for _, c := range p.held {
		if c.plan.dir != nil {
			_ = c.plan.dir.Close()
		}
	}
}
