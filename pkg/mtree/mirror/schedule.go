package mirror

import (
	"time"

	"tidemark/pkg/mtree/mirror/internal/pass"
)

// When the next pass begins, in case nothing changes.
const (
	firstRetry   = time.Second // after a pass that left something incomplete, and after trouble
	longestRetry = time.Minute // between looks at a directory that stays incomplete
	mostRetries  = 1000        // directories with times of their own; the others share one

	leastWalkPause  = 10 * time.Minute // between full walks of a source whose stamps do not prune
	walkPauseFactor = 20               // as a multiple of the time that the last walk took
)

// due is when the next pass begins if nothing changes; zero: never.
func (d *daemon) due() time.Time {
	if !d.walk.IsZero() {
		return d.walk
	}
	return d.retries.next()
}

// schedule sets when the next pass is due, after one that began at a time.
func (d *daemon) schedule(r *pass.Result, began time.Time) {
	now, prunes := time.Now(), d.known.state.Prunes()
	d.walk = time.Time{}
	switch {
	case prunes && !r.Complete:
		d.retries.set(r.Retry, began, now)
		return
	case prunes:
		d.retries = nil
		return
	}
	d.retries = nil
	pause := max(leastWalkPause, walkPauseFactor*r.Took)
	if d.config.IntervalSet {
		pause = d.config.Interval
	}
	d.walk = now.Add(pause)
}

// fullDue reports whether the safety net asks for a full walk: the last one is
// FullInterval ago.
func (m *mirror) fullDue() bool {
	walked := m.replica.Counters().Walked
	if m.config.FullInterval < 0 || walked == 0 {
		return false
	}
	now, _ := m.config.Now().Unix()
	// The interval varies by an eighth with the copy's inode: copies of one tree do not
	// all walk at once, and for one copy it is always the same.
	share := time.Duration(m.replica.Self.Node.Ino % 128)
	after := m.config.FullInterval * (896 + share*2) / 1024
	return now-walked > int64(after/time.Second)
}

// retries says when the directories that passes left incomplete are looked at again, by
// their paths. A pass looks at all of them, whatever it was begun for; but a pause
// becomes longer only if the pass came when it was over.
type retries map[string]retry

// retry is when a directory is looked at again.
type retry struct {
	due   time.Time
	pause time.Duration // before due
}

// set takes the paths that a pass left incomplete which began at a time.
func (l *retries) set(incomplete []string, began, now time.Time) {
	was := *l
	*l = make(retries, min(len(incomplete), mostRetries+1))
	for _, path := range incomplete {
		if len(*l) >= mostRetries {
			path = ""
		}
		r, known := was[path]
		switch {
		case !known:
			r = retry{now.Add(firstRetry), firstRetry}
		case !r.due.After(began):
			r.pause = min(2*r.pause, longestRetry)
			r.due = now.Add(r.pause)
		}
		(*l)[path] = r
	}
}

// next is when the first of them is due; zero: never.
func (l retries) next() (first time.Time) {
	for _, r := range l {
		if first.IsZero() || r.due.Before(first) {
			first = r.due
		}
	}
	return first
}
