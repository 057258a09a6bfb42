package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cenkalti/backoff/v5"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
)

// Patience of a running mirror.
const (
	pollWait     = 45 * time.Second // how long a source is asked to hold a poll
	firstRetry   = time.Second      // after trouble, or where a pass left something incomplete
	longestRetry = 5 * time.Minute
	releaseLook  = time.Second // while deletions are held: how often to look for a release
	stateLook    = time.Second // where stamps do not prune: least time between looks whether they do

	defaultForeignLook = time.Minute // at other web servers: between looks whether serve answers by now
)

// Run keeps Dest equal to Source until ctx ends, which is no error. A source
// that is away, or answers nonsense, is asked again with pauses that grow to
// five minutes; a full disk is waited for. It ends early where waiting does not
// help: wrong options, a copy that is refused at the start, a root that was
// replaced.
func Run(ctx context.Context, c Config) error {
	m, err := open(c)
	if err != nil {
		return err
	}
	defer func() { m.close() }()
	m.config.Ready()
	pauses := backoff.NewExponentialBackOff()
	pauses.InitialInterval, pauses.MaxInterval, pauses.Multiplier = firstRetry, longestRetry, 2
	d := &daemon{mirror: m, pauses: pauses}
	for ctx.Err() == nil {
		err := d.turn(ctx)
		if errors.Is(err, errUnmarked) {
			err = d.reopen()
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// reopen opens the copy anew after its .tidemark was deleted: by git clean, or
// an rsync --delete from elsewhere.
func (d *daemon) reopen() error {
	d.config.Log.Warn("the copy's .tidemark was removed: it is made anew, and everything compared once")
	d.dest.close()
	dest, err := openDest(&d.config)
	if err != nil {
		return err
	}
	d.dest, d.begun = dest, false
	return nil
}

// daemon is a mirror that goes on: what it knows between two passes.
type daemon struct {
	*mirror
	pauses *backoff.ExponentialBackOff
	known  string      // validator of the root of the last finished pass
	root   mtree.Stamp // its stamp
	state  disk.State  // of the source
	epoch  uint64      // of the source
	// stamping says that the source could have stamps that prune: not so with
	// other web servers.
	stamping bool
	due      time.Time // of the next pass if nothing changes; zero: none
	begun    bool      // one pass has ended
	held     bool      // deletions are
}

// turn waits for news of the source, or for the time of a retry or a walk, and
// runs a pass. Its error ends Run.
func (d *daemon) turn(ctx context.Context) error {
	a, err := d.await(ctx)
	if err != nil {
		return d.trouble(ctx, err)
	}
	if a.unchanged {
		return nil
	}
	p, err := d.pass(ctx, a, d.fullDue())
	if p != nil {
		d.hookDue = d.hookDue || p.changed
		if p.changed || p.held+p.failed > 0 || err != nil {
			_, _ = io.WriteString(d.config.Out, p.line())
		}
	}
	if err != nil {
		return d.trouble(ctx, err)
	}
	if hookErr := d.hook(ctx); hookErr != nil {
		d.config.Log.Warn("hook", "error", hookErr)
	}
	idle := d.begun && d.root == a.listing.Stamp && !p.changed
	d.begun = true
	d.known, d.root, d.state, d.epoch = a.validator, a.listing.Stamp, a.state, a.epoch
	d.stamping, d.held = !a.foreign, p.held > 0
	d.schedule(p)
	d.config.Notify(d.word(p))
	if idle {
		d.pause(ctx, d.config.Interval) // whatever makes the source say so again and again
	}
	return nil
}

// schedule sets the time of the next pass in case nothing changes.
func (d *daemon) schedule(p *pass) {
	d.due = time.Time{}
	if p.complete {
		d.pauses.Reset()
	} else {
		d.due = time.Now().Add(d.pauses.NextBackOff())
	}
	if d.state.Prunes() {
		return
	}
	pause := max(leastFullPause, fullPauseFactor*p.took)
	if d.config.IntervalSet {
		pause = d.config.Interval
	}
	d.due = time.Now().Add(pause)
}

func (d *daemon) word(p *pass) string {
	switch {
	case p.held > 0:
		return fmt.Sprintf("%d deletions held: %s", p.held, p.heldWhy)
	case !p.complete:
		return fmt.Sprintf("%d directories incomplete, root %s", p.incomplete, p.root)
	}
	return "mirrored up to " + p.root.String()
}

// trouble reports why there was no pass, or no end of it, and waits. What
// waiting does not mend it returns.
func (d *daemon) trouble(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	if errors.Is(err, disk.ErrReplaced) || errors.Is(err, errUnmarked) || !d.begun && exit.Of(err) == exit.Refused || exit.Of(err) == exit.Usage {
		return err
	}
	pause := d.pauses.NextBackOff()
	d.config.Log.Warn("trying again", "in", pause.Round(time.Millisecond), "error", err)
	cause := causeOf(err)
	d.config.Notify("trying again: " + cause)
	if status := d.dest.status; status.Error != cause {
		status.Error = cause
		if err := d.writeStatus(status, d.config.Now()); err != nil {
			d.config.Log.Warn("status", "error", err)
		}
	}
	d.due = time.Now() // and then whatever the source says is looked at
	sleep(ctx, pause)
	return nil
}

// await returns the root's listing once it is news or the next pass is due;
// before, after each poll in vain, an answer that is unchanged.
func (d *daemon) await(ctx context.Context) (answer, error) {
	if !d.begun || !d.due.IsZero() && !time.Now().Before(d.due) || d.releasing() || d.fullDue() {
		return d.source.list(ctx, ask{})
	}
	if !d.state.Prunes() {
		return d.awaitStamps(ctx)
	}
	wait := pollWait
	if !d.due.IsZero() {
		wait = min(wait, time.Until(d.due)+time.Second)
	}
	start := time.Now()
	a, err := d.poll(ctx, ask{known: d.known, wait: wait, since: &d.root})
	if err != nil || !a.unchanged {
		return a, err
	}
	if a.state != "" && (a.state != d.state || a.epoch != d.epoch) {
		return d.source.list(ctx, ask{}) // the tree's own state changed
	}
	// A source that cannot hold a poll, or will not, is asked at intervals.
	d.pause(ctx, d.config.Interval-time.Since(start))
	return a, nil
}

// awaitStamps waits for the time of the next full walk at a source whose stamps
// do not prune, and looks meanwhile whether they do by now: watch was started
// there, or has finished its audit, or came back.
func (d *daemon) awaitStamps(ctx context.Context) (answer, error) {
	if !d.stamping {
		return d.awaitServe(ctx), nil
	}
	start := time.Now()
	a, err := d.poll(ctx, ask{known: d.known, wait: min(pollWait, time.Until(d.due)+time.Second)})
	switch {
	case err != nil:
		return a, err
	case a.state.Prunes() && a.unchanged:
		return d.source.list(ctx, ask{})
	case a.state.Prunes():
		return a, nil
	}
	if !a.unchanged {
		d.known = a.validator // a change of the root alone is no reason to walk
	}
	d.pause(ctx, stateLook-time.Since(start))
	return answer{unchanged: true}, nil
}

// awaitServe does the same at a server of another kind, and looks whether serve
// answers by now: what was there was a proxy's page, or serve took its place.
func (d *daemon) awaitServe(ctx context.Context) answer {
	d.pause(ctx, min(d.config.foreignLook, time.Until(d.due)))
	if ctx.Err() == nil && time.Now().Before(d.due) {
		if a, err := d.source.list(ctx, ask{}); err == nil && !a.foreign {
			return a
		}
	}
	return answer{unchanged: true}
}

// poll asks, and gives up when the next pass is due or a release came.
func (d *daemon) poll(ctx context.Context, ask ask) (answer, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var a answer
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		a, err = d.source.list(ctx, ask)
	}()
	if d.waitFor(ctx, done, pollWait+headerTimeout) {
		return a, err
	}
	cancel()
	<-done
	return answer{unchanged: true}, nil
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
	if !d.due.IsZero() {
		t = min(t, time.Until(d.due))
	}
	timer := time.NewTimer(t)
	defer timer.Stop()
	var look <-chan time.Time
	if d.held {
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
			if d.releasing() {
				return false
			}
		}
	}
}

// releasing reports whether somebody released deletions that are held.
func (d *daemon) releasing() bool {
	if !d.held {
		return false
	}
	_, err := d.dest.marker.Dir().Stat(releaseName)
	return err == nil
}

func sleep(ctx context.Context, t time.Duration) {
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
