package watch_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
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
	front  *simkernel.Process
	shell  simkernel.Shell // of root
	uid    uint32          // of watch

	exclude []string
	watcher *simWatcher
	user    *simkernel.Process // of front
	reader  *simReader
	open    int // a file that the shell writes to now and then; 0: none
	log     strings.Builder
	problem string // the first

	fails        unix.Errno // with which calls of watch fail
	faults, skip int        // how many, and after how many others
	only         string     // which calls: those with this text
	trouble      bool       // calls failed since the last rest
	onceFailed   error      // how the last run of --once ended
}

// simWatcher is a watch that runs.
type simWatcher struct {
	process *simkernel.Process
	stop    context.CancelFunc
	audit   chan struct{}
	ended   chan error
	backend string // none: it does not hear
	once    bool   // it is one run of --once
}

const simRoot = "/tree"

// simGranules are those of the machines.
var simGranules = []time.Duration{1, 1, time.Microsecond, time.Second, 2 * time.Second}

// newSimulation makes a machine with a small tree.
func newSimulation(seed uint64) *simulation {
	rng := rand.New(rand.NewPCG(seed, 1))
	o := simkernel.Options{
		Granule:  simGranules[rng.IntN(len(simGranules))],
		Tick:     []time.Duration{0, 4 * time.Millisecond, 10 * time.Millisecond}[rng.IntN(3)],
		OldTimes: rng.IntN(2) == 0,
		Batch:    []int{0, 1, 3}[rng.IntN(3)],
		Queue:    []int{16384, 16384, 32, 100}[rng.IntN(4)],
	}
	s := &simulation{seed: seed, kernel: simkernel.New(o)}
	s.kernel.Keep()
	s.order = simkernel.NewScheduler(s.kernel, rand.New(rand.NewPCG(seed, 2)))
	s.front = s.kernel.Front()
	sys.Simulate(s.front)
	s.shell = s.kernel.Shell(0)
	for _, dir := range []string{"", "/a", "/b", "/a/a", "/b/a", "/b/b"} { // all of one time
		_ = s.shell.Mkdir(simRoot+dir, 0o755)
		_ = s.shell.Write(simRoot+dir+"/f", "of "+dir)
	}
	_ = s.shell.Mkdir("/outside", 0o755)
	if rng.IntN(3) == 0 {
		s.uid = 1000
		for _, path := range s.paths(simRoot) {
			_ = s.shell.Chown(path, 1000)
		}
	}
	s.kernel.Commit()
	s.reader = newSimReader(s)
	s.start()
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
func (s *simulation) start() { s.run("inotify", watch.Run) }

// run starts a watcher or a run of --once, unless one runs.
func (s *simulation) run(backend string, run func(context.Context, watch.Config) error) {
	if s.watcher != nil {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	w := &simWatcher{process: s.kernel.Start("watch", s.uid), stop: stop, audit: make(chan struct{}, 1), ended: make(chan error, 1), backend: backend}
	w.process.Scheduled = true
	w.process.Fault = s.nextFault
	s.watcher = w
	s.as(w.process)
	config := watch.Config{
		Root: simRoot, Backend: backend, Audit: w.audit, Exclude: s.exclude,
		Now: func() mtree.Stamp { return mtree.FromTime(w.process.Now()) },
		Log: slog.New(slog.NewTextHandler(&s.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	go func() { w.ended <- run(ctx, config) }()
}

// as lets p make the calls that name no descriptor, until the returned function is called.
func (s *simulation) as(p *simkernel.Process) (back func()) {
	was := s.user
	s.user = p
	s.front.Use(p)
	return func() {
		s.user = was
		s.front.Use(was)
	}
}

// neverFails reports whether the kernel refuses a call for want of nothing: it gives something up.
func neverFails(call string) bool {
	unlocks := strings.HasPrefix(call, "fcntl(") && strings.HasSuffix(call, fmt.Sprintf(", %d)", unix.F_UNLCK))
	return unlocks || strings.HasPrefix(call, "close(") || strings.HasPrefix(call, "inotify_rm_watch(") || call[0] == '('
}

// nextFault returns the error with which the next call of watch fails; nil if it does not.
func (s *simulation) nextFault(_ int, call string) error {
	if s.faults == 0 || neverFails(call) || !strings.Contains(call, s.only) {
		return nil
	}
	if s.skip > 0 {
		s.skip--
		return nil
	}
	s.faults--
	return s.fails
}

// kill ends the watcher as SIGKILL does.
func (s *simulation) kill() {
	if w := s.watcher; w != nil {
		s.watcher = nil
		w.process.Kill()
		w.stop()
		s.await(func() bool { return len(w.ended) > 0 })
	}
}

// await drains the calls of killed processes until they are gone. For the machine no time passes.
func (s *simulation) await(gone func() bool) {
	began := time.Now()
	for s.order.Drain(); !gone(); s.order.Drain() {
		s.order.Pass(time.Second)
	}
	s.kernel.StandStill(time.Since(began))
}

// crash cuts the power.
func (s *simulation) crash(rng *rand.Rand) {
	s.kernel.Crash(rng)
	s.open = 0
	if w := s.watcher; w != nil {
		s.watcher = nil
		w.stop()
		s.await(func() bool { return len(w.ended) > 0 })
	}
	s.await(func() bool { return !s.reader.busy.Load() })
	if s.reader.parts != nil {
		s.reader.parts.restart()
	}
	s.shell = s.kernel.Shell(0)
	s.own() // a change of rights may have been lost
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
			s.ended(w, err)
			return
		default:
		}
		if !s.order.Step() {
			s.order.Pass(time.Millisecond)
		}
	}
	s.fail("watch does not end")
	s.kill()
}

// look notices that the watcher ended by itself.
func (s *simulation) look() {
	if s.watcher == nil {
		return
	}
	select {
	case err := <-s.watcher.ended:
		w := s.watcher
		s.watcher = nil
		s.ended(w, err)
	default:
	}
}

func (s *simulation) ended(w *simWatcher, err error) {
	if w.once {
		s.onceEnded(err)
		return
	}
	if err != nil && s.trouble {
		return // it may give up, if it says why
	}
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
