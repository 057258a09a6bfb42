package mirror

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tidemark/internal/outlet"
	"tidemark/pkg/mtree/mirror/internal/pass"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/several"
	"tidemark/pkg/mtree/mirror/internal/source"
)

// Run keeps Dest equal to Source until ctx ends, which is no error. If the source is away,
// or answers nonsense, Run asks again with pauses that grow to five minutes; if the disk
// is full, it waits for room. Run ends early where waiting does not help: wrong options, a
// copy that is refused at the start, a root that was replaced. A dry run is one pass, as
// with Once: it changes nothing, so a second pass would show the same.
func Run(ctx context.Context, c Config) error {
	if c.DryRun {
		return Once(ctx, c)
	}
	m, err := open(c)
	if err != nil {
		return err
	}
	defer m.close()
	out := outlet.New(m.config.Out, outBound, 0, lostLines)
	defer func() { _, _ = out.Close(outGrace) }()
	m.config.Out = out
	m.printer = m.config.newPrinter()
	defer func() { _, _ = m.printer.Close(context.Background(), outlet.Grace) }()
	m.config.Ready()
	d := &daemon{mirror: m, expiring: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(ctx)
	defer d.endExpiry()
	defer cancel()
	for ctx.Err() == nil {
		err := d.turn(ctx)
		if errors.Is(err, replica.ErrUnmarked) {
			err = d.reopen()
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	m.replica.StoreConfirmed()
	return nil
}

// The reader of a mirror's output may have stopped reading.
const (
	outBound = 64 << 10 // bytes kept for the reader: some 500 lines
	outGrace = time.Second
)

// lostLines returns the line that replaces n lost lines.
func lostLines(n int, _ []byte) []byte { return fmt.Appendf(nil, "lost %d lines\n", n) }

// turn waits for news of the source, or for the time of a retry or a walk, and runs a
// pass. Its error ends Run.
func (d *daemon) turn(ctx context.Context) error {
	if d.isHookDue() {
		d.runHook(ctx)
	}
	d.expireNowAndThen(ctx)
	a, err := d.await(ctx)
	if err != nil {
		d.lost(ctx, err)
		return d.trouble(ctx, err)
	}
	d.heard(&a)
	if err := d.mirror.lineage.Guard().CheckRing(a.Upstreams); err != nil {
		d.again = true
		return d.trouble(ctx, err)
	}
	if a.Unchanged {
		d.goesOn()
		if gone := d.mirror.replica.StillAt(); errors.Is(gone, replica.ErrUnmarked) { // guard: TestRunMakesItsMarkerAnewWhileIdle
			return gone // copies of the copy would take it for unwatched until the next change
		}
		return nil
	}
	began := time.Now()
	r, err := d.mirror.pass(ctx, a.Root, d.mirror.fullDue())
	if r != nil {
		d.mirror.hook.note(r)
		if !d.begun || r.Changed || r.Held+r.Failed > 0 || err != nil { // guard (without !d.begun): TestTheFirstPassIsTold
			d.mirror.tell(r)
		}
	}
	if err := d.mirror.printer.Err(); err != nil {
		return err
	}
	if gone := d.mirror.replica.StillAt(); errors.Is(gone, replica.ErrUnmarked) {
		d.again = true
		return gone // The marker went while the pass ran. The next pass does at once what failed.
	}
	if err != nil {
		d.again = true
		if r != nil {
			d.runHook(ctx) // guard: TestExecAfterAPassThatFailed
		}
		return d.trouble(ctx, err)
	}
	d.runHook(ctx)
	d.ended(ctx, r, &a.Root, began)
	if d.mirror.several.IsLost() {
		d.again = true // another one may have what is missing
		d.pause(ctx, several.RestartPause)
	}
	return nil
}

// runHook runs the --exec command, if something changed. If it fails, it is tried again after a
// pause, or with the next pass.
func (d *daemon) runHook(ctx context.Context) {
	err := d.mirror.hook.run(ctx, d.mirror.replica)
	if err == nil || ctx.Err() != nil {
		d.hookFails, d.hookAgain = 0, time.Time{}
		return
	}
	pause := min(firstRetry<<min(d.hookFails, 10), longestRetry)
	d.hookFails++
	d.hookAgain = time.Now().Add(pause)
	d.mirror.config.Log.Error("--exec failed: it is run again, with all that it was not told", "in", pause, "error", err,
		"paths", d.mirror.hook.paths.Count(), "remedy", "mend the command")
}

// isHookDue reports whether it is time to try it again.
func (d *daemon) isHookDue() bool { return !d.hookAgain.IsZero() && !time.Now().Before(d.hookAgain) }

// ended notes a pass over root that started at began and ended with r.
func (d *daemon) ended(ctx context.Context, r *pass.Result, root *source.Root, began time.Time) {
	sameStamp := d.begun && d.known.stamp == root.Stamp
	d.goesOn()
	d.begun, d.again = true, r.MadeRoom() || r.Behind
	if d.known = knownOf(root); r.Complete {
		d.known.stamp = r.Root // guard: TestAMirrorWaitsForWhatItsCopyLacks
	}
	d.complete, d.held, d.started = r.Complete, r.Held > 0, began
	d.schedule(r, began)
	d.mirror.config.Notify(statusText(r))
	if sameStamp {
		d.pause(ctx, d.mirror.config.Interval) // if something makes the source report the same again and again
	}
}

// statusText returns the line of status after a pass.
func statusText(r *pass.Result) string {
	switch {
	case r.Held > 0:
		return fmt.Sprintf("%d deletions held: %s", r.Held, r.HeldWhy)
	case !r.Complete:
		return fmt.Sprintf("%d directories incomplete, root %s", r.Incomplete, r.Root)
	}
	return "mirrored up to " + r.Root.String()
}

// reopen opens the copy anew after its .tidemark was deleted: by git clean, or by an
// rsync --delete from elsewhere.
func (d *daemon) reopen() error {
	d.mirror.config.Log.Warn("the copy's .tidemark was removed: it is made anew, and everything compared once",
		"remedy", "keep others from removing it: rsync --delete needs --exclude=.tidemark, git clean -e .tidemark")
	was := d.mirror.replica
	was.Close()
	d.mirror.hook.noted.Store(false)
	if err := d.mirror.openReplica(was); err != nil {
		return err
	}
	if hook := &d.mirror.hook; hook.due {
		hook.changing(d.mirror.replica) // what it was not told is still to be told
	}
	d.mirror.replica.RecallDeletions(was)
	d.begun = false
	return nil
}
