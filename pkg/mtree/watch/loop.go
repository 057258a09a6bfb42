package watch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/watch/internal/audit"
	"tidemark/pkg/mtree/watch/internal/stamprule"
	"tidemark/pkg/mtree/watch/internal/trigger"
	"tidemark/pkg/mtree/wire"
)

// settling is the batch that is being gathered.
type settling struct {
	timer *time.Timer // fires when it may have settled; stopped while there is none
	open  bool
	limit time.Time     // when it is published at the latest
	cost  time.Duration // of publishing the last one
}

// patience is how long a batch waits at most where changes never pause: short
// while publishing is cheap, longer as it costs, so that it takes a ninth of
// the time at most, up to the limit that docs/cli.md names.
func (b *settling) patience(settle time.Duration) time.Duration {
	return max(2*settle, min(8*b.cost, settleLimit*settle))
}

// coarseWait is the longest a batch waits for the clock to pass the floor.
const coarseWait = 2 * time.Second

// run is the one goroutine that stamps. Idle, it waits without any timer but
// that of the next audit.
func (w *watcher) run(ctx context.Context) error {
	w.audits.begin(ctx, w)
	err := w.loop(ctx)
	w.audits.end()
	w.hook.Stop()
	if err == nil {
		err = w.finish(ctx)
	}
	_, unprinted := w.printer.Close(trigger.Grace)
	return cmp.Or(err, unprinted)
}

func (w *watcher) loop(ctx context.Context) (err error) {
	var steps <-chan struct{}
	if w.steps != nil {
		steps = w.steps.C
	}
	var mounts <-chan struct{}
	if w.mounts.table != nil {
		mounts = w.mounts.table.C
	}
	for err == nil {
		wake := w.wake
		if w.batch.open {
			wake = nil // the timer asks: an event more costs no wake-up
		}
		select {
		case <-ctx.Done():
			return nil
		case <-wake:
			w.gather()
		case <-w.batch.timer.C:
			err = w.quiet(ctx)
		case findings := <-w.audits.findings:
			err = w.found(ctx, findings)
		case r := <-w.audits.reports:
			err = w.audited(ctx, r)
		case <-w.Audit:
			w.audits.ask(w, w.auditScope("asked for"))
		case <-w.audits.timer.C:
			w.audits.ask(w, w.auditScope("periodic"))
		case <-w.borders.Due():
			err = w.lookAtBorders(ctx)
		case <-w.exceptions.Due():
			err = w.tryUnread(ctx)
		case <-steps:
			err = w.stepped(ctx)
		case <-mounts:
			err = w.remounted(ctx)
		case <-w.hook.Retry():
			w.hook.Next()
		case failed := <-w.hook.Done():
			w.hook.Ended(failed)
		}
	}
	return err
}

// stepped reads the clock that somebody set: back is a loss, at once.
func (w *watcher) stepped(ctx context.Context) error {
	if w.clock.Now(); !w.clock.SetBack() {
		return nil
	}
	return w.settled(ctx)
}

// gather opens a batch.
func (w *watcher) gather() {
	w.batch.open, w.batch.limit = true, time.Now().Add(w.batch.patience(w.Settle))
	w.batch.timer.Reset(w.Settle)
}

// quiet publishes the batch if nothing came since the timer was set, or if it
// has waited long enough.
func (w *watcher) quiet(ctx context.Context) error {
	select {
	case <-w.wake:
		if wait := min(w.Settle, time.Until(w.batch.limit)); wait > 0 {
			w.batch.timer.Reset(wait)
			return nil
		}
	default:
	}
	return w.settled(ctx)
}

// settled takes what was heard and publishes it.
func (w *watcher) settled(ctx context.Context) error {
	w.batch.timer.Stop()
	w.batch.open = false
	if w.clock.Now(); !w.clock.SetBack() { // else the floor is a matter for the audit
		w.pause(ctx)
	}
	began := time.Now()
	defer func() { w.batch.cost = time.Since(began) }()
	read := w.clock.Now()
	if w.clock.SetBack() {
		w.lose("the clock was set back", true)
	}
	w.ownWrites.BeginTake()
	taken := w.source.Take()
	w.Stats.Events.Add(int64(taken.Events))
	if taken.RootGone {
		if err := w.replaced(); err != nil {
			return err
		}
	}
	if taken.Lost != "" {
		w.ownWrites.Lost()
		w.lose(taken.Lost, false)
	}
	if taken.Drained {
		w.ownWrites.Age(read)
	}
	if err := w.lookAtMounts(); err != nil { // behind Take: a --sync covers what was mounted before it
		return err
	}
	b := batch{paths: w.triggered()}
	b.hear(append(w.mounts.everywhere(taken.Dirs), w.mounts.news...), w.exclude.Hides)
	w.mounts.news = nil
	if err := w.marks(taken.Marker, &b); err != nil {
		return err
	}
	if err := w.write(&b); err != nil {
		return err
	}
	if taken.Drained && w.backend != "none" && w.settles() && w.ownWrites.EndTake(w.health.HearsAll()) {
		w.gather() // one more Take
	}
	if taken.Drained && w.sound() {
		w.reach(read)
		w.saveLeft()
	}
	w.noteMounts()
	w.wroteBatch(b.size > 0)
	return nil
}

// found publishes findings of an audit.
func (w *watcher) found(ctx context.Context, findings []audit.Finding) error {
	w.pause(ctx)
	b := batch{paths: w.triggered()}
	b.find(findings)
	if err := w.write(&b); err != nil {
		return err
	}
	w.wroteBatch(true)
	return nil
}

// pause waits until the least new stamp is at most the next granule of the
// clock: a file system that stores whole seconds has one new stamp a second. It
// need not be reached: a stamp is not to equal what the kernel sets (stamprule.Rule.Stamp).
func (w *watcher) pause(ctx context.Context) {
	least := stamprule.Rule{Floor: w.floor, Granule: w.granule}.Least()
	wait := least.Sub(w.Now().Floor(w.granule).Add(w.granule))
	if wait <= 0 {
		return
	}
	timer := time.NewTimer(min(wait, coarseWait))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// write publishes a batch and hands it to the triggers.
func (w *watcher) write(b *batch) error {
	if b.size == 0 {
		return nil
	}
	p := w.publish(b)
	if w.sound() {
		w.saveLeft()
	}
	w.noteBorders()
	if p.failure != nil {
		return exit.With(exit.Local, p.failure, "")
	}
	if p.changed {
		w.Stats.Batches.Add(1)
		w.Stats.Changes.Add(int64(b.size))
		w.Stats.Stamped.Add(int64(p.stamped))
	} else {
		b.size = 0
	}
	return w.trigger(p.changes)
}

// saveLeft notes for the next start what was stamped.
func (w *watcher) saveLeft() {
	if err := w.ownWrites.Save(); err != nil {
		w.Log.Warn("cannot note what was stamped: a restart will stamp it again", "err", err)
	}
}

// reach moves the checkpoint: read was taken before the queue was found empty,
// and all that was in it is published.
func (w *watcher) reach(read mtree.Stamp) {
	at := read.Add(-wire.ClockLag).Floor(w.granule)
	if w.status.Checkpoint == nil || at.After(*w.status.Checkpoint) {
		w.status.Checkpoint = &at
	}
}

// wroteBatch writes the status after a batch that stamped something, so that an
// idle tree sees no writes, and answers those who waited for it.
func (w *watcher) wroteBatch(wrote bool) {
	state := w.state()
	switch {
	case w.status.State != state:
		w.setState(state)
		if !w.audits.running {
			w.schedule(w.audits.last)
		}
	case wrote:
		w.writeStatus()
	}
	if w.health.Mended() {
		w.audits.timer.Reset(auditPace * w.audits.last.Elapsed)
	}
	w.answer()
}

// lose reacts to lost events, or to anything else after which nothing is known:
// an audit, visibly. newEpoch says that readers cannot rely on what they have.
func (w *watcher) lose(why string, newEpoch bool) {
	w.Stats.Losses.Add(1)
	w.logLoss(why)
	g := w.auditScope(why)
	g.loss, g.Slow = true, false
	if newEpoch {
		g.All, g.epochRaised = true, true
		w.clock.Restart()
		w.status.Checkpoint, w.status.Audit, w.audits.swept = nil, nil, nil // they lie ahead now
		w.audits.owed = true                                                // who sees the epoch sees that state, too
		w.status.State = w.state()
		w.writeStatus() // before the epoch: a kill must not leave them
		w.raiseEpoch()
	}
	w.audits.ask(w, g)
	w.setState(w.state())
}

// lossPause is how often a loss is logged at most: a queue that is too small
// overflows a hundred times a second.
const lossPause = time.Second

func (w *watcher) logLoss(why string) {
	w.lossesUntold++
	if time.Since(w.lossTold) < lossPause {
		return
	}
	w.Log.Warn("lost track: auditing the tree", "why", why, "times", w.lossesUntold)
	w.lossTold, w.lossesUntold = time.Now(), 0
}

// raiseEpoch tells readers to compare everything once. Until the first audit of
// all is done there is nothing to compare: its end raises the epoch.
func (w *watcher) raiseEpoch() {
	if w.unstamped {
		return
	}
	w.tree.RaiseEpoch(w.Now())
	_ = w.writeTree()
}

// writeTree writes the tree file. While it cannot, the tree is degraded and the
// checkpoint stays; each audit tries again.
func (w *watcher) writeTree() error {
	if reflect.DeepEqual(w.tree, w.wrote) {
		return nil
	}
	err := w.marker.WriteTree(w.tree)
	if err == nil {
		w.wrote = w.tree
	}
	if !errors.Is(err, fs.ErrNotExist) { // else .tidemark was removed: remark will write it, or tell
		w.health.TreeFile(err)
	}
	return err
}

// finish publishes what is still waiting and writes the last status. Clean says
// that the stamps are on disk, not only in memory.
func (w *watcher) finish(ctx context.Context) error {
	for range 2 { // the second confirms what the first wrote: see ownwrites.Memory
		if err := w.settled(context.WithoutCancel(ctx)); err != nil {
			return err
		}
	}
	flushed := make(chan error, 1)
	go func() { flushed <- w.root.Flush() }()
	timer := time.NewTimer(3 * time.Second)
	defer timer.Stop()
	select {
	case err := <-flushed:
		w.status.Clean = err == nil
	case <-timer.C:
		w.Log.Warn("the disk is too slow to stop cleanly: after a power cut the tree is compared anew")
	}
	if w.status.State = w.state(); w.status.State.Prunes() {
		w.status.State = wire.Audited
	}
	if _, unread, _ := w.exceptions.Counts(); w.StateDir != "" && unread+len(w.exceptions.Refusing()) > 0 {
		_, err := w.exceptions.Save(w.marker, true) // Flush was of another file system, perhaps
		w.status.Clean = w.status.Clean && err == nil
	}
	w.writeStatus()
	return exit.With(exit.Local, w.file.Sync(), "")
}

// once is run for a single audit.
func (w *watcher) once(ctx context.Context) error {
	w.audits.begin(ctx, w)
	defer w.audits.end()
	defer w.hook.Stop()
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("audit: %w", ctx.Err())
		case findings := <-w.audits.findings:
			if err := w.found(ctx, findings); err != nil {
				return err
			}
		case r := <-w.audits.reports:
			if err := w.audited(ctx, r); err != nil {
				return err
			}
			if w.audits.running {
				continue // one more was asked for
			}
			err := errors.Join(w.finish(ctx), w.hook.Wait(ctx), w.printer.CloseAll())
			if trouble := cmp.Or(w.health.Degraded(), w.exceptions.Unpublished()); trouble != "" && err == nil {
				err = exit.With(exit.Failed, errors.New(trouble), "the rest is published")
			}
			return err
		}
	}
}
