package watch_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/sys"
	"tidemark/pkg/mtree/internal/sys/simkernel"
	"tidemark/pkg/mtree/watch"
)

// simulation is one history of a watched tree on a machine in memory: the real watcher, a
// reader that follows the protocol, and others who change the tree. Everything happens in an
// order that the seed chooses, and the same seed always gives the same history.
type simulation struct {
	seed   uint64
	kernel *simkernel.Kernel
	order  *simkernel.Scheduler
	shell  simkernel.Shell // of root
	uid    uint32          // of watch

	exclude []string
	watcher *simWatcher
	reader  *simReader
	log     strings.Builder
	problem string
}

// simWatcher is a watch that runs.
type simWatcher struct {
	process *simkernel.Process
	stop    context.CancelFunc
	audit   chan struct{}
	ended   chan error
}

const simRoot = "/tree"

// newSimulation makes a machine with a small tree.
func newSimulation(seed uint64, keep bool) *simulation {
	rng := rand.New(rand.NewPCG(seed, 1))
	o := simkernel.Options{
		Granule:  []time.Duration{1, 1, time.Microsecond, time.Second}[rng.IntN(4)],
		Tick:     []time.Duration{0, 4 * time.Millisecond, 10 * time.Millisecond}[rng.IntN(3)],
		OldTimes: rng.IntN(2) == 0,
		Batch:    []int{0, 1, 3}[rng.IntN(3)],
		Queue:    []int{16384, 16384, 12, 40}[rng.IntN(4)],
	}
	s := &simulation{seed: seed, kernel: simkernel.New(o)}
	if keep {
		s.kernel.Keep()
	}
	s.order = simkernel.NewScheduler(s.kernel, rand.New(rand.NewPCG(seed, 2)))
	s.shell = s.kernel.Shell(0)
	for _, dir := range []string{"", "/a", "/a/a", "/b", "/a/a/b"} {
		_ = s.shell.Mkdir(simRoot+dir, 0o755)
	}
	for _, file := range []string{"/f", "/a/f", "/a/a/g", "/b/h"} {
		_ = s.shell.Write(simRoot+file, "at first")
	}
	_ = s.shell.Mkdir("/outside", 0o755)
	if rng.IntN(3) == 0 {
		s.uid = 1000
		for _, path := range s.paths(simRoot) {
			_ = s.shell.Chown(path, 1000)
		}
	}
	s.kernel.Commit()
	return s
}

// paths returns all paths at and below path.
func (s *simulation) paths(path string) []string {
	all := []string{path}
	for _, name := range s.shell.Names(path) {
		all = append(all, s.paths(path+"/"+name)...)
	}
	return all
}

// start starts a watcher, unless one runs.
func (s *simulation) start() {
	if s.watcher != nil {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	w := &simWatcher{process: s.kernel.Start("watch", s.uid), stop: stop, audit: make(chan struct{}, 1), ended: make(chan error, 1)}
	w.process.Scheduled = true
	s.watcher = w
	sys.Simulate(w.process)
	config := watch.Config{
		Root: simRoot, Backend: "inotify", Audit: w.audit, Exclude: s.exclude,
		Now: func() mtree.Stamp { return mtree.FromTime(w.process.Now()) },
		Log: slog.New(slog.NewTextHandler(&s.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	go func() { w.ended <- watch.Run(ctx, config) }()
}

// kill ends the watcher as SIGKILL does.
func (s *simulation) kill() {
	if w := s.watcher; w != nil {
		w.process.Kill()
		s.away()
	}
}

// away waits until what is left of a killed watcher is gone.
func (s *simulation) away() {
	w := s.watcher
	s.watcher = nil
	w.stop()
	for {
		s.order.Drain()
		select {
		case <-w.ended:
			return
		default:
			s.order.Pass(time.Second)
		}
	}
}

// terminate ends the watcher as SIGTERM does.
func (s *simulation) terminate() {
	w := s.watcher
	if w == nil {
		return
	}
	w.stop()
	for range 20_000 {
		select {
		case err := <-w.ended:
			s.watcher = nil
			s.ended(err)
			return
		default:
		}
		if !s.order.Step() {
			s.order.Pass(time.Millisecond)
		}
	}
	s.fail("watch does not end")
}

// look notices that the watcher ended by itself.
func (s *simulation) look() {
	if s.watcher == nil {
		return
	}
	select {
	case err := <-s.watcher.ended:
		s.watcher = nil
		s.ended(err)
	default:
	}
}

func (s *simulation) ended(err error) {
	if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, disk.ErrReplaced) && disk.Errno(err) != unix.ENOTRECOVERABLE {
		s.fail("watch ended: %v", err)
	}
}

func (s *simulation) fail(format string, args ...any) {
	if s.problem == "" {
		s.problem = fmt.Sprintf(format, args...)
		s.kernel.Note("PROBLEM: %s", s.problem)
	}
}

func TestSimulationStarts(t *testing.T) {
	for seed := range uint64(3) {
		for range 2 {
			synctest.Test(t, func(t *testing.T) {
				s := newSimulation(seed, true)
				defer sys.Simulate(nil)()
				s.start()
				began := time.Now()
				ok := s.order.Settle(5*time.Second, 20_000)
				s.look()
				sum, lines := s.kernel.Trace()
				t.Log(ok, s.problem, s.kernel.Calls(), time.Since(began), sum)
				text, _ := s.shell.Read(simRoot + "/.tidemark/status.json")
				t.Log(strings.TrimSpace(text))
				if testing.Verbose() && seed == 0 {
					t.Log(strings.Join(lines, "\n"))
					t.Log(s.log.String())
				}
				s.kill()
			})
		}
	}
}
type simReader struct{}
