package serve

import (
	"sync"
	"time"

	"tidemark/internal/webpage"
	"tidemark/pkg/mtree/serve/internal/published"
)

// changeRate counts how many changes the watcher of the tree published, for each minute of the last hour, and for the
// last day. Any goroutine may use it.
type changeRate struct {
	hour, day *webpage.Series

	mu   sync.Mutex
	read bool  // the counter was read
	last int64 // what it was
	pid  int   // of the watcher
}

const (
	rateEvery = time.Minute      // how often the counter is read
	dayStep   = 24 * time.Minute // so that both plots have sixty steps
	rateSteps = 60
)

func newChangeRate() *changeRate {
	return &changeRate{hour: webpage.NewSeries(rateEvery, rateSteps), day: webpage.NewSeries(dayStep, rateSteps)}
}

// changesCounter is the name of the counter in status.json: a metric of watch.
const changesCounter = "changes_total"

// note takes the counter of the watcher at a time. That of a watcher that was started since counts from zero.
func (c *changeRate) note(at time.Time, s *published.Snapshot) {
	now, known := s.Status.Counters[changesCounter]
	if !known {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.read {
		since := c.last
		if s.Status.PID != c.pid || now < since {
			since = 0
		}
		c.hour.Add(at, float64(now-since))
		c.day.Add(at, float64(now-since))
	}
	c.read, c.last, c.pid = true, now, s.Status.PID
}

// sample reads the counter until the Handler ends.
func (h *Handler) sample() {
	tick := time.NewTicker(rateEvery)
	defer tick.Stop()
	for {
		h.rate.note(time.Now(), h.tree.Now())
		select {
		case <-tick.C:
		case <-h.stop.Done():
			return
		}
	}
}
