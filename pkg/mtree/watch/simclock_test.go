package watch_test

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// wholeSeconds runs f with a small tree that is watched and published, on a machine whose disk
// stores whole seconds. It begins where a second does.
func wholeSeconds(t *testing.T, f func(s *simulation)) {
	seed := uint64(1)
	for simGranules[rand.New(rand.NewPCG(seed, 1)).IntN(len(simGranules))] != time.Second { // see newSimulation
		seed++
	}
	simulatedBy(t, seed, func(s *simulation) {
		require.Equal(t, time.Second, s.kernel.Granule)
		s.order.Settle(simLong, 3000)
		s.nextSecond()
		f(s)
	})
}

// nextSecond lets the clock come to the next second.
func (s *simulation) nextSecond() {
	s.order.Pass(time.Second - time.Duration(s.now().Nanosecond()))
}

// timeComesAgain sets the clock back, in most cases while nobody watches, and changes a directory
// again when the time has come again that it showed before.
func (s *simulation) timeComesAgain(rng *rand.Rand) {
	dir := simDir(rng)
	if rng.IntN(2) == 0 {
		s.quiet()
		_ = s.shell.Write(simRoot+"/new", simText(rng)) // or no reader would go down
		s.order.Settle(simLong, 3000)
	}
	_ = s.shell.Write(dir+"/g", simText(rng))
	for range rng.IntN(4) {
		s.untilStamp()
	}
	at, steps := s.now(), []func(){
		func() {
			if rng.IntN(2) == 0 {
				s.untilCall(simMoments[rng.IntN(len(simMoments))])
			}
			s.kernel.StepClock(-simBacks[rng.IntN(len(simBacks))])
		},
		func() { s.reader.look() },
	}
	if rng.IntN(3) > 0 {
		steps = append(steps, func() { s.end(rng) })
	}
	for _, i := range rng.Perm(len(steps)) {
		steps[i]()
	}
	if rng.IntN(2) == 0 {
		_ = s.shell.Write(dir+"/h", simText(rng))
	}
	s.start()
	for range rng.IntN(400) {
		s.order.Step()
	}
	if rng.IntN(2) == 0 {
		s.reader.look()
	}
	s.order.Settle(time.Duration(rng.IntN(600))*time.Millisecond, 3000)
	s.order.Pass(at.Add(time.Duration(rng.IntN(5)-2)*s.kernel.Granule).Sub(s.now()) + time.Millisecond)
	if rng.IntN(2) == 0 {
		_ = s.shell.Append(dir+"/g", simText(rng))
	} else {
		_ = s.shell.Chmod(dir+"/g", 0o600+uint32(rng.IntN(2)*0o44))
	}
	s.order.Settle(3*time.Second, 3000)
}

// TestSimulatedClock runs short histories in which the clock is set again and again.
func TestSimulatedClock(t *testing.T) {
	simulateAll(t, clockRounds, func(seed uint64) []simEvent { return chosen(seed, 3+int(seed%10), clockKinds) })
}

const clockRounds = 20

// clockKinds are the kinds of events of TestSimulatedClock besides changes, and how often.
var clockKinds = map[string]int{
	"time comes again": 100, "the clock steps": 40, "reader passes": 30, "a long while": 10, "kill and start": 20, "terminate": 10, "start": 10,
	"in the tick of a stamp": 20, "once": 5, "chattr": 10, "audit": 5, "rest": 5, "the clock is set back while away": 10, "crash": 3,
}

// stepClock sets the clock. If forward, somebody watches: what changed at a time of which no watch
// knows, and that is set back before one starts, is like what somebody dated ahead.
func (s *simulation) stepClock(by time.Duration) {
	if by > 0 {
		s.start()
		s.order.Settle(time.Second, 3000)
	}
	s.kernel.StepClock(by)
	if by > 0 {
		s.order.Settle(100*time.Millisecond, 3000)
	}
}

// simBacks are by how much the clock is set back.
var simBacks = []time.Duration{0, time.Millisecond, time.Second, 3 * time.Second, 4 * time.Second, 20 * time.Second, 2 * time.Minute, time.Hour}

// simMoments are calls just before which the clock is set back: a stamp, a tree file with another
// epoch, the status with the checkpoint, the start of an audit.
var simMoments = []string{"utimensat(", "renameat2(", "write(", "fsync(", "getdents64(", "openat("}

// killedAbove kills watch in a batch, when it has stamped the directory a, but not the root.
func (s *simulation) killedAbove(t *testing.T) {
	must(t, s.shell.Write(simRoot+"/new", "or no reader would go down"))
	s.order.Settle(simLong, 3000)
	s.nextSecond()
	must(t, s.shell.Write(simRoot+"/b/a/g", "published"))
	for s.untilStamp(); !s.stamped("b"); s.untilStamp() {
		require.False(t, s.stamped(""))
	}
	s.kill()
	require.False(t, s.stamped(""))
	require.True(t, s.reader.look())
}

// watch was killed in a batch, and started again in the same second, on a disk with whole
// seconds. The first stamp of the next run was the one that directories had got already: who had
// listed them meanwhile was complete without what changed since, for good.
func TestKilledInABatchOfASecond(t *testing.T) {
	wholeSeconds(t, func(s *simulation) {
		s.killedAbove(t)
		must(t, s.shell.Write(simRoot+"/b/a/h", "while nobody watches"))
		s.rest()
	})
}

// The clock was set back by an hour, and watch was killed when it had stamped everything anew,
// on a disk with whole seconds. A directory that refuses its time kept a stamp of that hour in
// .tidemark/stamps. For that one stamp the next watch gave up all that it knew of stamps: the root
// got the one that it showed. Who had listed it in the new epoch was complete with the old times
// of everything below.
func TestKilledInTheSecondOfANewEpoch(t *testing.T) {
	wholeSeconds(t, func(s *simulation) {
		must(t, s.shell.Immutable(simRoot+"/b/b", true))
		must(t, s.shell.Write(simRoot+"/b/b/f", "changed"))
		s.quiet()
		s.nextSecond()
		s.kernel.StepClock(-time.Hour)
		must(t, s.shell.Write(simRoot+"/a/g", "published before the rest"))
		for range 100 {
			if mtime, _, err := s.shell.Times(simRoot); err == nil && mtime.Before(s.now().Add(2*time.Second)) {
				break
			}
			s.untilStamp()
		}
		require.True(t, s.stamped(""))
		was, _, err := s.shell.Times(simRoot)
		must(t, err)
		before := s.epoch(t)
		s.kill()
		s.start()
		s.lookInEpochAfter(t, before)
		s.rest()
		is, _, err := s.shell.Times(simRoot)
		must(t, err)
		require.True(t, is.After(was), "what is stamped anew has a stamp above that of the root")
	})
}

// epoch returns the epoch of the tree.
func (s *simulation) epoch(t *testing.T) uint64 {
	synctest.Wait() // a watch that begins makes its first calls as itself, not as the one who looks
	published, err := s.published()
	must(t, err)
	return published.Tree.Epoch
}

// lookInEpochAfter lets the reader look as soon as the epoch is a later one.
func (s *simulation) lookInEpochAfter(t *testing.T, before uint64) {
	for range 1000 {
		if s.epoch(t) > before {
			break
		}
		if !s.order.Step() {
			s.order.Pass(time.Millisecond)
		}
	}
	require.Greater(t, s.epoch(t), before)
	require.True(t, s.reader.look())
}

// until lets time pass until a moment after a time.
func (s *simulation) until(at time.Time) {
	s.order.Settle(2*time.Second, 3000)
	s.order.Pass(at.Sub(s.now()) + time.Millisecond)
}

// The clock was set back by an hour. Who looked as soon as the epoch told that, and not again for
// an hour, had directories with the stamps of the hour that came again: they got the same ones
// once more.
func TestStampsOfAnHourThatComesAgain(t *testing.T) {
	wholeSeconds(t, func(s *simulation) {
		must(t, s.shell.Write(simRoot+"/a/g", "one"))
		s.settle()
		stamp, _, err := s.shell.Times(simRoot + "/a")
		must(t, err)
		before := s.epoch(t)
		s.kernel.StepClock(-time.Hour)
		s.lookInEpochAfter(t, before)
		s.until(stamp.Add(-time.Second))
		must(t, s.shell.Write(simRoot+"/a/h", "in that second"))
		s.rest()
	})
}

// The clock was set back by seconds just after a change, in a tree that had been quiet for longer.
// Who had looked before, and not again for these seconds, had the time that the kernel had given
// to the directory: it became a stamp of that directory.
func TestTimesOfSecondsThatComeAgain(t *testing.T) {
	wholeSeconds(t, func(s *simulation) {
		must(t, s.shell.Write(simRoot+"/new", "or no reader would go down"))
		s.order.Settle(simLong, 3000)
		s.nextSecond()
		at := s.now()
		must(t, s.shell.Write(simRoot+"/a/g", "one"))
		require.True(t, s.reader.look())
		s.kernel.StepClock(-5 * time.Second)
		s.until(at.Add(-time.Second))
		must(t, s.shell.Write(simRoot+"/a/h", "in the second before"))
		s.rest()
	})
}

// The clock was set back by an hour, in a tree where nothing had changed for longer. No reading
// lay before an earlier one, so nobody noticed.
func TestSetBackInAQuietTree(t *testing.T) {
	simulated(t, func(s *simulation) {
		s.order.Pass(2 * time.Hour)
		before := s.epoch(t)
		s.kernel.StepClock(-time.Hour)
		s.settle()
		require.Greater(t, s.epoch(t), before)
		s.rest()
	})
}

// The clock was set forward by an hour, and nothing changed until watch was killed: the status did
// not tell. Then something changed, and the clock was set back by less, which nobody noticed.
func TestSetForwardAndBack(t *testing.T) {
	wholeSeconds(t, func(s *simulation) {
		must(t, s.shell.Write(simRoot+"/new", "or no reader would go down"))
		s.order.Settle(simLong, 3000)
		s.kernel.StepClock(time.Hour)
		s.order.Settle(time.Second, 3000)
		s.kill()
		s.nextSecond()
		at := s.now()
		must(t, s.shell.Write(simRoot+"/a/g", "one"))
		require.True(t, s.reader.look())
		s.kernel.StepClock(-5 * time.Second)
		s.start()
		s.until(at.Add(-time.Second))
		must(t, s.shell.Write(simRoot+"/a/h", "in the second before"))
		s.rest()
	})
}

// watch was killed in a batch, and the clock was set back by so little that the next start trusts
// the checkpoint. Directories got the stamps again that the batch had given.
func TestKilledAndSetBackALittle(t *testing.T) {
	for _, away := range []bool{false, true} {
		wholeSeconds(t, func(s *simulation) {
			s.killedAbove(t)
			at := s.now().Truncate(time.Second)
			s.kernel.StepClock(-4 * time.Second)
			if away {
				must(t, s.shell.Write(simRoot+"/b/a/h", "while nobody watches"))
			}
			s.start()
			s.until(at)
			if !away {
				must(t, s.shell.Write(simRoot+"/b/a/h", "in that second"))
			}
			s.rest()
		})
	}
}
