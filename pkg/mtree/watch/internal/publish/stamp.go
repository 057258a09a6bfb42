package publish

import (
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/filetime"
	"tidemark/pkg/mtree/internal/journal"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/watch/internal/audit"
	"tidemark/pkg/mtree/watch/internal/health"
	"tidemark/pkg/mtree/watch/internal/ownwrites"
	"tidemark/pkg/mtree/watch/internal/stamprule"
	"tidemark/pkg/mtree/watch/internal/trigger"
	"tidemark/pkg/mtree/wire"
)

// publisher writes the stamps of one batch: deepest first, the root last. It goes down
// from the root by descriptor and single names, follows nothing, and stamps each
// directory on its way up. So at most as many directories are open as the tree is deep.
//
// A directory that is no longer where the batch says is left out. Its rename or removal
// has its own event, which is still to come, and which stamps everything concerned.
type publisher struct {
	*Tree
	Result
	rule  stamprule.Rule
	until *mtree.Stamp // everything up to it is published; nil: unknown
	batch *Batch

	lines     []journal.Line       // of the journal, not written yet
	announced map[string]announced // by path: the directories that have lines
	held      []*dirChange         // those whose directories stay open
	written   lately               // the names of files that were written
	ours      map[disk.Node]bool   // whether the own events of a directory are ours: mounts may show it twice
}

// write gives d its stamp: top, or more if d already shows that much. A directory that
// refuses its stamp counts as stamped, so that the floor and the stamps above it move on.
// since is health.Exceptions.Placed before anything below d was stamped. came is the latest
// time that another directory may have shown under its name; see Finding.
// System calls:
//
//	fstat, utimensat, fstat
//
// It may be written several times: see give.
func (p *publisher) write(d *disk.Dir, path string, at ownwrites.Place, top mtree.Stamp, f *audit.Finding, came mtree.Stamp, since int64) mtree.Stamp {
	if !p.Health.Exceptions.Saved(since) { // guard: TestToldBeforeWhatIsAbove
		p.SaveExceptions()
	}
	p.check(path)
	p.OwnWrites.Lock()
	defer p.OwnWrites.Unlock()
	p.Changed = true
	before, err := d.Self()
	if err != nil {
		p.Health.Overflow(err)
		return top
	}
	stamp := p.rule.Stamp(top, p.Clock.Now(), before.MTime, before.CTime, came)
	stamp, after, err := p.give(d, path, before, stamp)
	p.Top = mtree.Later(p.Top, stamp) // guard: TestRunsOfWatch
	p.gave(path, at, before, stamp, err)
	if err != nil {
		p.Health.Refuse(path, before.Node, stamp, err) // guard: TestARefusalEndsWhileNobodyWatches
		return stamp
	}
	p.remember(path, at, stamp, before, after, f)
	return stamp
}

// giveTries is how often a stamp is raised at most: for each granule once, and once for the ctime.
const giveTries = 10

// give gives d a stamp, and returns the one that it has then, with d's attributes after that. It
// may have to be more.
//
// What is mounted below the root may store coarser steps than the root's file system does. It
// rounds a stamp down, perhaps to one that d showed before. Then d gets one of its own steps more.
//
// A stamp that equals the ctime which writing it leaves is written again, one step
// more. A create or delete in the same tick shows the same, so the stamp could not be
// remembered as ours, and an audit could not tell our write from theirs.
//
// Two stamps count as not held: one beyond what the file system can count, which would be shown as
// its last time, each time; and one on a coarser file system whose ctime follows the mtime, as that
// of FAT does, for nobody could tell such a write from others. Then the stamp is the first one.
func (p *publisher) give(d *disk.Dir, path string, before disk.Info, stamp mtree.Stamp) (mtree.Stamp, disk.Info, error) {
	first, step, raised := stamp, p.rule.Granule, 0
	for range giveTries {
		after, err := p.set(d, path, before, stamp)
		if err != nil {
			return stamp, after, err
		}
		granule, counted := filetime.GranuleOf(stamp, after.MTime)
		switch {
		case !counted: // guard: TestStampsBeyondTheEnd
			return first, after, health.ErrNotHeld
		case after.MTime != stamp: // guard: TestStampsOnACoarserFileSystem
			step = granule
			stamp = after.MTime.Add(step)
		case after.CTime == stamp && raised < 2: // guard: TestStampedInTheTickOfTheChange
			stamp, raised = stamp.Add(step), raised+1
		case after.CTime == stamp && step != p.rule.Granule: // guard: TestStampsThatTheCTimeFollows
			return first, after, health.ErrNotHeld
		default:
			return stamp, after, nil
		}
	}
	return first, before, health.ErrNotHeld
}

// holdTries is how often a time is set before it counts as not held. Somebody may change
// the directory just after us, but not each time.
const holdTries = 10

// set sets d's time and returns d's attributes after that. A time that does not hold counts
// as refused: some file systems take no times and report success. One that is rounded down, or
// beyond what the file system can count, is left as it is: see give.
// before is what it showed.
func (p *publisher) set(d *disk.Dir, path string, before disk.Info, stamp mtree.Stamp) (after disk.Info, err error) {
	for range holdTries {
		if err = p.SetTime(d, stamp); err != nil {
			return after, err
		}
		heard := p.Source.Wrote()
		if after, err = d.Self(); err == nil && heard && p.Hears {
			p.Awaited.Add(p.OwnWrites, before, after, path == "" || after.MountRoot)
		}
		if err != nil || filetime.SameStored(after.MTime, stamp) { // guard (always): TestTimeThatDoesNotHold
			return after, err
		}
	}
	return after, health.ErrNotHeld
}

// remember records the result of a write, so that its event is known as ours. If somebody
// changed the directory between the two fstat, or its mode since the batch was planned,
// nothing is recorded and the event counts as theirs. Nor is a stamp recorded that equals the
// ctime.
func (p *publisher) remember(path string, at ownwrites.Place, stamp mtree.Stamp, before, after disk.Info, f *audit.Finding) {
	p.Stamped++
	p.Health.Accept(path) // guard: TestARefusalEndsWhileNobodyWatches
	if after.MTime == stamp && after.MTime != after.CTime && after.Mode == before.Mode && after.UID == before.UID && after.GID == before.GID &&
		!p.announced[path].isSetSince(before) { // guard: TestSetSinceThePlan
		p.OwnWrites.Put(after, at, p.proofOf(before, at, f), p.Hears)
	}
}

// proofOf returns how far a write proves that its directory did not arrive: see
// ownwrites.Memory. shows are the attributes that it overwrites. f is the finding that
// led to the write, if any.
func (p *publisher) proofOf(shows disk.Info, at ownwrites.Place, f *audit.Finding) ownwrites.Proof {
	if have := p.OwnWrites.ProofOf(shows, at); have != ownwrites.Unproven { // guard: TestProofOfAWrite
		return have
	}
	if p.until != nil && shows.CTime.Before(p.until.Add(-stamprule.LookBack)) { // guard (without shows.CTime): TestProofOfAWrite
		return ownwrites.Proven
	}
	if f != nil && f.Judged == shows.CTime { // guard (without f.Judged): TestProofOfAWrite
		return ownwrites.Judged
	}
	return ownwrites.Unproven
}

// stampFirst gives a directory its stamp on the very first run: the greatest mtime at or
// below it. If the directory changed since the scan, the event of that change is on its
// way, and nothing is written.
func (p *publisher) stampFirst(d *disk.Dir, path string, at ownwrites.Place, f *audit.Finding) {
	if p.batch.Paths {
		p.Changes = append(p.Changes, trigger.Change{Path: mtree.DirPath(path), Stamp: f.Value})
	}
	p.OwnWrites.Lock()
	defer p.OwnWrites.Unlock()
	before, err := d.Self()
	if err != nil || before.MTime != f.Showed || p.OwnWrites.Has(before) { // guard (without p.OwnWrites): TestFirstAuditKeepsStamps
		return // changed since, or stamped by a batch
	}
	p.Top = mtree.Later(p.Top, f.Value)
	if before.MTime == f.Value {
		now := p.Clock.Now()
		past := before.CTime.Add(p.rule.Granule + wire.ClockLag).Before(now)                        // else a later change may show the same ctime
		if past && before.CTime == f.Judged && before.CTime.After(now.Add(-2*stamprule.LookBack)) { // guard: TestConfirmedBeforeIdle
			p.OwnWrites.Put(before, at, ownwrites.Judged, p.Hears) // as good as written: the next start need not take it for arrived
		}
		return
	}
	p.Changed = true
	after, err := p.set(d, path, before, f.Value)
	if err != nil {
		p.Health.Refuse(path, before.Node, f.Value, err) // guard: TestReadOnlyStart
		return
	}
	p.remember(path, at, f.Value, before, after, f)
}

// showPublished gives a directory that refused its time its published stamp, if the
// directory takes it now. For readers nothing changes. If it is rounded down, the directory stays
// one that refuses: our write is taken for somebody else's, which leads to a stamp that holds.
func (p *publisher) showPublished(d *disk.Dir, path string, at ownwrites.Place) {
	p.OwnWrites.Lock()
	defer p.OwnWrites.Unlock()
	before, err := d.Self()
	if err != nil {
		return
	}
	stamp, ok := p.Health.Exceptions.StampOf(path, before.Node.Ino)
	if !ok {
		p.Health.Accept(path) // another directory has this name now
		return
	}
	if after, err := p.set(d, path, before, stamp); err == nil && after.MTime == stamp { // guard (without after.MTime): TestShowPublished
		p.remember(path, at, stamp, before, after, nil)
	}
}

// passesOver reports whether another file system begins at child, which is then neither
// watched nor written, and remembers the directory.
func (p *publisher) passesOver(parent, child disk.Info, path string) bool {
	if p.CrossMounts || !disk.IsBorder(parent, child) { // guard (always): TestSubvolumeBelow
		return false
	}
	p.Health.PassOver(path)
	return true
}

// noteMount notes that something is mounted at path, if so. It may have come after the mounts were looked
// at, and be gone before the next look.
func (p *publisher) noteMount(info disk.Info, path string) {
	if info.MountRoot {
		p.Mounts = append(p.Mounts, path)
	}
}

// isBorder reports whether another watch or mirror runs in d, and remembers it.
func (p *publisher) isBorder(d *disk.Dir, path string) bool {
	if !state.IsLiveTree(d) {
		return false
	}
	p.Borders.Add(path) // guard: TestBorder
	return true
}
