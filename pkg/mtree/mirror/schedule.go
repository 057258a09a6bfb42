package mirror

import (
	"time"

	"tidemark/pkg/mtree/mirror/internal/pass"
)

// Pauses between full walks of a source whose stamps do not prune.
const (
	leastWalkPause  = 10 * time.Minute
	walkPauseFactor = 20 // as a multiple of the time that the last walk took
)

// due returns when the next pass begins if nothing changes; zero: never.
func (d *daemon) due() time.Time {
	if !d.walk.IsZero() {
		return d.walk
	}
	return d.retries.next()
}

// schedule sets when the next pass is due. r is how the last one ended, began when it
// started.
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
	if d.mirror.config.IntervalSet {
		pause = d.mirror.config.Interval
	}
	d.walk = now.Add(pause)
}
