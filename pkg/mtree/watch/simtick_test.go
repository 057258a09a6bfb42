package watch_test

import (
	"math/rand/v2"
	"strings"
	"time"

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
