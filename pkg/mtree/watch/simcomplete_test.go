package watch_test

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// stampedAfter makes a change after a quiet minute, and returns how long it takes until the root
// has a stamp: a second, if it has none by then.
func (s *simulation) stampedAfter(t *testing.T, change func() error) time.Duration {
	s.settle()
	s.order.Pass(time.Minute)
	root := func() time.Time {
		mtime, _, err := s.shell.Times(simRoot)
		must(t, err)
		return mtime
	}
	before, began := root(), time.Now()
	must(t, change())
	for root() == before && time.Since(began) < time.Second {
		if !s.order.Step() {
			s.order.Pass(10 * time.Microsecond)
		}
	}
	return time.Since(began)
}

// A change that is complete by itself is published before the settle time, after a quiet moment.
// A file that is open settles. What follows is published, too.
func TestCompleteChangesDoNotWait(t *testing.T) {
	const settle = 5 * time.Millisecond
	for seed := range uint64(12) {
		if simGranules[rand.New(rand.NewPCG(seed, 1)).IntN(len(simGranules))] >= time.Second {
			continue // its stamps wait for the clock
		}
		simulatedBy(t, seed, func(s *simulation) {
			file := 0
			for _, c := range []struct {
				what   string
				change func() error
				waits  bool
			}{
				{"written", func() error { return s.shell.Append(simRoot+"/a/a/f", "more") }, false},
				{"made", func() error { return s.shell.Write(simRoot+"/a/a/new", "new") }, false},
				{"renamed", func() error { return s.shell.Rename(simRoot+"/a/a/new", simRoot+"/b/new", 0) }, false},
				{"linked", func() error { return s.shell.Link(simRoot+"/b/new", simRoot+"/b/link") }, false},
				{"a symlink", func() error { return s.shell.Symlink("new", simRoot+"/b/symlink") }, false},
				{"removed", func() error { return s.shell.Remove(simRoot + "/b/new") }, false},
				{"a mode", func() error { return s.shell.Chmod(simRoot+"/a/f", 0o640) }, false},
				{"a directory", func() error {
					return errors.Join(s.shell.Mkdir(simRoot+"/b/dir", 0o755), s.shell.Chown(simRoot+"/b/dir", int(s.uid)))
				}, false},
				{"open", func() (err error) {
					file, err = s.shell.Openat(here, simRoot+"/b/open", unix.O_WRONLY|unix.O_CREAT, 0o644)
					return err
				}, true},
				{"open and written", func() error { _, err := s.shell.Pwrite(file, []byte("text"), 0); return err }, true},
				{"closed", func() error { return s.shell.Close(file) }, false},
			} {
				took := s.stampedAfter(t, c.change)
				if c.waits {
					require.GreaterOrEqual(t, took, settle, "%s, seed %d", c.what, seed)
					require.Less(t, took, 5*settle, "%s, seed %d", c.what, seed)
				} else {
					require.Less(t, took, settle/2, "%s, seed %d", c.what, seed)
				}
			}
			s.rest()
		})
	}
}
