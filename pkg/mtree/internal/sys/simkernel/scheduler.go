package simkernel

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing/synctest"
	"time"
)

// Scheduler lets the system calls of Scheduled processes happen one after the other, in an
// order that rng chooses. Its methods are called by one goroutine of the bubble, which is
// none of the program's.
type Scheduler struct {
	k       *Kernel
	rng     *rand.Rand
	waiting []*waiter // under k.mu
}

// waiter is a call that waits for its turn.
type waiter struct {
	process *Process
	text    string
	turn    chan struct{}
}

// NewScheduler returns a Scheduler of all calls of k.
func NewScheduler(k *Kernel, rng *rand.Rand) *Scheduler {
	s := &Scheduler{k: k, rng: rng}
	choices := rand.New(rand.NewPCG(rng.Uint64(), 0)) // of the program's one goroutine that selects
	k.Shuffle = choices.Perm
	k.Before = func(p *Process, call string) {
		w := &waiter{p, call, make(chan struct{})}
		k.mu.Lock()
		s.waiting = append(s.waiting, w)
		k.mu.Unlock()
		<-w.turn
	}
	return s
}

// callTime is how long a call takes on average. It is never the same, so that no two timers
// end at one moment.
const callTime = time.Microsecond

// Step waits until no goroutine runs, and lets one call that waits happen. It reports false
// if none waits. What waits for time waits on: see Pass.
func (s *Scheduler) Step() bool {
	synctest.Wait()
	s.k.mu.Lock()
	if len(s.waiting) == 0 {
		s.k.mu.Unlock()
		return false
	}
	slices.SortStableFunc(s.waiting, func(a, b *waiter) int {
		if d := a.process.pid - b.process.pid; d != 0 {
			return d
		}
		return strings.Compare(a.text, b.text)
	})
	i := s.rng.IntN(len(s.waiting))
	w := s.waiting[i]
	s.waiting = slices.Delete(s.waiting, i, i+1)
	s.k.mu.Unlock()
	close(w.turn)
	s.Pass(callTime/2 + time.Duration(s.rng.Int64N(int64(callTime))))
	return true
}

// Waits reports whether a call that begins so waits for its turn.
func (s *Scheduler) Waits(call string) bool {
	synctest.Wait()
	s.k.mu.Lock()
	defer s.k.mu.Unlock()
	return slices.ContainsFunc(s.waiting, func(w *waiter) bool { return strings.HasPrefix(w.text, call) })
}

// Pass lets time pass. Calls that wait go on waiting: the machine is slow.
func (s *Scheduler) Pass(d time.Duration) {
	synctest.Wait()
	time.Sleep(d)
	synctest.Wait()
}

// Drain lets the calls of killed processes go, until none waits. They have no effect.
func (s *Scheduler) Drain() {
	for gone := true; gone; {
		synctest.Wait()
		s.k.mu.Lock()
		var free []*waiter
		s.waiting = slices.DeleteFunc(s.waiting, func(w *waiter) bool {
			if w.process.killed {
				free = append(free, w)
			}
			return w.process.killed
		})
		s.k.mu.Unlock()
		for _, w := range free {
			close(w.turn)
		}
		gone = len(free) > 0
	}
}

// Settle lets everything happen until nothing has been called for quiet, and reports false
// if that takes more than calls.
func (s *Scheduler) Settle(quiet time.Duration, calls int) bool {
	for idle := time.Duration(0); idle < quiet; {
		if s.Step() {
			idle = 0
			if calls--; calls < 0 {
				return false
			}
			continue
		}
		nap := min(quiet-idle, max(idle, time.Millisecond))
		s.Pass(nap)
		idle += nap
	}
	return true
}
