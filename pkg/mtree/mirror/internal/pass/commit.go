package pass

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/mirror/internal/replica"
)

// commitEvery is the time after which a pass commits if it wrote at least one file, so
// that a kill costs little. It also commits after Options.CommitFiles files and directories
// that are complete: each of these takes memory until it is stamped.
const commitEvery = 30 * time.Second

// stopPatience is how long a pass that was stopped stamps directories, and then marks others.
const stopPatience = time.Second

// fewSyncs is the greatest number of files and directories that are flushed one by one:
// syncfs also waits for what other programs wrote.
const fewSyncs = 24

// ErrFlush says that files which were written may not be on disk.
var ErrFlush = errors.New("the flush failed: what was written since the last one is not trusted")

// touch records that something changed in the directory at path, and which files were
// written.
func (p *pass) touch(path string, names ...string) {
	p.changedAny = true
	p.touched = append(p.touched, touch{path, names}) // guard: TestAFailedFlushStampsNothing
	p.written += len(names)
}

// commitInBetween commits what is complete so far, if it is time for that.
func (p *pass) commitInBetween(ctx context.Context) {
	if p.written+len(p.ready) < p.options.CommitFiles && (p.written == 0 || time.Since(p.committed) < commitEvery) {
		return
	}
	if err := p.commit(ctx); err != nil {
		p.halt(err)
	}
	if p.result.filling {
		p.env.Replica.StoreFilled(p.result.Filled)
	}
}

// lastCommit commits at the end of a pass. A pass that was stopped does not wait for a
// long flush: what it wrote is only compared again.
func (p *pass) lastCommit(ctx context.Context) error {
	if ctx.Err() != nil && (p.written > fewSyncs || p.unflushed(p.ready)) {
		for _, n := range p.ready {
			p.markIncomplete(n)
		}
		return nil
	}
	return p.commit(ctx)
}

// commit makes durable what was written and then stamps the directories that are
// complete, children first. File systems with a journal keep the order of these
// changes: if a stamp is on disk, all stamps below it are. After a flush that failed,
// nothing is stamped, nor by a later commit of the pass: steps that were under way may have
// completed a directory in which a file is not trusted. If the pass is stopped, it stamps what
// it can in a moment. System calls:
//
//	syncfs, or fsync of few; then for each: fsetxattr, fchmod if it differs, utimensat
func (p *pass) commit(ctx context.Context) error {
	ready := p.ready
	p.ready, p.written, p.committed = nil, 0, time.Now()
	if p.distrusted { // guard: TestNothingIsStampedAfterAFailedFlush
		for _, n := range ready {
			p.markIncomplete(n)
		}
		return nil
	}
	if err := p.flush(p.unflushed(ready)); err != nil {
		p.distrusted = true
		if index := p.env.Replica.Links; index != nil {
			index.Forget() // guard: TestAFailedFlushForgetsLinks
		}
		p.distrust(ready) // guard: TestAFailedFlushStampsNothing
		for _, n := range ready {
			p.markIncomplete(n)
		}
		return exit.With(exit.Local, fmt.Errorf("%w: %w", ErrFlush, err), "look at the kernel's log, check the disk of DEST")
	}
	if err := p.env.Replica.WriteUnread(); err != nil {
		for _, n := range ready {
			p.markIncomplete(n)
		}
		return err
	}
	p.commitLinks()
	p.announce(ready) // guard: TestTheJournalOfACopy
	for _, n := range ready {
		isBehind := p.behind[n.Path] || p.mayStayBehind(n) // guard (p.behind[n.Path] -> false): TestTheOtherNameFollows
		// guard (without n.blocked): TestADirectoryThatIsGoneBeforeTheFlush
		if n.blocked || isBehind || p.isLate(ctx) { // guard (without p.isLate): TestAStoppedPassStampsForAMoment
			p.markIncomplete(n)
			continue
		}
		if err := p.stamp(n); err != nil {
			p.fail(n, n.Path, replica.Local(err)) // guard: TestADirectoryThatIsGoneBeforeTheFlush
			p.markIncomplete(n)
			continue
		}
		p.countStamped(n)
	}
	return nil
}

// isLate reports whether the pass was stopped stopPatience ago, or earlier.
func (p *pass) isLate(ctx context.Context) bool {
	if ctx.Err() == nil {
		return false
	}
	if p.stopped.IsZero() {
		p.stopped = time.Now()
	}
	return time.Since(p.stopped) > stopPatience
}

// markIncomplete leaves n and all nodes above it without stamps.
func (p *pass) markIncomplete(n *node) {
	for up := n; up != nil; up = up.parent {
		up.blocked = true // guard: TestADirectoryThatIsGoneBeforeTheFlush
	}
	p.incomplete = append(p.incomplete, n)
}

// unflushed reports whether a directory that is to be stamped may have files that an
// earlier mirror wrote: one that was killed flushed nothing. Once everything was flushed,
// only this mirror has written since, and it flushes at the end of each pass.
func (p *pass) unflushed(ready []*node) bool {
	return !p.options.Memory.flushed && slices.ContainsFunc(ready, func(n *node) bool { return n.unflushed && !n.blocked })
}

// flush makes durable everything that was touched; with all, everything there is.
func (p *pass) flush(all bool) error {
	if p.options.NoFlush {
		p.touched = nil
		return nil
	}
	if err := p.env.Replica.Backup.Sync(); err != nil { // guard: TestBackupIsFlushedFirst
		return err
	}
	count := 0
	for i := range p.touched {
		count += 1 + len(p.touched[i].names)
	}
	var err error
	if all || count > fewSyncs { // guard: TestAFailedFlushStampsNothing
		err = p.env.Replica.Flush()
		p.options.Memory.flushed = err == nil
	} else {
		err = p.flushEach()
	}
	if err == nil {
		p.touched = nil
	}
	return err
}

// flushEach flushes the files and directories one by one.
func (p *pass) flushEach() error {
	for _, t := range p.touched {
		dir, err := p.env.Replica.Dir(t.path)
		if disk.IsGone(err) { // guard: TestADirectoryThatIsGoneBeforeTheFlush
			continue // deleted since
		}
		if err != nil {
			return err
		}
		for _, name := range t.names {
			if err = dir.SyncFile(name); err != nil {
				break
			}
		}
		if err == nil {
			err = dir.Sync()
		}
		_ = dir.Close()
		if disk.IsDenied(err) {
			return p.env.Replica.Flush() // a file that its owner may not open
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// distrust lets the next pass fetch again the files written since the last good flush
// (Replica.Doubt). To read them back proves nothing: the page cache may hide what the disk
// lost. So for what earlier mirrors wrote.
func (p *pass) distrust(ready []*node) {
	for _, n := range ready {
		if !n.unflushed || p.options.Memory.flushed {
			continue
		}
		if dir, err := p.env.Replica.Dir(n.Path); err == nil {
			names, _ := dir.Names()
			p.touched = append(p.touched, touch{n.Path, names})
			_ = dir.Close()
		}
	}
	for _, t := range p.touched {
		dir, err := p.env.Replica.Dir(t.path)
		if err != nil {
			continue
		}
		err = p.env.Replica.Doubt(dir, t.path, t.names) // guard: TestAFailedFlushStampsNothing
		_ = dir.Close()
		if err != nil {
			p.env.Log.Warn("files that may not be on disk could not be marked", "path", mtree.QuotePath(t.path), "error", err,
				"remedy", "mirror --verify --repair DEST, once its disk is sound and mounted anew")
		}
	}
	p.touched = nil
}

// stamp completes a directory of the copy. It writes nothing if the directory was
// complete and is unchanged.
func (p *pass) stamp(n *node) error {
	dir, err := p.env.Replica.Dir(n.Path)
	if err != nil {
		return err
	}
	defer dir.Close()
	info, err := dir.Self()
	if err != nil {
		return err
	}
	news := n.Record
	news.Now = n.before.Now
	same := n.had && n.before == news &&
		info.MTime == p.env.Replica.Times.Stored(n.Record.Stamp)
	if !same || n.changed || n.begun || n.proved || n.Record.Now.Before(n.before.Now) { // guard: TestAdoptBySums
		if err := p.env.Replica.Complete(dir, n.Path, n.Record); err != nil {
			return err
		}
	}
	if !n.part && n.now != (mtree.Stamp{}) { // it was compared
		p.env.Wholes.Note(n.Path, n.now, n.Record.Now != n.now) // guard: TestPartsAfterADay
	}
	if err := p.restoreMode(n, dir, info); err != nil {
		return err
	}
	if same {
		p.retain(n)
		return nil
	}
	if err := p.env.Replica.Stamp(dir, n.Path, p.env.Replica.Times.Stored(n.Record.Stamp)); err != nil {
		return err
	}
	p.env.Replica.Remember(n.Path, n.Record.Stamp, n.Fresh)
	return nil
}

// restoreMode gives a directory its listed mode, because it may have been made writable.
func (p *pass) restoreMode(n *node, dir *disk.Dir, info disk.Info) error {
	if !n.hasMode || (info.Mode^n.mode)&0o777 == 0 { // guard (always): TestOnceRestoresReadOnlyDirectories
		return nil
	}
	return dir.ChmodKept(n.mode)
}

// leaveIncomplete marks the directories that stay incomplete.
//
// If something in or below a directory changed, it gets the present time, else a copy of
// this copy would not look there. A directory that could not be listed keeps the doubts
// about what is below it. If a full walk found a directory incomplete that has its stamp
// already, its record says so from now on, else the next pass would take it for complete. So
// does that of a directory that was looked at by a part: the whole listing comes next.
//
// A pass that was stopped marks what it can in a moment. It may be killed here as well as
// anywhere; the rest then stays as it was begun.
func (p *pass) leaveIncomplete(ctx context.Context) {
	began := time.Now()
	for _, n := range p.incomplete {
		if !n.unreadable { // guard (always): TestWhatTheSourceMayNotRead
			p.result.Incomplete++
		}
	}
	for _, n := range p.incomplete {
		if ctx.Err() != nil && time.Since(began) > stopPatience {
			return
		}
		recovered := n.mayBeLost && !n.uncompared && ctx.Err() == nil
		unmarked := n.visited && n.had && n.before.Stamp == n.Record.Stamp
		// guard (without !n.part): TestAPartThatFailsLeavesItsDirectoryBegun
		if !n.changed && !n.part && !unmarked && !recovered && (!n.Doubts.Below() || n.visited) { // guard (without !unmarked): TestAHoldOfAWalkStays
			continue
		}
		if err := p.markUnfinished(n, recovered); err != nil {
			p.env.Log.Warn("an incomplete directory could not be marked", "path", mtree.QuotePath(n.Path), "error", err,
				"remedy", "make room on the file system of DEST, and give mirror the right to write there")
		}
	}
}

// markUnfinished does for one directory what leaveIncomplete says. recovered says that all its
// files were compared in this stay, or written.
func (p *pass) markUnfinished(n *node, recovered bool) error {
	dir, err := p.env.Replica.Dir(n.Path)
	if disk.IsGone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	doubts := n.Doubts
	if !n.changed && n.visited { // guard (always): TestADirectoryDeniedDuringAFullWalk
		doubts &^= replica.DoubtBelow
	}
	if err := p.env.Replica.Begin(dir, n.Path, n.Begun(), doubts); err != nil {
		return err
	}
	if recovered {
		if err := p.env.Replica.Recovered(dir, n.Path); err != nil {
			return err
		}
	}
	if !n.changed {
		return nil
	}
	info, err := dir.Self()
	if err != nil {
		return err
	}
	return errors.Join(p.restoreMode(n, dir, info), p.env.Replica.Stamp(dir, n.Path, p.options.Now()))
}
