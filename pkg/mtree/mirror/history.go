package mirror

import (
	"slices"
	"sync"
	"time"

	"tidemark/internal/webpage"
	"tidemark/pkg/mtree/mirror/internal/pass"
)

// history is what a mirror remembers of the last day, for its page. The zero value remembers nothing. Any goroutine
// may use it.
type history struct {
	mu        sync.Mutex
	confirmed time.Time       // up to when the copy is known to be what the source published; zero: not known
	told      time.Time       // up to when hour and day say how old it was
	hour, day *webpage.Series // seconds that the copy was behind, at most, in each interval; nil before confirmed
	passes    []pastPass      // the latest last
}

// What is remembered of the lag: 120 intervals of each kind.
const (
	lagSteps = 120
	hourStep = time.Hour / lagSteps
	dayStep  = 24 * time.Hour / lagSteps
)

// pastPass is a pass that changed something, or left something undone.
type pastPass struct {
	Ended   time.Time
	Took    time.Duration
	Full    bool
	Listed  int64
	Fetched int64
	Bytes   int64
	Deleted int64
	Held    int64
	Failed  int64
	Cause   string // why it ended early; "": it did not
}

// maxPasses is how many passes are remembered.
const maxPasses = 30

// begin takes what an earlier run of mirror confirmed.
func (h *history) begin(confirmed, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.start(confirmed, now)
}

// start begins to keep the lag. mu is held.
func (h *history) start(confirmed, now time.Time) {
	if h.hour == nil {
		h.hour, h.day = webpage.NewSeries(hourStep, lagSteps), webpage.NewSeries(dayStep, lagSteps)
	}
	h.confirmed, h.told = confirmed, now
}

// confirm notes, at now, that the copy is what the source published at the time at.
func (h *history) confirm(at, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.hour == nil {
		h.start(at, at)
	}
	h.ramp(h.hour, now)
	h.ramp(h.day, now)
	h.confirmed, h.told = at, now
}

// ramp brings a series up to now. mu is held.
func (h *history) ramp(s *webpage.Series, now time.Time) {
	if !now.Before(h.told) {
		s.Ramp(h.confirmed, h.told, now)
	}
}

// lag returns the series of the last hour and day up to now; nil: nothing is known.
func (h *history) lag(now time.Time) (hour, day *webpage.Series) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.hour == nil {
		return nil, nil
	}
	hour, day = h.hour.Clone(), h.day.Clone()
	h.ramp(hour, now)
	h.ramp(day, now)
	return hour, day
}

// note remembers a pass that ended at a time, unless it did nothing and left as much undone as the one before.
func (h *history) note(r *pass.Result, cause string, ended time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var before pastPass
	if len(h.passes) > 0 {
		before = h.passes[len(h.passes)-1]
	}
	if !r.Changed && !r.Full && r.Held == before.Held && r.Failed == before.Failed && cause == before.Cause {
		return
	}
	h.passes = append(h.passes, pastPass{
		Ended: ended, Took: r.Took, Full: r.Full, Listed: r.Listed, Fetched: r.Fetched, Bytes: r.Bytes, Deleted: r.Deleted, Held: r.Held, Failed: r.Failed, Cause: cause,
	})
	if len(h.passes) > maxPasses {
		h.passes = slices.Delete(h.passes, 0, len(h.passes)-maxPasses)
	}
}

// latest returns the passes that are remembered, the latest first.
func (h *history) latest() []pastPass {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := slices.Clone(h.passes)
	slices.Reverse(out)
	return out
}
