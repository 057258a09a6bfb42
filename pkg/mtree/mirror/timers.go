package mirror

import (
	"math/rand/v2"
	"time"

	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source/remote"
)

// Patience of a running mirror: two kinds of timers, of which neither waits for the
// other. What a pass left incomplete is looked at again by timers of its own, and
// trouble, which ends a pass or keeps it from beginning, has a pause of its own.
const (
	firstRetry = time.Second // after trouble, or where a pass left something incomplete

	longestLater   = time.Minute     // between looks at a directory that stays incomplete
	longestAway    = 5 * time.Second // between questions to a source that is not there
	longestTrouble = time.Minute     // or answers something else, or while the disk is full
	longestRefused = 5 * time.Minute // or is another tree
	mostLater      = 1000            // directories with timers of their own; more share one
)

// later says when the directories that passes left incomplete are looked at again,
// by their paths. A pass looks at all of them, whatever it was begun for; but only
// one that came when it was due lengthens a pause.
type later map[string]retry

type retry struct {
	due   time.Time
	pause time.Duration
}

// note takes what a pass left incomplete that began at a time.
func (l *later) note(incomplete []string, began, now time.Time) {
	was := *l
	*l = make(later, min(len(incomplete), mostLater+1))
	for _, path := range incomplete {
		if len(*l) >= mostLater {
			path = ""
		}
		r, known := was[path]
		switch {
		case !known:
			r = retry{now.Add(firstRetry), firstRetry}
		case !r.due.After(began):
			r.pause = min(2*r.pause, longestLater)
			r.due = now.Add(r.pause)
		}
		(*l)[path] = r
	}
}

// next is when the first of them is due; zero: never.
func (l later) next() (first time.Time) {
	for _, r := range l {
		if first.IsZero() || r.due.Before(first) {
			first = r.due
		}
	}
	return first
}

// pauseAfter is how long to wait after trouble, the how manieth in a row. It varies
// by a quarter, so that the mirrors of one source do not come back all at once.
func pauseAfter(err error, tries int) time.Duration {
	pause := firstRetry << min(tries-1, 16)
	pause = min(pause, patience(err))
	pause = pause*3/4 + rand.N(pause/2)
	return max(pause, remote.RetryAfter(err))
}

// patience is the longest pause after an error. Whoever is not there at all may be
// back at any moment, and to ask costs nothing; a proxy says the same for him.
func patience(err error) time.Duration {
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
