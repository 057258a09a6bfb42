package webpage

import (
	"math"
	"sync"
	"time"
)

// Series keeps one number for each interval of time, for the last intervals. Any goroutine may use it.
type Series struct {
	step time.Duration

	mu     sync.Mutex
	values []float64 // of interval i at i modulo their number; NaN: not known
	last   int64     // the latest interval with a value, counted from 1970
	used   bool      // there is one
}

// NewSeries returns a Series of n intervals that knows nothing.
func NewSeries(step time.Duration, n int) *Series {
	s := &Series{step: step, values: make([]float64, n)}
	for i := range s.values {
		s.values[i] = math.NaN()
	}
	return s
}

// Step returns the length of an interval.
func (s *Series) Step() time.Duration { return s.step }

// Add adds v to the number of an interval.
func (s *Series) Add(at time.Time, v float64) {
	s.change(s.interval(at), func(was float64) float64 {
		if math.IsNaN(was) {
			return v
		}
		return was + v
	})
}

// Ramp sets, for all intervals from one time to before another, the time since zero at their end, or at the end
// of the ramp, in seconds, where that is more than the number that is there. So a Series keeps how old something
// got, told only when it becomes new.
func (s *Series) Ramp(zero, from, to time.Time) {
	first, last := s.interval(from), s.interval(to.Add(-1))
	for i := max(first, last-int64(len(s.values))+1); i <= last; i++ {
		end := s.begin(i + 1)
		if end.After(to) {
			end = to
		}
		age := max(0, end.Sub(zero).Seconds())
		s.change(i, func(was float64) float64 {
			if was > age { // false for NaN
				return was
			}
			return age
		})
	}
}

// interval returns the interval of a time.
func (s *Series) interval(at time.Time) int64 { return at.UnixNano() / int64(s.step) }

// begin returns when an interval begins.
func (s *Series) begin(i int64) time.Time { return time.Unix(0, i*int64(s.step)) }

// change changes the number of an interval. Those that are too long ago stay forgotten.
func (s *Series) change(i int64, next func(was float64) float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := int64(len(s.values))
	switch {
	case s.used && i <= s.last-n:
		return
	case !s.used || i > s.last:
		from := i
		if s.used {
			from = max(s.last+1, i-n+1)
		}
		for j := from; j <= i; j++ {
			s.values[j%n] = math.NaN()
		}
		s.last, s.used = i, true
	}
	s.values[i%n] = next(s.values[i%n])
}

// Values returns the numbers of the intervals up to now, the oldest first; NaN: not known.
func (s *Series) Values(now time.Time) []float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := int64(len(s.values))
	out := make([]float64, 0, n)
	for i := s.interval(now) - n + 1; i <= s.interval(now); i++ {
		if !s.used || i > s.last || i <= s.last-n {
			out = append(out, math.NaN())
			continue
		}
		out = append(out, s.values[i%n])
	}
	return out
}

// Clone returns a Series with the same numbers.
func (s *Series) Clone() *Series {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &Series{step: s.step, values: append([]float64(nil), s.values...), last: s.last, used: s.used}
}
