package mirror

import (
	"context"
	"time"

	"tidemark/pkg/mtree/internal/sys"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/wire"
)

// How a running mirror asks its source.
const (
	pollWait    = wire.MaxWait // how long the source is asked to hold a poll
	releaseLook = time.Second  // how often to look for a release while deletions are held, and for other credentials
	stateLook   = time.Second  // where stamps do not prune: least time between looks whether they do now

	// stateWait is how long a poll is held where stamps do not prune. It ends when the source's state
	// changes; but a proxy that hid the state, or told another, may stop doing so without a word. Then
	// the poll that is held may still be answered as before, and only the next one tells.
	stateWait = 5 * time.Second

	// passGap is the least time between the beginnings of two passes: a change that comes alone does
	// not wait, and of a thousand a second some twenty share the cost of a pass.
	passGap = 20 * time.Millisecond
)

// news is the answer to a request for the root.
type news struct {
	source.Root
	none bool // no answer: the wait was given up
}

// unasked is the news after the wait for an answer was given up.
func unasked() news { return news{Root: source.Root{Unchanged: true}, none: true} }

// look asks once for the root as it is now.
func (d *daemon) look(ctx context.Context) (news, error) {
	root, err := d.mirror.source.Root(ctx, source.Poll{Once: true})
	return news{Root: root}, err
}

// await returns the root's listing once it has changed or the next pass is due. Before
// that, it returns after each poll that brought nothing, with an answer that is unchanged.
func (d *daemon) await(ctx context.Context) (news, error) {
	due := d.due()
	if !d.begun || d.again || !due.IsZero() && !time.Now().Before(due) || d.isReleased() || d.mirror.fullDue() {
		return d.look(ctx)
	}
	if !d.known.state.Prunes() {
		return d.awaitStamps(ctx)
	}
	wait := pollWait
	if !due.IsZero() {
		wait = min(wait, time.Until(due)+time.Second)
	}
	d.pause(ctx, passGap-time.Since(d.started))
	start := time.Now()
	a, err := d.poll(ctx, source.Poll{Known: d.known.validator, Wait: wait, Since: &d.known.stamp, Parts: d.takesParts()})
	if err == nil && !a.Unchanged && d.isKnown(&a.Root) {
		a.Unchanged = true // a proxy removed its validator
	}
	if err == nil && a.IsPart() && !d.isOfSameTree(&a.Root) { // guard: TestAPartOfAnotherTree
		return d.look(ctx)
	}
	if err != nil || !a.Unchanged {
		return a, err
	}
	if d.saysAnother(&a.Root) {
		return d.look(ctx)
	}
	// A source that does not hold polls is asked at intervals.
	d.pause(ctx, d.mirror.config.Interval-time.Since(start))
	return a, nil
}

// saysAnother reports whether an answer without news says something else of the tree than the last
// pass knew: its state, say, or with which options serve shows it.
func (d *daemon) saysAnother(a *source.Root) bool {
	k := &d.known
	options := k.fingerprint != "" && a.Fingerprint != "" && a.Fingerprint != k.fingerprint // guard (a.Fingerprint != k.fingerprint -> false): TestOtherOptionsThatOnlyAPollTells
	return a.State != "" && (options || a.State != k.state || a.Tree.Epoch != k.epoch || wire.LatestRun(a.Runs) != k.run || a.Unread != k.unread)
}

// isKnown reports whether the root's listing is that of the last pass that ended, so that
// nothing is new.
func (d *daemon) isKnown(a *source.Root) bool {
	t, k := d.mirror.replica.Tree(), &d.known
	return !a.Switched && a.Stamp == k.stamp && !a.Hot && a.State == k.state && a.Tree.Epoch == k.epoch && a.Unread == k.unread &&
		(a.Tree.ID == t.ID || a.Tree.ID == "" && t.NoID) && (a.Fingerprint == "" || a.Fingerprint == t.Fingerprint)
}

// awaitStamps waits for the time of the next full walk at a source whose stamps do not
// prune. Meanwhile it checks whether they do now, because watch was started there, finished
// its audit, or came back.
func (d *daemon) awaitStamps(ctx context.Context) (news, error) {
	if d.known.otherServer {
		return d.awaitServe(ctx)
	}
	start := time.Now()
	wait := min(stateWait, time.Until(d.walk)+time.Second) // guard (stateWait -> pollWait): TestSimulatedStateThatComesBackUnheard
	a, err := d.poll(ctx, source.Poll{Known: d.known.validator, Wait: wait})
	switch {
	case err != nil:
		return a, err
	case a.State.Prunes() && a.Unchanged:
		return d.look(ctx)
	case a.State.Prunes():
		return a, nil
	}
	if !a.Unchanged {
		d.known.validator = a.Validator // a change of the root alone starts no walk
	}
	d.pause(ctx, stateLook-time.Since(start))
	return news{Root: source.Root{Unchanged: true, Upstreams: a.Upstreams}, none: a.none}, nil
}

// awaitServe waits for the time of the next full walk at a server of another kind.
// Meanwhile it checks whether serve answers now: the answer before may have been a proxy's
// page, or serve may have replaced that server.
func (d *daemon) awaitServe(ctx context.Context) (news, error) {
	d.pause(ctx, min(d.mirror.config.serveLook, time.Until(d.walk)))
	if ctx.Err() != nil || !time.Now().Before(d.walk) {
		return unasked(), nil
	}
	a, err := d.look(ctx)
	if err == nil && a.OtherServer {
		return news{Root: source.Root{Unchanged: true}}, nil
	}
	return a, err
}

// poll asks for the root, and gives up when the next pass is due or a release came.
func (d *daemon) poll(ctx context.Context, ask source.Poll) (news, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var a news
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.Root, err = d.mirror.source.Root(ctx, ask)
	}()
	if d.waitDue(ctx, done, pollWait+d.mirror.config.Patience) {
		return a, err
	}
	cancel()
	<-done
	return unasked(), nil
}

// pause waits for a time, or until the next pass is due or a release came.
func (d *daemon) pause(ctx context.Context, t time.Duration) {
	if t > 0 {
		d.waitDue(ctx, nil, t)
	}
}

// waitDue reports whether done was closed before t passed, the next pass was due, or a
// release came.
func (d *daemon) waitDue(ctx context.Context, done <-chan struct{}, t time.Duration) bool {
	for _, due := range []time.Time{d.due(), d.hookAgain} {
		if !due.IsZero() {
			t = min(t, time.Until(due))
		}
	}
	return d.wait(ctx, done, t)
}

// wait reports whether done was closed before t passed, or a release or other
// credentials came. There is one timer, and no ticker beside it: where both ended at one
// moment they came in any order, and a simulation did not run the same way twice.
func (d *daemon) wait(ctx context.Context, done <-chan struct{}, t time.Duration) bool {
	looks := d.held || d.mirror.config.Credentials != nil
	for end := time.Now().Add(t); ; {
		step := time.Until(end)
		if looks {
			step = min(step, releaseLook)
		}
		timer := time.NewTimer(step)
		var isDone, over bool
		_ = sys.Select(
			sys.On(done, func(struct{}) error { isDone = true; return nil }),
			sys.On(timer.C, func(time.Time) error {
				over = !time.Now().Before(end) || d.isReleased() || d.mirror.source.Renewed()
				return nil
			}),
			sys.On(ctx.Done(), func(struct{}) error { over = true; return nil }),
		)
		timer.Stop()
		if isDone || over {
			return isDone
		}
	}
}

// isReleased reports whether somebody released deletions that are held.
func (d *daemon) isReleased() bool { return d.held && d.mirror.replica.HasRelease() }
