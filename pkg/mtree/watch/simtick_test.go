package watch_test

import (
	"math/rand/v2"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// inTheTick lets things happen while watch writes its stamps: what comes between two of them,
// or in the tick of one, can hide behind it. Then their events may be lost.
func (s *simulation) inTheTick(rng *rand.Rand) {
	for range 1 + rng.IntN(3) {
		s.untilStamp()
		switch rng.IntN(3) {
		case 0:
			_ = s.shell.Rename(simSub(rng), simSub(rng), unix.RENAME_EXCHANGE)
		case 1:
			_ = s.shell.Rename(simSub(rng), simSub(rng), 0)
		default:
			for range 4 {
				if f := simDir(rng) + "/g"; s.shell.Unlinkat(here, f, 0) != nil {
					_ = s.shell.Write(f, simText(rng))
				}
			}
		}
	}
	for range rng.IntN(4) {
		s.untilStamp()
	}
	switch rng.IntN(4) {
	case 0:
		s.kill()
		s.start()
	case 1:
		s.flood(rng)
	}
}

// untilStamp waits until watch has set a time, but not long.
func (s *simulation) untilStamp() {
	for range 200 {
		if !s.order.Step() {
			s.order.Pass(time.Millisecond + 1)
			continue
		}
		if _, lines := s.kernel.Trace(); strings.Contains(lines[len(lines)-1], "watch: utimensat(") {
			return
		}
	}
}

// flood makes more events than a short queue holds.
func (s *simulation) flood(rng *rand.Rand) {
	for range min(s.kernel.Queue, 100)/2 + 1 {
		_ = s.shell.Append(simRoot+"/f", simText(rng))
		_ = s.shell.Append(simRoot+"/g", simText(rng))
	}
}

// directories returns how many directories there are at and below path.
func (s *simulation) directories(path string) (n int) {
	for _, p := range s.paths(path) {
		if stx, err := s.shell.Statx(here, p, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS); err == nil && stx.Mode&unix.S_IFMT == unix.S_IFDIR {
			n++
		}
	}
	return n
}

// acrossTheTick lets the clock tick between the moment when watch reads it and the moment when
// the stamp is written: the stamp may then equal the ctime that writing it leaves. What happens
// later in that tick leaves the same times. Its events may be lost.
func (s *simulation) acrossTheTick(rng *rand.Rand) {
	s.quiet()
	dir := simDir(rng)
	_ = s.shell.Write(dir+"/f", simText(rng))
	s.untilCall("utimensat(")
	tick := max(s.kernel.Granule, s.kernel.Tick)
	s.order.Pass(tick - time.Duration(s.now().UnixNano())%tick)
	if rng.IntN(2) == 0 {
		s.order.Settle(50*time.Millisecond, 600)
		s.reader.look()
	} else {
		for range rng.IntN(60) {
			s.order.Step()
		}
	}
	s.flood(rng)
	_ = s.shell.Write(dir+"/"+simText(rng), "")
	if rng.IntN(2) == 0 {
		s.kill()
		s.start()
	}
}

// untilCall waits, but not long, until a call that begins so waits for its turn.
func (s *simulation) untilCall(call string) {
	for range 500 {
		if s.order.Waits(call) {
			return
		}
		if !s.order.Step() {
			s.order.Pass(10*time.Millisecond + 1)
		}
	}
}

// behindAStamp exchanges a directory for its twin just before the stamp of the directory is
// written. The stamp hides that: its ctime is that of our own write. No event tells of it.
func (s *simulation) behindAStamp(rng *rand.Rand) {
	hears := rng.IntN(2) == 0
	if !hears {
		s.withoutEvents(rng)
	}
	dir, twin := simDir(rng)+"/pair", simRoot+"/twin"
	if !s.twins(rng, dir, twin) {
		return
	}
	_ = s.shell.Append(dir+"/f", simText(rng))
	s.untilCall("utimensat(")
	if hears {
		s.flood(rng)
	}
	_ = s.shell.Rename(dir, twin, unix.RENAME_EXCHANGE)
	s.movesOn(rng)
	if rng.IntN(2) == 0 {
		s.again(rng)
	}
}

// arrivesInTheTick moves a directory to the place of another that was changed a moment ago. A
// reader may know that change, of which watch has not published anything; the latest time below
// the new one is the time that the old one showed.
func (s *simulation) arrivesInTheTick(rng *rand.Rand) {
	dir, twin := simSub(rng), []string{simOut(rng), simRoot + "/twin"}[rng.IntN(2)]
	if !s.twins(rng, dir, twin) {
		return
	}
	if rng.IntN(2) == 0 {
		s.withoutEvents(rng)
		s.order.Settle(100*time.Millisecond, 3000)
	}
	below := "/" + s.shell.Names(dir)[0]
	for up := dir + below; up != "/"; up = path.Dir(up) { // or no reader would go down
		_ = s.shell.Write(up+"/new", simText(rng))
	}
	s.reader.begin()
	for range rng.IntN(500) {
		s.order.Step()
	}
	if mtime, _, err := s.shell.Times(dir + below); err == nil {
		_ = s.shell.Touch(twin+below+"/f", mtime, false)
	}
	_ = s.shell.Rename(dir, twin, unix.RENAME_EXCHANGE)
	s.order.Settle(3*time.Second, 3000) // a watch that hears nothing looks once a second
}

// While a batch was stamped, a directory that had its stamp already was moved into one that had
// just arrived and was not heard yet, was listed there, and left again. What was at its place
// when the batch came there got the same stamp, on a disk with whole seconds: who had listed the
// other one was complete without it, for good.
func TestMovedThroughWhatArrives(t *testing.T) {
	wholeSeconds(t, func(s *simulation) {
		must(t, s.shell.Write(simRoot+"/new", "or no reader would go down"))
		must(t, s.shell.Mkdir(simRoot+"/b/p", 0o755))
		must(t, s.shell.Mkdir(simRoot+"/b/q", 0o755))
		s.untilStamp() // of p
		require.False(t, s.stamped("b/q"))
		must(t, s.shell.Rename(simRoot+"/b/p", simRoot+"/b/q/p", 0))
		s.reader.look()
		must(t, s.shell.Rename(simRoot+"/b/q/p", "/outside/o", 0))
		must(t, s.shell.Mkdir(simRoot+"/b/q/p", 0o755))
		must(t, s.shell.Write(simRoot+"/b/q/p/g", "of another"))
		s.rest()
	})
}

// stamped reports whether a directory shows another time than that of the clock.
func (s *simulation) stamped(path string) bool {
	mtime, _, err := s.shell.Times(simRoot + "/" + path)
	return err == nil && mtime.After(s.now())
}
