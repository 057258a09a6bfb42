package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"tidemark/internal/outlet"
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/mirror/internal/pass"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/mirror/internal/source/remote"
	"tidemark/pkg/mtree/wire"
)

// Patience of a running mirror.
const (
	pollWait    = wire.MaxWait // how long a source is asked to hold a poll
	releaseLook = time.Second  // how often to look for a release while deletions are held, and for other credentials
	stateLook   = time.Second  // where stamps do not prune: least time between looks whether they do

	defaultServeLook = time.Minute // at other web servers: between looks whether serve answers by now
)

// Run keeps Dest equal to Source until ctx ends, which is no error. A source
// that is away, or answers nonsense, is asked again with pauses that grow to
// five minutes; a full disk is waited for. It ends early where waiting does not
// help: wrong options, a copy that is refused at the start, a root that was
// replaced. A dry run is one pass, as Once: nothing changes that a second could
// show.
func Run(ctx context.Context, c Config) error {
	if c.DryRun {
		return Once(ctx, c)
	}
	m, err := open(c)
	if err != nil {
		return err
	}
	defer func() { m.close() }()
	out := outlet.New(m.config.Out, outBound, 0, lostLines)
	defer func() { _, _ = out.Close(outGrace) }()
	m.config.Out = out
	m.config.Ready()
	d := &daemon{mirror: m}
	for ctx.Err() == nil {
		err := d.turn(ctx)
		if errors.Is(err, replica.ErrUnmarked) {
			err = d.reopen()
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	d.dest.StoreConfirmed()
	return nil
}

// A reader of a running mirror's lines may have stopped to read.
const (
	outBound = 64 << 10 // bytes that are kept for him: some 500 lines
	outGrace = time.Second
)

// lostLines stands for lines that were lost.
func lostLines(n int, _ []byte) []byte { return fmt.Appendf(nil, "lost %d lines\n", n) }

// reopen opens the copy anew after its .tidemark was deleted: by git clean, or
// an rsync --delete from elsewhere.
func (d *daemon) reopen() error {
	d.config.Log.Warn("the copy's .tidemark was removed: it is made anew, and everything compared once")
	d.dest.Close()
	was := d.dest
	if err := d.openReplica(); err != nil {
		return err
	}
	d.dest.RecallDeletions(was)
	d.begun = false
	return nil
}

// daemon is a mirror that goes on: what it knows between two passes.
type daemon struct {
	*mirror
	known string      // validator of the root of the last finished pass
	root  mtree.Stamp // its stamp
	state wire.State  // of the source
	epoch uint64      // of the source
	run   string      // of the source's watch
	// stamping says that the source could have stamps that prune: not so with
	// other web servers.
	stamping bool
	walk     time.Time    // when the next full walk is due; zero: stamps prune
	later    later        // what the last pass left incomplete
	tries    int          // troubles in a row
	said     time.Time    // when trouble was logged as a warning
	again    bool         // after trouble: whatever the source says is looked at
	whole    bool         // the last pass completed the copy
	away     *mtree.Stamp // since when the source gives no answer; nil: it does
	begun    bool         // one pass has ended
	held     bool         // deletions are
}

// due is when the next pass begins if nothing changes; zero: never.
func (d *daemon) due() time.Time {
	if !d.walk.IsZero() {
		return d.walk
	}
	return d.later.next()
}

// turn waits for news of the source, or for the time of a retry or a walk, and
// runs a pass. Its error ends Run.
func (d *daemon) turn(ctx context.Context) error {
	a, err := d.await(ctx)
	if err != nil {
		d.lost(ctx, err)
		return d.trouble(ctx, err)
	}
	d.heard(&a)
	if err := d.lineage.Guard().CheckRing(a.Upstreams); err != nil {
		d.again = true
		return d.trouble(ctx, err)
	}
	if a.Unchanged {
		d.tries = 0
		return nil
	}
	began := time.Now()
	r, err := d.pass(ctx, a.Root, d.fullDue())
	if r != nil {
		d.hookDue = d.hookDue || r.Changed
		if r.Changed || r.Held+r.Failed > 0 || err != nil {
			_, _ = io.WriteString(d.config.Out, r.Line())
		}
	}
	if gone := d.dest.StillAt(); errors.Is(gone, replica.ErrUnmarked) {
		d.again = true
		return gone // since the pass began: what failed of it is done at once
	}
	if err != nil {
		d.again = true
		return d.trouble(ctx, err)
	}
	if hookErr := d.hook(ctx); hookErr != nil {
		d.config.Log.Warn("hook", "error", hookErr)
	}
	idle := d.begun && d.root == a.Stamp
	d.begun, d.again, d.tries = true, r.MadeRoom(), 0
	d.known, d.root, d.state, d.epoch, d.run = a.Validator, a.Stamp, a.State, a.Tree.Epoch, wire.LatestRun(a.Runs)
	d.stamping, d.held = !a.OtherServer, r.Held > 0
	d.whole = r.Complete
	d.schedule(r, began)
	d.config.Notify(d.word(r))
	if idle {
		d.pause(ctx, d.config.Interval) // whatever makes the source say so again and again
	}
	return nil
}

// schedule sets when the next pass begins in case nothing changes, after one that
// began at a time.
func (d *daemon) schedule(r *pass.Result, began time.Time) {
	now := time.Now()
	d.walk = time.Time{}
	if d.state.Prunes() && !r.Complete {
		d.later.note(r.Retry, began, now)
		return
	}
	if d.later = nil; d.state.Prunes() {
		return
	}
	pause := max(leastFullPause, fullPauseFactor*r.Took)
	if d.config.IntervalSet {
		pause = d.config.Interval
	}
	d.walk = now.Add(pause)
}

func (d *daemon) word(r *pass.Result) string {
	switch {
	case r.Held > 0:
		return fmt.Sprintf("%d deletions held: %s", r.Held, r.HeldWhy)
	case !r.Complete:
		return fmt.Sprintf("%d directories incomplete, root %s", r.Incomplete, r.Root)
	}
	return "mirrored up to " + r.Root.String()
}

// trouble reports why there was no pass, or no end of it, and waits. What
// waiting does not mend it returns.
func (d *daemon) trouble(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	if errors.Is(err, disk.ErrReplaced) || errors.Is(err, replica.ErrUnmarked) || !d.begun && exit.Of(err) == exit.Refused || exit.Of(err) == exit.Usage {
		return err
	}
	d.tries++
	pause := pauseAfter(err, d.tries)
	cause := causeOf(err)
	d.config.Log.Log(ctx, d.loudness(cause), "trying again", "in", pause.Round(time.Millisecond), "error", err, d.remedy(err))
	d.config.Notify("trying again: " + cause)
	if s := d.dest.Status(); s.Error != cause || (s.Away == nil) != (d.away == nil) {
		d.writeTrouble(cause)
	}
	if d.releasing() {
		sleep(ctx, pause) // it was so before
	} else {
		d.wait(ctx, nil, pause)
	}
	return nil
}

// remedy is what the log says to do about trouble.
func (d *daemon) remedy(err error) slog.Attr {
	var with *exit.Error
	if replica.IsLocal(err) || errors.As(err, &with) || d.away == nil {
		return slog.Attr{} // the error says it itself
	}
	return slog.String("remedy", remote.Remedy(err))
}

// loudness is how trouble is logged: as a warning at first, or if the cause is
// another one, and then once a minute.
func (d *daemon) loudness(cause string) slog.Level {
	if d.tries > 1 && cause == d.dest.Status().Error && time.Since(d.said) < longestTrouble {
		return slog.LevelDebug
	}
	d.said = time.Now()
	return slog.LevelWarn
}

// news is what a question for the root brought.
type news struct {
	source.Root
	none bool // no answer: nobody waited for it any longer
}

// unasked is the news when nobody waited for an answer.
func unasked() news { return news{Root: source.Root{Unchanged: true}, none: true} }

// look asks for the root as it is now, once.
func (d *daemon) look(ctx context.Context) (news, error) {
	root, err := d.source.Root(ctx, source.Poll{Once: true})
	return news{Root: root}, err
}

// await returns the root's listing once it is news or the next pass is due;
// before, after each poll in vain, an answer that is unchanged.
func (d *daemon) await(ctx context.Context) (news, error) {
	due := d.due()
	if !d.begun || d.again || !due.IsZero() && !time.Now().Before(due) || d.releasing() || d.fullDue() {
		return d.look(ctx)
	}
	if !d.state.Prunes() {
		return d.awaitStamps(ctx)
	}
	wait := pollWait
	if !due.IsZero() {
		wait = min(wait, time.Until(due)+time.Second)
	}
	start := time.Now()
	a, err := d.poll(ctx, source.Poll{Known: d.known, Wait: wait, Since: &d.root})
	if err == nil && !a.Unchanged && d.isKnown(&a.Root) {
		a.Unchanged = true // somebody took its validator away
	}
	if err != nil || !a.Unchanged {
		return a, err
	}
	if a.State != "" && (a.State != d.state || a.Tree.Epoch != d.epoch || wire.LatestRun(a.Runs) != d.run) {
		return d.look(ctx) // the tree's own state changed
	}
	// A source that cannot hold a poll, or will not, is asked at intervals.
	d.pause(ctx, d.config.Interval-time.Since(start))
	return a, nil
}

// isKnown reports whether the root's listing is the one of the last finished pass,
// and so nothing is new.
func (d *daemon) isKnown(a *source.Root) bool {
	t := d.dest.Tree()
	return a.Stamp == d.root && !a.Hot && a.State == d.state && a.Tree.Epoch == d.epoch &&
		(a.Tree.ID == t.ID || a.Tree.ID == "" && t.NoID) && (a.Fingerprint == "" || a.Fingerprint == t.Fingerprint)
}

// awaitStamps waits for the time of the next full walk at a source whose stamps
// do not prune, and looks meanwhile whether they do by now: watch was started
// there, or has finished its audit, or came back.
func (d *daemon) awaitStamps(ctx context.Context) (news, error) {
	if !d.stamping {
		return d.awaitServe(ctx)
	}
	start := time.Now()
	a, err := d.poll(ctx, source.Poll{Known: d.known, Wait: min(pollWait, time.Until(d.walk)+time.Second)})
	switch {
	case err != nil:
		return a, err
	case a.State.Prunes() && a.Unchanged:
		return d.look(ctx)
	case a.State.Prunes():
		return a, nil
	}
	if !a.Unchanged {
		d.known = a.Validator // a change of the root alone is no reason to walk
	}
	d.pause(ctx, stateLook-time.Since(start))
	return news{Root: source.Root{Unchanged: true, Upstreams: a.Upstreams}, none: a.none}, nil
}

// awaitServe does the same at a server of another kind, and looks whether serve
// answers by now: what was there was a proxy's page, or serve took its place.
func (d *daemon) awaitServe(ctx context.Context) (news, error) {
	d.pause(ctx, min(d.config.serveLook, time.Until(d.walk)))
	if ctx.Err() != nil || !time.Now().Before(d.walk) {
		return unasked(), nil
	}
	a, err := d.look(ctx)
	if err == nil && a.OtherServer {
		return news{Root: source.Root{Unchanged: true}}, nil
	}
	return a, err
}

// poll asks, and gives up when the next pass is due or a release came.
func (d *daemon) poll(ctx context.Context, ask source.Poll) (news, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var a news
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.Root, err = d.source.Root(ctx, ask)
	}()
	if d.waitFor(ctx, done, pollWait+remote.HeaderTimeout) {
		return a, err
	}
	cancel()
	<-done
	return unasked(), nil
}

// pause waits for a time, or until the next pass is due or a release came.
func (d *daemon) pause(ctx context.Context, t time.Duration) {
	if t > 0 {
		d.waitFor(ctx, nil, t)
	}
}

// waitFor reports whether done was closed before t passed, the next pass was
// due, or a release came.
func (d *daemon) waitFor(ctx context.Context, done <-chan struct{}, t time.Duration) bool {
	if due := d.due(); !due.IsZero() {
		t = min(t, time.Until(due))
	}
	return d.wait(ctx, done, t)
}

// wait reports whether done was closed before t passed, a release came, or other
// credentials.
func (d *daemon) wait(ctx context.Context, done <-chan struct{}, t time.Duration) bool {
	timer := time.NewTimer(t)
	defer timer.Stop()
	var look <-chan time.Time
	if d.held || d.config.Credentials != nil {
		ticker := time.NewTicker(releaseLook)
		defer ticker.Stop()
		look = ticker.C
	}
	for {
		select {
		case <-done:
			return true
		case <-timer.C:
			return false
		case <-ctx.Done():
			return false
		case <-look:
			if d.releasing() || d.renewed() {
				return false
			}
		}
	}
}

// renewed reports whether the source has refused, or not seen yet, other credentials
// than there are now.
func (d *daemon) renewed() bool {
	return d.source.Renewed()
}

// releasing reports whether somebody released deletions that are held.
func (d *daemon) releasing() bool { return d.held && d.dest.HasRelease() }

func sleep(ctx context.Context, t time.Duration) {
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
