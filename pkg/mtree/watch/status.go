package watch

import (
	"fmt"
	"os"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/wire"
)

// state returns the state of the tree to publish now. The very first audit gives
// directories their first stamps: until it is done, no stamp prunes.
func (w *watcher) state() wire.State {
	switch {
	case w.firstAudit:
		return wire.Unwatched
	case w.audits.owed && w.status.State == wire.Degraded:
		return wire.Degraded
	case w.audits.owed:
		return wire.Auditing
	case w.health.Degraded() != "":
		return wire.Degraded
	case !w.hears():
		return wire.Audited
	}
	return wire.Watched
}

// setState changes the published state.
func (w *watcher) setState(s wire.State) {
	w.status.State = s
	w.writeStatus()
	w.Notify(string(s))
}

// makeRoom is what to do about a .tidemark that cannot be written.
const makeRoom = "make room on the disk of .tidemark, and give watch the right to write there: it tries again by itself"

// writeStatus writes status.json: one pwrite.
func (w *watcher) writeStatus() {
	now := w.clock.Now()
	floor := w.floor
	w.status.Floor, w.status.Updated, w.status.Up = &floor, &now, machine.Uptime()
	w.status.Boot, w.status.PID, w.status.Backend = machine.BootID(), os.Getpid(), w.backend
	w.status.Error = w.health.Degraded()
	w.status.Stamps, w.status.Unread, w.status.Exceptions = w.exceptions.Counts()
	w.Stats.note(&w.status)
	if info, err := w.root.Self(); err == nil {
		root := info.MTime
		w.status.Root = &root
		sec, _ := root.Unix()
		w.Stats.RootStamp.Store(sec)
	}
	w.status.Counters = map[string]int64{}
	w.Stats.Each(func(name, _ string, value int64) { w.status.Counters[name] = value })
	err := w.statusFile.Write(w.status)
	if err != nil && !w.statusFails {
		w.Log.Error("cannot write the status: serve does not see changes of state", "error", err, "remedy", makeRoom)
	}
	if w.statusFails = err != nil; w.statusFails {
		w.statusRetry.Reset(statusPause) // guard: TestStatusIsWrittenAgain
	}
}

// toldAnew reports whether .tidemark/stamps and unread have other directories than the
// status says.
func (w *watcher) toldAnew() bool {
	stamps, unread, changes := w.exceptions.Counts()
	s := &w.status
	return stamps != s.Stamps || unread != s.Unread || changes != s.Exceptions
}

// statusPause is between tries to write the status.
const statusPause = time.Second

// auditsDone reports whether no audit runs or is due.
func (w *watcher) auditsDone() bool { return !w.audits.running && !w.audits.owed }

// mountsPublished reports whether all changes that came with mounts are known and
// published.
func (w *watcher) mountsPublished() bool {
	// guard (without len(w.seenMounts)): TestAMountThatPassedABatch
	return w.mounts.Known() && len(w.mountEvents) == 0 && len(w.seenMounts) == 0
}

// canAdvance reports whether a batch moves the checkpoint: everything is heard, read and
// stamped, and no audit runs or is due.
func (w *watcher) canAdvance() bool {
	return w.hears() && w.auditsDone() && w.health.Degraded() == "" && w.mountsPublished()
}

// advanceCheckpoint moves the checkpoint: read was taken before the queue was found
// empty, and everything that was in the queue is published.
func (w *watcher) advanceCheckpoint(read mtree.Stamp) {
	at := read.Add(-wire.ClockLag).Floor(w.granule)
	if w.status.Checkpoint == nil || at.After(*w.status.Checkpoint) {
		w.status.Checkpoint = &at
	}
}

// publishedUntil returns the time up to which everything is published, except
// directories that health knows by path; nil if there is none.
func (w *watcher) publishedUntil() *mtree.Stamp {
	at, swept := w.status.Checkpoint, w.audits.swept
	if at == nil || swept != nil && swept.After(*at) {
		return swept
	}
	return at
}

// saveOwnWrites records our writes for the next start. The first of several failures is logged.
func (w *watcher) saveOwnWrites() {
	tried, err := w.ownWrites.Save()
	if !tried { // guard: TestDiskThatIsFullForManyBatches
		return
	}
	if err != nil && !w.noteFails { // guard (without !w.noteFails): TestDiskThatIsFullForManyBatches
		w.Log.Warn("cannot note what was stamped: a restart will stamp it again", "error", err, "remedy", makeRoom)
	}
	w.noteFails = err != nil
}

// checkRoot returns an error if the root's path names another directory now, or none.
func (w *watcher) checkRoot() error {
	if err := w.root.StillAt(w.Root); err == nil || disk.IsUnsure(err) && !disk.IsUnreadable(err) {
		return nil // nothing is known
	}
	return exit.With(exit.Local, fmt.Errorf("%s was moved, deleted or unmounted", w.Root), "start watch again where it is")
}
