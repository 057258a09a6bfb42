package watch_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Each function here plays one course of things that chance alone would hardly ever try: the
// parts must come in this order, and most must be older than an audit looks back. What changes,
// and what happens before and after, is left to chance.

// simLong is longer than an audit looks back from the checkpoint. In a shorter time it finds
// every change by that alone, whatever the checkpoint says.
const simLong = 11 * time.Second

// quiet lets a watcher publish everything, and the reader see it.
func (s *simulation) quiet() {
	s.start()
	s.order.Settle(simLong, 3000)
	s.reader.begin()
	s.order.Settle(time.Second, 3000)
	s.look()
}

// end ends the watcher.
func (s *simulation) end(rng *rand.Rand) {
	if rng.IntN(2) == 0 {
		s.kill()
	} else {
		s.terminate()
	}
}

// again ends the watcher and starts it, after some time.
func (s *simulation) again(rng *rand.Rand) {
	s.end(rng)
	if rng.IntN(2) == 0 {
		s.order.Settle(simLong, 3000)
	}
	s.start()
}

// change makes a change of any kind.
func (s *simulation) change(rng *rand.Rand) { simKinds[rng.IntN(simChanges)].do(s, rng) }

// movesOn makes a change that is heard, so that the checkpoint moves if nothing keeps it, and
// lets time pass before and after.
func (s *simulation) movesOn(rng *rand.Rand) {
	s.order.Settle(simLong, 3000)
	_ = s.shell.Write(simRoot+"/f", simText(rng))
	s.order.Settle(simLong, 3000)
}

// awayForLong changes the tree while nobody watches, and longer ago than an audit looks back.
// The next watcher may be ended in the middle of its audit.
func (s *simulation) awayForLong(rng *rand.Rand) {
	if rng.IntN(4) > 0 {
		s.quiet()
	}
	s.end(rng)
	for range 1 + rng.IntN(3) {
		s.change(rng)
	}
	s.order.Settle(simLong, 3000)
	s.start()
	for range rng.IntN(500) {
		s.order.Step()
	}
	if s.look(); rng.IntN(3) > 0 && s.watcher != nil {
		s.again(rng)
	}
}

// deafForLong changes a directory that is not heard, for want of watches, long before the
// watcher ends. What is heard meanwhile must not move the checkpoint.
func (s *simulation) deafForLong(rng *rand.Rand) {
	s.quiet()
	if s.watcher == nil {
		return
	}
	s.kernel.MaxWatches = s.kernel.Watches()
	dir := fmt.Sprint(simDir(rng), "/deaf", rng.IntN(1000))
	_ = s.shell.Mkdir(dir, 0o755)
	s.order.Settle(time.Second, 3000)
	s.reader.begin()
	s.order.Settle(time.Second, 3000)
	_ = s.shell.Write(dir+"/f", simText(rng))
	s.movesOn(rng)
	s.end(rng)
	s.kernel.MaxWatches = simWatches
	s.start()
}

const simWatches = 100_000

// excludedForLong changes something while it is excluded, long before it is no longer.
func (s *simulation) excludedForLong(rng *rand.Rand) {
	s.options(excludedPrefix + "*")
	s.quiet()
	x := simDir(rng) + "/" + excludedPrefix
	if s.shell.Unlinkat(here, x, 0) != nil {
		_ = s.shell.Write(x, simText(rng))
	}
	s.movesOn(rng)
	s.options()
}

// options starts the watcher with other options.
func (s *simulation) options(exclude ...string) {
	s.terminate()
	s.exclude = exclude
	s.start()
}

// clockBackWhileAway sets the clock back by so little that the checkpoint counts, and changes
// something at a time before it.
func (s *simulation) clockBackWhileAway(rng *rand.Rand) {
	s.quiet()
	s.change(rng)
	s.order.Settle(100*time.Millisecond, 3000)
	s.end(rng)
	s.kernel.StepClock(-time.Second - time.Duration(rng.Int64N(int64(2*time.Second))))
	s.change(rng)
	s.order.Settle(simLong, 3000)
	s.start()
}

// touchedBack gives a directory the stamp again that the reader knows, after a change that it
// has not seen.
func (s *simulation) touchedBack(rng *rand.Rand) {
	s.quiet()
	dir := simDir(rng)
	mtime, _, err := s.shell.Times(dir)
	if err != nil {
		return
	}
	_ = s.shell.Write(dir+"/f", simText(rng))
	s.order.Settle(time.Second, 3000)
	if rng.IntN(3) == 0 {
		s.end(rng)
	}
	_ = s.shell.Touch(dir, mtime, rng.IntN(2) == 0)
}

// twinArrives moves a directory to the place of another. Below, both have the same stamp, and
// other contents.
func (s *simulation) twinArrives(rng *rand.Rand) {
	dir, twin := simSub(rng), []string{simOut(rng), simRoot + "/twin"}[rng.IntN(2)]
	if !s.twins(rng, dir, twin) {
		return
	}
	away := rng.IntN(2) == 0
	if away {
		s.end(rng)
	}
	if rng.IntN(2) == 0 {
		_ = s.shell.Rename(dir, twin, unix.RENAME_EXCHANGE)
	} else {
		_ = s.shell.Remove(dir)
		_ = s.shell.Rename(twin, dir, 0)
	}
	if away {
		s.order.Settle(simLong, 3000)
		s.start()
	}
}

// twins makes two directories. Each has a directory of the same name and, where that can be,
// stamp, with other contents.
func (s *simulation) twins(rng *rand.Rand, dir, twin string) bool {
	below := "/" + string(rune('a'+rng.IntN(2)))
	for _, path := range []string{dir, twin} {
		_ = s.shell.Remove(path)
		_ = s.shell.Mkdir(path, 0o755)
		_ = s.shell.Mkdir(path+below, 0o755)
		_ = s.shell.Write(path+below+"/f", "of "+path)
	}
	s.quiet()
	mtime, _, err := s.shell.Times(dir + below)
	if err == nil && !strings.HasPrefix(twin, simRoot) {
		_ = s.shell.Touch(twin+below, mtime, false)
	}
	s.movesOn(rng)
	return err == nil
}

// closed changes a directory that the watcher's user may not open any more.
func (s *simulation) closed(rng *rand.Rand) {
	if s.uid == 0 {
		s.terminate()
		s.uid = 1000
		for _, path := range s.paths(simRoot) {
			_ = s.shell.Chown(path, 1000)
		}
	}
	s.quiet()
	dir := simSub(rng)
	_ = s.shell.Chmod(dir, 0)
	if rng.IntN(2) == 0 {
		s.movesOn(rng)
	}
	_ = s.shell.Append(dir+"/f", simText(rng))
	s.movesOn(rng)
	if rng.IntN(2) == 0 {
		s.again(rng)
	}
	if rng.IntN(2) == 0 {
		_ = s.shell.Chmod(dir, 0o755)
	}
}

// lossInAnAudit loses events of changes that a running audit has passed already.
func (s *simulation) lossInAnAudit(rng *rand.Rand) {
	s.quiet()
	if s.watcher == nil {
		return
	}
	s.askForAudit()
	for range rng.IntN(200) {
		s.order.Step()
	}
	s.flood(rng)
	s.change(rng)
	for range rng.IntN(4) {
		s.order.Pass(7 * time.Millisecond) // while the audit waits for the disk
		for range rng.IntN(40) {
			s.order.Step()
		}
	}
	if rng.IntN(2) == 0 {
		s.movesOn(rng)
		s.again(rng)
	}
}

// askForAudit does what SIGHUP does.
func (s *simulation) askForAudit() {
	if s.watcher == nil {
		return
	}
	select {
	case s.watcher.audit <- struct{}{}:
	default:
	}
}
