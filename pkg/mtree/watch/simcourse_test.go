package watch_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/internal/sys"
)

// simulated runs f with a small tree that is watched and published, on a machine in memory.
func simulated(t *testing.T, f func(s *simulation)) { simulatedBy(t, 1, f) }

// simulatedBy does so on the machine of a seed.
func simulatedBy(t *testing.T, seed uint64, f func(s *simulation)) {
	tryOpenat2(t)
	defer sys.Simulate(nil)()
	synctest.Test(t, func(t *testing.T) {
		s := newSimulation(seed)
		defer s.reader.end()
		defer s.kill()
		s.quiet()
		f(s)
		require.Empty(t, s.problem, s.log.String())
	})
}

// A directory was moved out of the tree, and the event was lost. Once the audit after that has
// found every directory of the tree, what it did not find is not heard any more.
func TestWhatLeftUnheardIsForgotten(t *testing.T) {
	simulated(t, func(s *simulation) {
		s.kernel.Queue = 32
		s.flood(rand.New(rand.NewPCG(1, 1)))
		must(t, s.shell.Rename(simRoot+"/a", "/outside/o", 0))
		s.settle()
		require.Contains(t, s.log.String(), "lost track")
		require.Equal(t, s.directories(simRoot), s.kernel.Watches())
	})
}

// A file that an audit cannot look at makes its directory one that cannot be read. Passed over,
// its change would never be published: the checkpoint moves on.
func TestAnEntryThatAnAuditCannotLookAt(t *testing.T) {
	simulated(t, func(s *simulation) {
		s.kill()
		must(t, s.shell.Append(simRoot+"/a/f", "!"))
		s.order.Settle(simLong, 3000)
		s.faults, s.fails, s.only = 1000, unix.EIO, `, "f")`
		s.trouble = true
		s.start()
		s.settle()
		require.Contains(t, s.log.String(), "cannot read a directory")
		s.rest()
	})
}

// After the clock was set back, the status without a checkpoint is on disk before the new epoch
// is: a kill between them would leave an old checkpoint that seems valid.
func TestTheCheckpointGoesBeforeTheEpochComes(t *testing.T) {
	simulated(t, func(s *simulation) {
		s.kill()
		s.kernel.StepClock(-time.Hour)
		_, before := s.kernel.Trace()
		began := len(before)
		s.start()
		s.settle()
		require.Contains(t, s.log.String(), "continuity cannot be proved")
		_, lines := s.kernel.Trace()
		first := func(parts ...string) int {
			return slices.IndexFunc(lines[began:], func(line string) bool {
				return !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(line, part) })
			})
		}
		written, flushed, epoch := first("watch: write(", ", 4096)"), first("watch: fsync("), first("watch: renameat2(", `"tree"`)
		require.Positive(t, written)
		require.Less(t, written, flushed, strings.Join(lines[began:], "\n"))
		require.Less(t, flushed, epoch, strings.Join(lines[began:], "\n"))
	})
}

// An audit read a directory that could not be read before, and stamped it and those above
// while .tidemark/unread still named it. A reader who looked then was refused there, and
// complete with the stamps above. At the end of the audit the directory was published, but
// it showed our own write, so that counted for nothing new: no stamp moved, and that reader
// never had it.
func TestReadAgainWhileAReaderLooks(t *testing.T) {
	simulated(t, func(s *simulation) {
		s.kill()
		s.order.Settle(simLong, 3000)
		s.faults, s.fails, s.only, s.trouble = 1000, unix.ENOMEM, `, "a", r)`, true
		s.start()
		s.settle()
		require.Contains(t, s.unread(), "b/a")
		s.faults = 0
		s.watcher.audit <- struct{}{}
		seen := map[time.Time]bool{} // times of b while b/a is not published
		for range 3000 {
			if !s.order.Step() {
				s.order.Pass(time.Millisecond)
			}
			mtime, _, err := s.shell.Times(simRoot + "/b")
			must(t, err)
			if slices.Contains(s.unread(), "b/a") {
				seen[mtime] = true
			}
		}
		require.Empty(t, s.unread())
		mtime, _, err := s.shell.Times(simRoot + "/b")
		must(t, err)
		require.NotContains(t, seen, mtime)
	})
}

// A directory that could not be read left the tree with the one above it. A minute later watch
// noticed, and took it out of .tidemark/unread, but not out of the status: --status, --json and
// mirrors went on saying that a directory of the tree cannot be read, until the next change or
// audit.
func TestWhatWasUnreadIsGone(t *testing.T) {
	simulated(t, func(s *simulation) {
		must(t, s.shell.Mkdir(simRoot+"/b/new", 0o755))
		s.faults, s.fails, s.only, s.trouble = 1, unix.EIO, `, "new", r)`, true
		s.settle()
		require.Contains(t, s.unread(), "b/new")
		must(t, s.shell.Rename(simRoot+"/b", "/outside/o", 0))
		s.rest()
	})
}

// The kernel could not say, for want of memory, which of the directories that are heard is the
// one in which another arrived. So that one was not heard, and nothing said so: the state was
// "watched", and what changed there was published by the next audit.
func TestWhatArrivesWhereNothingIsKnown(t *testing.T) {
	simulated(t, func(s *simulation) {
		must(t, s.shell.Mkdir(simRoot+"/b/new", 0o755))
		s.faults, s.fails, s.only, s.trouble = 1, unix.ENOMEM, "inotify_add_watch(", true
		s.settle()
		require.Contains(t, s.log.String(), "cannot hear all directories")
		s.rest()
	})
}

// Somebody set the mode of a directory that watch may not read, and it still may not. The
// directory above lists that mode, and got no stamp: copies kept the old one for good. An audit
// did not look at it either.
func TestModeOfWhatCannotBeRead(t *testing.T) {
	for _, away := range []bool{false, true} {
		simulated(t, func(s *simulation) {
			s.terminate()
			s.uid = 1000
			s.own()
			s.quiet()
			must(t, s.shell.Chown(simRoot+"/a/a", 7))
			must(t, s.shell.Chmod(simRoot+"/a/a", 0))
			s.rest()
			require.Contains(t, s.unread(), "a/a")
			if away {
				s.kill()
			}
			must(t, s.shell.Chmod(simRoot+"/a/a", 0o700))
			s.order.Settle(simLong, 3000)
			s.rest()
			require.Contains(t, s.unread(), "a/a")
		})
	}
}

// A file was removed from a directory after an audit had looked at the directory's own times, and
// before it was heard: no event told that, no entry showed it, and the times that the audit
// judged by were from before.
func TestRemovedBeforeItIsHeard(t *testing.T) {
	for n := range 12 { // which of the directories is about to be armed
		simulated(t, func(s *simulation) {
			s.movesOn(rand.New(rand.NewPCG(1, 1))) // all else is older than an audit looks back
			s.terminate()
			s.start()
			s.untilArmed(n)
			for _, dir := range []string{"/a/a", "/b/a", "/b/b"} { // with nothing below for which they would be stamped
				_ = s.shell.Unlinkat(here, simRoot+dir+"/f", 0)
			}
			s.rest()
		})
	}
}

// untilArmed waits until the n-th directory is about to be armed.
func (s *simulation) untilArmed(n int) {
	for range n {
		s.untilCall("inotify_add_watch(")
		for range 100 {
			if !s.order.Waits("inotify_add_watch(") {
				break
			}
			s.order.Step()
		}
	}
	s.untilCall("inotify_add_watch(")
}

// unread returns the directories that are not published.
func (s *simulation) unread() (paths []string) {
	fd, err := s.kernel.Start("judge", 0).Openat(here, simRoot, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil
	}
	root := disk.NewDir(fd, simRoot)
	defer func() { _ = root.Close() }()
	m, err := state.OpenMarker(root, "")
	if err != nil {
		return nil
	}
	defer func() { _ = m.Close() }()
	have, err := m.ReadExceptions()
	if err != nil || have == nil {
		return nil
	}
	for path, u := range have.Unread {
		if !u.Opened {
			paths = append(paths, path)
		}
	}
	return paths
}
