package watch

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/glob"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/notify"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/watch/internal/audit"
	"tidemark/pkg/mtree/watch/internal/health"
	"tidemark/pkg/mtree/watch/internal/identity"
	"tidemark/pkg/mtree/watch/internal/mounts"
	"tidemark/pkg/mtree/watch/internal/ownwrites"
	"tidemark/pkg/mtree/watch/internal/publish"
	"tidemark/pkg/mtree/watch/internal/stamprule"
	"tidemark/pkg/mtree/watch/internal/trigger"
	"tidemark/pkg/mtree/wire"
)

// open takes possession of the tree. It tries again if somebody removes .tidemark
// meanwhile.
func open(c Config, backend string) (w *watcher, err error) {
	c.Backend = backend
	c, exclude, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	for range removalTries {
		if w, err = take(c, exclude); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return w, err
}

// take is one try of open.
func take(c Config, exclude *glob.List) (_ *watcher, err error) {
	w := &watcher{Config: c, exclude: exclude, wake: make(chan struct{}, 1)}
	w.files = notify.NewFiles(w.wake)
	w.hook = trigger.NewHook(c.Exec, c.Log, &c.Stats.HookRuns, &c.Stats.HookErrors)
	w.health = health.NewMonitor(c.Log, &c.Stats.Refused, &c.Stats.Foreign)
	w.exceptions, w.borders = w.health.Exceptions, health.NewBorders(c.Log, &c.Stats.Borders)
	w.clock, w.batch.timer, w.statusRetry = stamprule.NewClock(c.Now), time.NewTimer(time.Hour), time.NewTimer(time.Hour)
	w.batch.timer.Stop()
	w.statusRetry.Stop()
	if w.root, err = identity.OpenRoot(c.Root, c.StateDir, c.CrossMounts); err != nil {
		return nil, err
	}
	var id identity.Identity
	w.health.Shows = func(path string, node disk.Node) bool {
		if path == "" {
			return false
		}
		is, err := w.root.StatPath(path, c.CrossMounts)
		return err == nil && is.Node == node
	}
	if w.marker, w.lock, id, err = identity.Claim(c.identity(), w.root); err == nil {
		err = w.begin(id)
	}
	if err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

// begin publishes that a watcher runs here, and in which state.
func (w *watcher) begin(id identity.Identity) (err error) {
	if w.inode, err = w.root.Self(); err != nil {
		return exit.With(exit.Local, err, "")
	}
	if w.granule, err = w.marker.Granule(); err != nil {
		return exit.With(exit.Local, err, "")
	}
	now := w.clock.Now()
	known, err := w.openFiles()
	if err != nil {
		return exit.With(exit.Local, err, "")
	}
	id.First = id.First || id.Tree.Epoch == 0 && !id.Doubt // the first audit was never finished
	doubts := id.Doubts(now)
	w.resume(id, now)
	if lost := w.loadExceptions(&id); doubts == "" {
		doubts = lost // none on the first run
	}
	w.aboveEarlier(id)
	w.audits.next = w.scopeAtStart(id, doubts, now)
	if doubts == "" && !id.First {
		w.ownWrites = ownwrites.New(w.ownWritesLog, known, now)
		w.status.Checkpoint, w.status.Audit = id.Status.Checkpoint, id.Status.Audit
	} else {
		w.ownWrites = ownwrites.New(w.ownWritesLog, nil, now)
	}
	w.ownWrites.Device = w.inode.Node.Dev
	w.followMounts(id)
	w.tree.BeginRun(id.LastFloor(w.inode.MTime, now))
	if err := w.listen(); err != nil { // first: a start that fails here must not raise the epoch
		return err
	}
	w.hearFiles()
	if w.unfollowed != nil && w.hears() {
		w.stampAll(w.unfollowed) // without events only audits publish, and they see what is mounted
	}
	w.published = &publish.Tree{
		Root: w.root, Source: w.source, Hears: w.hears(), Exclude: w.exclude, CrossMounts: w.CrossMounts,
		Clock: &w.clock, SetTime: w.setTime,
		OwnWrites: w.ownWrites, Health: w.health, Borders: w.borders, SaveExceptions: w.saveExceptions,
	}
	if err := w.declare(doubts, id.EpochBegins(now, machine.Uptime())); err != nil {
		return err
	}
	w.armMarker()
	if w.steps, err = machine.NewClockSteps(); err != nil {
		w.Log.Info("a clock that is set back is noticed at the next change only", "error", err, "remedy", "none is needed where the clock is kept by NTP")
	}
	if id.First {
		sleep(wire.ClockLag) // once readers rely on us, no later ctime may lie before our reading of the clock
	} else if w.CrossMounts && (id.Status.CrossMounts == nil || !*id.Status.CrossMounts) {
		sleep(state.StatusLag) // serve must not refuse the mounts any more when their parents get new stamps
	}
	w.setState(w.state())
	w.Ready()
	return nil
}

// resume takes over what earlier runs recorded.
func (w *watcher) resume(id identity.Identity, now mtree.Stamp) {
	w.tree, w.floor, w.firstAudit = id.Tree, mtree.Later(now, w.inode.MTime), id.First
	if id.Status.Floor != nil {
		w.floor = mtree.Later(w.floor, *id.Status.Floor)
	}
	if w.firstAudit {
		w.tree.Epoch = 0 // until the first audit is done
	} else {
		w.status.Entries = id.Status.Entries // until the next audit counts
	}
	w.earlier = map[string]bool{}
	for _, path := range id.Tree.Borders {
		w.earlier[path] = true // as an earlier version wrote it
		if path, err := mtree.UnescapeName(path); err == nil {
			w.earlier[path] = true
		}
	}
	w.audits.owed = true
	if w.status.State = w.state(); id.Status.State == wire.Degraded && !w.firstAudit {
		w.status.State = wire.Degraded // until an audit ends it
	}
	w.status.CrossMounts, w.status.Mounted = &w.CrossMounts, id.Mounted
}

// scopeAtStart returns the request for the start audit.
func (w *watcher) scopeAtStart(id identity.Identity, doubts string, now mtree.Stamp) *auditRequest {
	r := &auditRequest{reason: atStart, loss: true, epochRaised: doubts != ""}
	r.raiseAgain = doubts != "" && w.mayShowMore(id, now)
	w.farBack = false
	r.Scope = audit.Scope{First: id.First, All: doubts != "", Since: now, Before: now}
	if was := id.Tree.Options; !id.First && doubts == "" && was != w.options() {
		w.Log.Info("other options than before: every directory is stamped anew", "before", was, "now", w.options(), "remedy", "none is needed: mirrors look at everything once")
		r.All = true // changes that the old options left out were not published
	}
	if !id.First && doubts == "" {
		r.Since = id.Status.Checkpoint.Add(-stamprule.LookBack)
		r.Before = *id.Status.Checkpoint
		if id.Status.Audit != nil {
			r.Before = *id.Status.Audit
		}
	}
	return r
}

// followMounts begins to follow the mounts. Where something else is mounted now than the
// last run recorded, or nothing, everything below counts as arrived.
func (w *watcher) followMounts(id identity.Identity) {
	var err error
	if w.mounts, err = mounts.Follow(w.root, w.CrossMounts, w.hides); err != nil && w.mounts.Follows() {
		w.stampAll(err)
		return
	} else if err != nil {
		w.unfollowed = fmt.Errorf("what is mounted below the root may come and go unheard: %w", err)
	}
	if id.First {
		return // everything is stamped anyway
	}
	for _, path := range w.mounts.Since(id.Tree.Mounts) {
		w.earlier[path] = true
		w.missedMounts = append(w.missedMounts, audit.Finding{Path: mtree.ParentPath(path)})
	}
}

// stampAll makes the start audit stamp everything, where mounts may have come or gone unheard.
func (w *watcher) stampAll(err error) {
	w.Log.Warn("cannot tell which mounts came or went below the root: every directory is stamped anew", "error", err,
		"remedy", "none is needed: mirrors look at everything once")
	w.audits.next.All = true
}

// declare writes that this watcher keeps the tree, and in which epoch. The status is
// written first, and flushed; began is the time of a new one. Otherwise, if continuity is in doubt, a kill or a power cut
// could leave an old checkpoint that seems valid with the new tree file.
func (w *watcher) declare(doubts string, began mtree.Stamp) error {
	w.began = began
	if _, err := w.exceptions.Save(w.marker, false); err != nil {
		return exit.With(exit.Local, err, "")
	}
	w.writeStatus()
	if err := w.statusFile.Sync(); err != nil {
		return exit.With(exit.Local, err, "")
	}
	if doubts != "" {
		w.Log.Warn("continuity cannot be proved: every directory is stamped anew and readers compare everything once", "why", doubts,
			"remedy", "none is needed: it takes time, and nothing is lost")
		w.tree.RaiseEpoch(began)
	}
	if err := w.marker.WriteTree(w.tree); errors.Is(err, state.ErrInTheWay) {
		return exit.With(exit.Local, err, "")
	} else if err != nil {
		return exit.With(exit.Local, err, "the root must be writable for .tidemark, or use --state-dir DIR")
	}
	w.writtenTree = w.tree
	w.dropCopy()
	return nil
}

// dropCopy removes the traces of a mirror: the record of the root and, with --state-dir, the
// tree file in the root's own .tidemark. What the status there says is taken back first.
func (w *watcher) dropCopy() {
	if err := records.Drop(w.root); err != nil {
		w.Log.Info("the root keeps the record of a copy", "error", err,
			"remedy", "none is needed: nobody reads it at a source")
	}
	if w.StateDir == "" {
		return
	}
	own, err := state.OpenMarker(w.root, "")
	if err != nil {
		return // it has none
	}
	defer own.Close()
	w.takeBackStatus(own) // guard: TestStartElsewhere
	if t, err := own.ReadTree(); errors.Is(err, state.ErrNoTree) || t.Role == state.Copy {
		if err := own.WriteTree(w.tree); err != nil {
			w.Log.Warn("the root's own .tidemark still says that it is a copy: --promote is needed at each start", "error", err,
				"remedy", "give watch the right to write there, or remove it: rm -r .tidemark in the root")
		}
	}
}

// takeBackStatus makes the root's own status that of a tree that is not watched. It is what an
// earlier watch or mirror left, and with --state-dir nobody keeps it up to date: a serve without
// that option would go by it. Cost: a read; the first time also openat, pwrite and fsync.
func (w *watcher) takeBackStatus(own *state.Marker) {
	status, err := own.ReadStatus()
	if errors.Is(err, fs.ErrNotExist) || err == nil && status.State == wire.Unwatched && status.Checkpoint == nil {
		return
	}
	if disk.IsUnsure(err) {
		w.Log.Warn("cannot read the status in the root's own .tidemark: a serve without --state-dir may go by it", "error", err,
			"remedy", "give serve the same --state-dir")
		return
	}
	status.State, status.Checkpoint, status.Audit, status.Entries, status.Clean = wire.Unwatched, nil, nil, nil, false
	f, err := own.CreateStatus()
	if err == nil {
		err = errors.Join(f.Write(status), f.Sync(), f.Close())
	}
	if err != nil {
		w.Log.Warn("the root's own .tidemark still says that an earlier watch keeps the stamps", "error", err,
			"remedy", "give serve the same --state-dir, or remove that .tidemark")
	}
}

// close releases everything that open took. It is safe after a failed open.
func (w *watcher) close() error {
	var errs []error
	if w.source != nil {
		errs = append(errs, w.source.Close())
	}
	if w.steps != nil {
		errs = append(errs, w.steps.Close())
	}
	if w.mounts != nil {
		errs = append(errs, w.mounts.Close())
	}
	errs = append(errs, w.files.Close())
	errs = append(errs, w.names.writer.Close())
	if w.ownWritesLog != nil {
		errs = append(errs, w.ownWritesLog.Close())
	}
	if w.statusFile != nil {
		errs = append(errs, w.statusFile.Close())
	}
	if w.lock != nil {
		errs = append(errs, w.lock.Unlock())
	}
	if w.marker != nil {
		errs = append(errs, w.marker.Close())
	}
	return errors.Join(append(errs, w.root.Close())...)
}
