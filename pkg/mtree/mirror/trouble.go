package mirror

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/mirror/internal/source/remote"
)

// Trouble ends a pass, or keeps it from beginning. It has pauses of its own, which do not
// wait for those of incomplete directories. The longest ones:
const (
	longestAway    = 5 * time.Second // between questions to a source that does not answer
	longestTrouble = time.Minute     // or answers something else, or while the disk is full
	longestRefused = 5 * time.Minute // or is another tree
)

// heard notes an answer of the source.
func (d *daemon) heard(a *news) {
	if a.none {
		return
	}
	d.mirror.config.Stats.Up.Store(1)
	if a.Unchanged && d.complete && !d.again && d.known.state.Prunes() {
		d.mirror.confirm(d.mirror.config.Now())
	}
	if d.away = nil; a.Unchanged && d.mirror.replica.Status().Away != nil {
		d.publishTrouble("") // no pass follows that would publish it
	}
}

// lost notes that the source gave no answer, or one that is no listing.
func (d *daemon) lost(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	stats := d.mirror.config.Stats
	stats.Up.Store(0)
	stats.Errors.Add(1)
	if d.away == nil {
		now := d.mirror.config.Now()
		d.away = &now
	}
	if d.known.state.Prunes() || errors.Is(err, source.ErrOtherDirectory) {
		d.again = true
	} else {
		d.known.validator = "" // the next answer comes at once, and a walk waits for its time
	}
}

// trouble reports why there was no pass, or why it ended early, and waits. It returns an
// error that waiting does not mend.
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
	d.mirror.config.Log.Log(ctx, d.logLevel(cause), "trying again", "in", pause.Round(time.Millisecond), "error", err, d.remedy(err))
	d.mirror.config.Notify("trying again: " + cause)
	if s := d.mirror.replica.Status(); s.Error != cause || (s.Away == nil) != (d.away == nil) {
		d.publishTrouble(cause)
	}
	if d.isReleased() {
		sleep(ctx, pause) // it was released before, and that did not help
	} else {
		d.wait(ctx, nil, pause)
	}
	return nil
}

// publishTrouble writes into the status why there is no pass, or "", and since when the
// source gives no answer.
func (d *daemon) publishTrouble(cause string) {
	err := d.mirror.replica.UpdateStatus(func(s *state.Status) bool {
		s.Error, s.Away = cause, d.away
		return true
	})
	if err != nil {
		d.mirror.config.Log.Warn("status", "error", err)
	}
}

// remedy is what the log says to do about trouble.
func (d *daemon) remedy(err error) slog.Attr {
	var with *exit.Error
	if replica.IsLocal(err) || errors.As(err, &with) || d.away == nil {
		return slog.Attr{} // the error says it itself
	}
	return slog.String("remedy", remote.Remedy(err))
}

// logLevel is the level at which trouble is logged: a warning at first, or if the cause is
// another one, and then once a minute.
func (d *daemon) logLevel(cause string) slog.Level {
	if d.tries > 1 && cause == d.mirror.replica.Status().Error && time.Since(d.warned) < longestTrouble {
		return slog.LevelDebug
	}
	d.warned = time.Now()
	return slog.LevelWarn
}

// pauseAfter is how long to wait after trouble, tries being how often in a row there was
// some. It varies by a quarter, so that the mirrors of one source do not all come back
// at once.
func pauseAfter(err error, tries int) time.Duration {
	pause := firstRetry << min(tries-1, 16)
	pause = min(pause, longestPause(err))
	pause = pause*3/4 + rand.N(pause/2)
	return max(pause, remote.RetryAfter(err))
}

// longestPause is the longest pause after an error. A source that does not answer may be
// back at any moment, and asking it costs nothing; so does one behind a proxy that says
// so.
func longestPause(err error) time.Duration {
	switch {
	case replica.IsLocal(err), exit.Of(err) == exit.Local:
		return longestTrouble
	case exit.Of(err) == exit.Refused:
		return longestRefused
	case remote.IsAway(err):
		return longestAway
	}
	return longestTrouble
}

// sleep waits for a time, or until ctx ends.
func sleep(ctx context.Context, t time.Duration) {
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
