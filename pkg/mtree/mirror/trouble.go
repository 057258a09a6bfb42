package mirror

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"tidemark/internal/logbook"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/mirror/internal/source/remote"
)

// Trouble ends a pass or prevents one. The pauses after it are independent of those for
// incomplete directories. The longest ones:
const (
	longestAway    = 5 * time.Second // between requests to a source that does not answer
	longestTrouble = time.Minute     // if it answers something else, or while the disk is full
	longestRefused = 5 * time.Minute // if it is another tree
)

// heard notes an answer of the source.
func (d *daemon) heard(a *news) {
	if a.none {
		return
	}
	d.mirror.config.Stats.Up.Store(1)
	if a.Unchanged && !a.Repeated && d.complete && !d.again && d.known.state.Prunes() {
		d.mirror.confirm(d.mirror.config.Now())
	}
	if d.away = nil; a.Unchanged && d.mirror.replica.Status().Away != nil {
		d.publishTrouble("") // no pass follows that would publish it
	}
}

// lost notes that the source gave no answer, or an answer that is not a listing.
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
		d.known.validator = "" // the next answer comes at once; a walk still waits for its time
	}
}

// trouble reports why there was no pass, or why it ended early, and waits. It returns err
// if waiting does not help.
func (d *daemon) trouble(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	if errors.Is(err, disk.ErrReplaced) || errors.Is(err, replica.ErrUnmarked) || !d.begun && exit.Of(err) == exit.Refused || exit.Of(err) == exit.Usage {
		return err
	}
	d.tries++
	pause := pauseAfter(err, d.tries, d.mirror.config.vary)
	cause, remedy := causeOf(err), d.remedy(err)
	if d.troubled.IsZero() {
		d.troubled = time.Now()
	}
	d.mirror.config.Log.Warn("trying again", "in", pause.Round(time.Millisecond), "error", err, remedy,
		logbook.About(ofTurns, cause+": "+remedy.Value.String()))
	d.mirror.config.Notify("trying again: " + cause)
	if s := d.mirror.replica.Status(); s.Error != cause || (s.Away == nil) != (d.away == nil) {
		d.publishTrouble(cause)
	}
	if d.isReleased() {
		machine.Sleep(ctx, pause) // the release came before this pause and did not help
	} else {
		d.wait(ctx, nil, pause)
	}
	return nil
}

// publishTrouble writes into the status why there is no pass ("": nothing prevents one),
// and since when the source has not answered.
func (d *daemon) publishTrouble(cause string) {
	err := d.mirror.replica.UpdateStatus(func(s *state.Status) bool {
		s.Error, s.Away = cause, d.away
		return true
	})
	if err != nil {
		d.mirror.config.Log.Warn("cannot write the status of the copy", "error", err, "remedy", replica.MakeRoom)
	}
}

// remedy returns what the log says to do about trouble.
func (d *daemon) remedy(err error) slog.Attr {
	var with *exit.Error
	if replica.IsLocal(err) || errors.As(err, &with) || d.away == nil {
		return slog.Attr{} // the error says so itself
	}
	return slog.String("remedy", remote.Remedy(err))
}

// goesOn notes that a turn ended well, and says so if the one before did not.
func (d *daemon) goesOn() {
	d.tries = 0
	if d.troubled.IsZero() {
		return
	}
	took := time.Since(d.troubled).Round(time.Second)
	d.troubled = time.Time{}
	d.mirror.config.Log.Info("mirroring goes on: the trouble is over", "after", took, logbook.About(ofTurns, ""))
}

// ofTurns is what the log says of turns: that there is trouble, and of which kind, or none.
const ofTurns = "turns"

// pauseAfter returns how long to wait after trouble. tries is how many turns in a row
// ended in trouble. The pause varies by a quarter, so that the mirrors of one source do
// not all come back at once.
func pauseAfter(err error, tries int, vary func(time.Duration) time.Duration) time.Duration {
	pause := firstRetry << min(tries-1, 16)
	pause = min(pause, longestPause(err))
	pause = pause*3/4 + vary(pause/4)
	return max(pause, remote.RetryAfter(err))
}

// longestPause returns the longest pause after an error. A source that does not answer may
// be back at any moment, and asking it costs nothing. The same holds if a proxy answers
// for it that it is away.
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
