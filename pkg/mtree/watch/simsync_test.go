package watch_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/internal/sys"
	"tidemark/pkg/mtree/watch"
	"tidemark/pkg/mtree/wire"
)

// simPatience is how many calls and moments a --sync of a simulation waits for its answer.
const simPatience = 2000

// sync asks as --sync does. At the moment of the answer a reader sees everything that was done
// before: nothing else was done since. If the answer comes later, the next rest looks for it.
func (s *simulation) sync(rng *rand.Rand) {
	name := fmt.Sprint(rng.IntN(1 << 30))
	if s.watcher == nil || s.watcher.once || s.trouble || !s.isLive() { // --sync looks for that, too
		return
	}
	if s.shell.Write(simMarker+watch.CookiePrefix+name, "") != nil {
		return
	}
	for range simPatience {
		if s.shell.Unlinkat(here, simMarker+watch.AnswerPrefix+name, 0) == nil {
			s.reader.now()
			return
		}
		if rng.IntN(6) == 0 || !s.order.Step() {
			s.order.Pass(simPause(rng))
		}
	}
}

// isLive reports whether a watcher holds the lock of the tree, where .tidemark is now.
func (s *simulation) isLive() bool {
	p := s.kernel.Start("sync", 0)
	defer s.as(p)()
	root, err := disk.OpenRoot(simRoot)
	if err != nil {
		return false
	}
	defer func() { _ = root.Close() }()
	return state.IsLiveTree(root)
}

const simMarker = simRoot + "/.tidemark/"

// cookies returns the names of those that were not answered.
func (s *simulation) cookies() (left []string) {
	for _, name := range s.shell.Names(simMarker[:len(simMarker)-1]) {
		if strings.HasPrefix(name, watch.CookiePrefix) {
			left = append(left, name)
		}
	}
	return left
}

// now makes a pass in no time, and judges what the reader believes.
func (r *simReader) now() {
	if r.look() {
		r.judge()
	}
}

// look makes a pass in no time, unless one runs. It reports whether the pass was complete.
func (r *simReader) look() bool {
	if r.busy.Load() {
		return false
	}
	r.process = r.s.kernel.Start("reader", 0)
	defer r.s.as(r.process)()
	r.done = r.read(r.process)
	return r.done
}

// A rename in .tidemark failed once: the --sync that it would have answered waited for ever.
func TestSyncIsAnsweredAgain(t *testing.T) {
	tryOpenat2(t)
	defer sys.Simulate(nil)()
	synctest.Test(t, func(t *testing.T) {
		s := newSimulation(1)
		s.settle()
		must(t, s.shell.Write(simMarker+watch.CookiePrefix+"1", ""))
		s.faults, s.fails, s.only = 2, unix.EIO, watch.AnswerPrefix
		for range 20 {
			s.settle()
			s.order.Pass(time.Second)
		}
		left := s.cookies()
		s.kill()
		s.reader.end()
		require.Zero(t, s.faults)
		require.Empty(t, left, s.log.String())
	})
}

// .tidemark could not be heard when watch started, for want of a watch or of memory. The first
// audit found nothing that could not be heard, so the tree was "watched", and no --sync was
// ever answered.
func TestMarkerIsArmedAgain(t *testing.T) {
	tryOpenat2(t)
	defer sys.Simulate(nil)()
	synctest.Test(t, func(t *testing.T) {
		s := newSimulation(1)
		s.faults, s.fails, s.only = 1, unix.ENOSPC, "inotify_add_watch"
		s.settle()
		state, _ := s.state()
		must(t, s.shell.Write(simMarker+watch.CookiePrefix+"1", ""))
		s.settle()
		left := s.cookies()
		s.kill()
		s.reader.end()
		require.Zero(t, s.faults)
		require.Equal(t, wire.Watched, state)
		require.Empty(t, left, s.log.String())
	})
}

// Out of watches, a --sync was answered at once. What was written before it, in a directory that
// nobody hears, was published by an audit a minute later: a copy had "arrived" without it.
func TestSyncWhileDeaf(t *testing.T) {
	simulated(t, func(s *simulation) {
		stamp := func() time.Time {
			mtime, _, err := s.shell.Times(simRoot)
			must(t, err)
			return mtime
		}
		s.kernel.MaxWatches = s.kernel.Watches()
		must(t, s.shell.Mkdir(simRoot+"/deaf", 0o755))
		must(t, s.shell.Chown(simRoot+"/deaf", int(s.uid)))
		s.settle()
		state, _ := s.state()
		require.Equal(t, wire.Degraded, state)
		before := stamp()
		must(t, s.shell.Write(simRoot+"/deaf/f", "new"))
		s.settle()
		require.Equal(t, before, stamp(), "nobody heard it")
		must(t, s.shell.Write(simMarker+watch.CookiePrefix+"1", ""))
		s.settle()
		require.Empty(t, s.cookies(), s.log.String())
		require.NotEqual(t, before, stamp())
	})
}
