package watch

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/notify"
	"tidemark/pkg/mtree/watch/internal/audit"
	"tidemark/pkg/mtree/watch/internal/publish"
	"tidemark/pkg/mtree/watch/internal/trigger"
)

// coarseWait is the longest a batch waits for the clock to pass the floor.
const coarseWait = 2 * time.Second

// openBatch begins to gather a batch.
func (w *watcher) openBatch() {
	w.batch.open, w.batch.limit = true, time.Now().Add(w.batch.patience(w.Settle))
	w.batch.timer.Reset(w.Settle)
}

// heard begins a batch with what was heard. After a quiet moment the batch need not settle if
// all of it is complete by itself: what comes then is a batch of its own. While an audit runs
// nothing is quiet: its findings are batches, too.
func (w *watcher) heard(ctx context.Context) error {
	w.openBatch()
	// guard (without w.audits.running): TestBurstsAreGathered
	if w.audits.running || !w.batch.isQuiet(w.Settle) { // guard (without !w.batch): TestBurstsAreGathered
		return nil
	}
	return w.look(ctx)
}

// look publishes the batch if all of it is complete by itself.
func (w *watcher) look(ctx context.Context) error {
	if w.isComplete() {
		return w.publishEvents(ctx)
	}
	w.batch.timer.Reset(w.batch.nextLook(w.Settle))
	return nil
}

// maxMade bounds how many names are looked at to see what was made.
const maxMade = 8

// isComplete reports whether no change that waits is half done: no file was made or written
// and is still open, as far as the events say. What was made and not written may be a link: a
// symlink, a device, a file that has other names.
func (w *watcher) isComplete() bool {
	waiting := w.source.Waiting()
	if waiting.Open || len(waiting.Made) > maxMade {
		return false
	}
	for _, path := range waiting.Made {
		info, err := w.root.StatPath(path, w.CrossMounts)
		if err != nil || info.Kind == mtree.File && info.Links == 1 { // guard: TestWhatIsOpenSettles
			return false
		}
	}
	return true
}

// settle publishes the batch if nothing came since its timer was set, or if it has waited
// long enough.
func (w *watcher) settle(ctx context.Context) error {
	if w.batch.looks > 0 {
		return w.look(ctx)
	}
	select {
	case <-w.wake:
		if wait := min(w.Settle, time.Until(w.batch.limit)); wait > 0 {
			w.batch.timer.Reset(wait)
			return nil
		}
	default:
	}
	return w.publishEvents(ctx)
}

// publishEvents takes the events so far and publishes the changes.
func (w *watcher) publishEvents(ctx context.Context) error {
	w.batch.timer.Stop()
	w.batch.open, w.batch.looks = false, 0
	w.lookAtClock()
	if w.clock.Now(); !w.clockSetBack() { // if it was set back, the audit sets the floor
		w.waitForClock(ctx)
	}
	began := time.Now()
	defer func() { w.batch.cost = time.Since(began) }()
	read := w.clock.Now()
	events, err := w.take(read)
	if err != nil {
		return err
	}
	if renames(&events) { // guard: TestMountsThatMove
		w.mounts.Moved()
	}
	if err := w.checkMounts(); err != nil { // after Take: --sync covers mounts made before it
		return err
	}
	files, drained := w.heardFiles()
	events.Drained = events.Drained && drained // guard (without drained): TestMoreOfFilesByThemselves
	b := w.newBatch()
	b.Drained = events.Drained
	b.AddEvents(append(w.mounts.Everywhere(append(events.Dirs, files...)), w.mountEvents...), w.exclude.Hides)
	w.mountEvents = nil
	w.arriveAgain(&events, b)
	if err := w.handleMarker(events.Marker, b); err != nil {
		return err
	}
	if err := w.write(b); err != nil {
		return err
	}
	if events.Drained && w.hears() && w.auditsDone() && w.ownWrites.EndTake(w.health.HearsAll()) {
		w.openBatch() // one more Take
	}
	if events.Drained && w.canAdvance() {
		w.advanceCheckpoint(read)
		w.saveOwnWrites()
	}
	w.recordMounts()
	w.endBatch(b.Size > 0)
	w.auditForCookies()
	return nil
}

// arriveAgain adds the directories that earlier batches began to hear, if a directory was moved
// meanwhile to where nothing was heard. It may have been in one of them before that was heard,
// have shown the stamp that it was given in the same batch, and have left again: what is at
// its place then was given the same stamp.
func (w *watcher) arriveAgain(events *notify.Events, b *publish.Batch) {
	if !events.Drained {
		return
	}
	if events.Strayed || events.Lost != "" { // guard (without events.Strayed): TestMovedThroughWhatArrives
		for _, path := range w.fresh {
			b.AddArrival(path)
		}
	}
	w.fresh = nil
}

// take takes the events so far and reacts to losses; read is a clock reading taken just
// before.
func (w *watcher) take(read mtree.Stamp) (notify.Events, error) {
	if w.clockSetBack() {
		w.lose("the clock was set back", true)
	}
	w.ownWrites.BeginTake()
	events := w.source.Take()
	w.Stats.Events.Add(int64(events.Count))
	if events.RootGone {
		if err := w.checkRoot(); err != nil {
			return events, err
		}
	}
	if events.Lost != "" {
		w.ownWrites.Lost()
		w.published.Awaited.Clear() // guard: TestOwnEventsAfterALoss
		w.lose(events.Lost, false)
	}
	if events.Drained {
		w.ownWrites.Age(read)
		w.takeFound()
	}
	return events, nil
}

// renames reports whether directories may have been renamed. What was lost an audit makes up for,
// and each audit reads the mounts anew.
func renames(events *notify.Events) bool {
	moved := func(e notify.Entry) bool { return e.Moved }
	return events.Strayed || slices.ContainsFunc(events.Dirs, func(d *notify.DirEvents) bool { // guard (without events.Strayed): TestMountsThatMove
		return slices.ContainsFunc(d.Entries, moved)
	})
}

// handleMarker looks after .tidemark: it puts it back if it was removed, and records new
// cookies. names are the names that came or went in it.
func (w *watcher) handleMarker(names []string, b *publish.Batch) error {
	ours := b.TouchesMarker()
	for _, name := range names {
		if !strings.HasPrefix(name, cookiePrefix) {
			ours = ours || !strings.HasPrefix(name, answerPrefix)
			continue
		}
		w.addCookie(name)
	}
	if !ours {
		return nil
	}
	if err := w.restoreMarker(); err != nil {
		return cmp.Or(w.checkRoot(), err) // the root went with it
	}
	return nil
}

// auditForCookies asks for the audit that cookies wait for: where not every directory is heard,
// their batch lacks what nobody heard. It is called once a batch is done.
func (w *watcher) auditForCookies() {
	waits := func(name string) bool { return !slices.Contains(w.audits.cookies, name) }
	if !w.hearsAll() && w.audits.next == nil && w.audits.ctx.Err() == nil && slices.ContainsFunc(w.cookies, waits) { // guard: TestSyncWhileDeaf, TestCookiesWhileDeaf
		w.requestAudit(w.auditScope("sync"))
	}
}

// publishFindings publishes findings of an audit.
func (w *watcher) publishFindings(ctx context.Context, findings []audit.Finding) error {
	w.lookAtClock()
	w.waitForClock(ctx)
	b := w.newBatch()
	b.AddFindings(findings)
	if err := w.write(b); err != nil {
		return err
	}
	w.endBatch(true)
	return nil
}

// waitForClock waits until the least new stamp is at most the next granule of the clock:
// a file system that stores whole seconds has one new stamp a second. It need not wait
// longer, because a stamp must not equal the time that the kernel sets
// (stamprule.Rule.Stamp).
func (w *watcher) waitForClock(ctx context.Context) {
	wait := w.rule().Least().Sub(w.Now().Floor(w.granule).Add(w.granule))
	if wait <= 0 {
		return
	}
	machine.Sleep(ctx, min(wait, coarseWait))
}

// write publishes a batch and hands it to the triggers. If the batch stamped nothing, its
// Size is 0 afterwards.
func (w *watcher) write(b *publish.Batch) error {
	if b.Size == 0 {
		return nil
	}
	r, err := w.publish(b)
	if w.canAdvance() {
		w.saveOwnWrites()
	}
	w.recordBorders()
	if err != nil {
		return exit.With(exit.Local, err, "")
	}
	if r.Changed {
		w.Stats.Batches.Add(1)
		w.Stats.Changes.Add(int64(b.Size))
		w.Stats.Stamped.Add(int64(r.Stamped))
	} else {
		b.Size = 0
	}
	return w.trigger(r.Changes)
}

// publish stamps a batch and moves the floor.
func (w *watcher) publish(b *publish.Batch) (publish.Result, error) {
	r, err := w.published.Publish(b, w.rule(), w.publishedUntil())
	if err != nil {
		return r, err
	}
	w.floor = mtree.Later(w.floor, r.Top)
	w.fresh = append(w.fresh, r.Fresh...)
	w.noteMounts(r.Mounts)
	w.exceptions.DropReadable()
	w.saveExceptions()
	return r, nil
}

// trigger hands the changes of a published batch to --print and --exec.
func (w *watcher) trigger(changes []trigger.Change) error {
	if len(changes) == 0 {
		return nil
	}
	if err := w.printer.Print(changes); err != nil {
		return err
	}
	w.hook.Add(changes)
	return nil
}

// endBatch writes the status after a batch that stamped something, or changed what is told
// apart, so that an idle tree sees no writes. It answers the cookies that waited for the
// batch.
func (w *watcher) endBatch(wrote bool) {
	if wrote {
		w.batch.ended = time.Now()
	}
	state := w.state()
	switch {
	case w.status.State != state:
		w.setState(state)
		if !w.audits.running {
			w.scheduleAudit(w.audits.last)
		}
	case wrote || w.toldAnew(): // guard (without w.toldAnew()): TestWhatWasUnreadIsGone
		w.writeStatus()
	}
	if w.health.Mended() {
		w.audits.timer.Reset(auditPace * w.audits.last.Took())
	}
	w.answerCookies()
}
