package calls_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/proof"
	"tidemark/proof/calls"
)

func TestMain(m *testing.M) { os.Exit(proof.Main(m, "tidemark/proof/calls/failing")) }

// mostHits is how often a program may try again while a fault lasts, which is 2 s. fanotify hears
// the whole file system, and looks for the directory of each event: of what other tests do there, too.
const (
	mostHits    = 10_000
	mostHandles = 10 * mostHits
)

// patience is how long anything may take. Nothing takes that long unless it is broken.
const patience = 60 * time.Second

// scenario is a run of a program that faults are put into.
type scenario struct {
	name string
	run  func(t *testing.T, f *fault) // fails the test if something is wrong
}

// put puts a fault into a run of the scenario.
func (s scenario) put(t *testing.T, f *fault) {
	t.Helper()
	s.run(t, f)
	most := int64(mostHits)
	if f.Call == "open_by_handle_at" {
		most = mostHandles
	}
	require.Less(t, f.hits.Load(), most, "it tries again and again without a pause")
}

// fault is what a scenario's run is disturbed by: nothing at first.
type fault struct {
	calls.Fault
	supervisor *calls.Supervisor
	trace      []calls.Call // the calls that it may hit, once the run has ended
	hits       atomic.Int64
	over       atomic.Bool
	one        bool // GOMAXPROCS=1
	plain      bool // no extended attributes below copy
}

// supervise makes the supervisor of the calls below base.
func (f *fault) supervise(t *testing.T, base string) {
	t.Helper()
	decide := f.Decider(func(*calls.Call) { f.hits.Add(1) }, f.over.Load)
	f.supervisor = &calls.Supervisor{Base: base, Decide: func(c *calls.Call) *calls.Answer {
		answer := decide(c)
		if answer == nil && f.plain && strings.HasSuffix(c.Name, "xattr") && strings.HasPrefix(c.Path+"/", "copy/") {
			return &calls.Answer{Errno: syscall.EOPNOTSUPP}
		}
		return answer
	}}
	require.NoError(t, f.supervisor.Start())
	t.Cleanup(func() { require.NoError(t, f.supervisor.Stop()) })
}

// finish runs a program to its end, supervised or not.
func (f *fault) finish(t *testing.T, supervised bool, args ...string) ended {
	t.Helper()
	if !supervised {
		return program(t, args...)
	}
	return finish(t, proof.Command{Args: f.supervisor.Command(args...), Dir: t.TempDir(), Env: f.env()})
}

// env is the environment of the program that faults are put into.
func (f *fault) env() []string {
	if f.one {
		return []string{"GOMAXPROCS=1"}
	}
	return nil
}

// hit reports whether the fault hit anything so far.
func (f *fault) hit() bool { return f.hits.Load() > 0 }

// isFault reports whether what happened so far may be noticed: neither signals nor short
// reads and writes may.
func (f *fault) isFault() bool { return f.hit() && !f.is("EINTR", "short") }

// is reports whether the fault was a call that failed with one of these.
func (f *fault) is(what ...string) bool {
	for _, w := range what {
		if f.What == w && f.hit() {
			return true
		}
	}
	return false
}

// can returns what a call of the scenario may fail with. What permissions refuse at a
// source is no fault: a copy is complete without it.
func (s scenario) can(c *calls.Call) []string {
	can := c.CanFailWith()
	if strings.HasPrefix(s.name, "mirror") && strings.HasPrefix(c.Path+"/", "src/") {
		can = slices.DeleteFunc(can, func(what string) bool { return what == "EACCES" })
	}
	return can
}

func allScenarios() []scenario {
	return slices.Concat(mirrorScenarios(), watchScenarios(), serveScenarios())
}

// record returns the calls of a scenario that nothing disturbs.
func (s scenario) record(t *testing.T) []calls.Call {
	f := &fault{one: true}
	if !t.Run("record-"+s.name, func(t *testing.T) { s.run(t, f) }) {
		t.FailNow()
	}
	if f.trace != nil {
		return f.trace
	}
	return f.supervisor.Trace()
}

// rounds puts one fault after the other into the scenarios, or the one in PROOF_CASE:
// 'mirror-update renameat copy/a/f1 1 EIO once'.
func rounds(t *testing.T, n int, scenarios []scenario) {
	t.Parallel() // they wait for one another's programs
	if text := proof.Case(); text != "" {
		parsed, err := calls.ParseFault(text)
		require.NoError(t, err)
		f := &fault{Fault: parsed, one: true}
		runScenario(t, f)
		require.True(t, f.hit(), "the fault hit no call")
		return
	}
	recorded := map[string][]calls.Call{}
	for _, s := range scenarios {
		recorded[s.name] = s.record(t)
	}
	failed, kills := 0, 0
	proof.Rounds(t, n, func(t *testing.T, seed uint64) {
		random := rand.New(rand.NewPCG(seed, 3))
		s := scenarios[random.IntN(len(scenarios))]
		all := recorded[s.name]
		c := all[random.IntN(len(all))]
		can := s.can(&c)
		f := &fault{Fault: calls.Fault{Scenario: s.name, Call: c.Name, Path: c.Path, Nth: c.Nth, What: can[random.IntN(len(can))], Mode: calls.Once}, one: random.IntN(2) == 0}
		if f.What != "EINTR" && f.What != "kill" && f.What != "short" {
			f.Mode = []string{calls.Once, calls.Here, calls.On}[random.IntN(3)]
		}
		t.Logf("fault: %s", f)
		t.Cleanup(func() {
			if t.Failed() {
				t.Log(proof.ReplayCase(t.Name(), f.String()))
			}
		})
		s.put(t, f)
		switch {
		case f.hit() && f.What == "kill":
			kills++
		default:
			failed += int(f.hits.Load())
		}
	})
	proof.Count("calls failed", failed)
	proof.Count("kills at a call", kills)
	t.Logf("%d calls failed, %d kills at a call", failed, kills)
}

// runScenario runs the scenario that the fault names.
func runScenario(t *testing.T, f *fault) {
	t.Helper()
	for _, s := range allScenarios() {
		if s.name == f.Scenario {
			s.put(t, f)
			return
		}
	}
	require.Fail(t, "no such scenario", f.Scenario)
}

// tempDir is a directory in memory, without symlinks in its path.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "tidemark-calls-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}

// ended is how a program ended.
type ended struct {
	code int // -1: by a signal
	log  string
}

// program runs a program to its end, without faults.
func program(t *testing.T, args ...string) ended {
	t.Helper()
	return finish(t, proof.Command{Args: args, Dir: t.TempDir()})
}

// finish runs a program to its end.
func finish(t *testing.T, c proof.Command) ended {
	t.Helper()
	c.Log = filepath.Join(c.Dir, "log")
	_ = os.Remove(c.Log)
	p, err := proof.Launch(c)
	require.NoError(t, err)
	select {
	case <-p.Done:
	case <-time.After(patience):
		p.Kill()
		require.Fail(t, "it hangs", "%v\n%s", c.Args, p.Logged())
	}
	return endOf(p)
}

func endOf(p *proof.Process) ended {
	e := ended{log: p.Logged()}
	var exit *exec.ExitError
	if errors.As(p.Err, &exit) {
		e.code = exit.ExitCode()
	}
	return e
}

// must runs a program, which has to end with this code.
func must(t *testing.T, code int, args ...string) ended {
	t.Helper()
	e := program(t, args...)
	require.Equal(t, code, e.code, "%v\n%s", args, e.log)
	return e
}

// within asks again and again until nothing is wrong, or patience has ended.
func within(t *testing.T, wrong func() string, p *proof.Process) {
	t.Helper()
	deadline := time.Now().Add(patience)
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		what := wrong()
		if what == "" {
			return
		}
		require.True(t, time.Now().Before(deadline), "%s\n%s", what, p.Logged())
		<-again.C
	}
}

func noPanic(t *testing.T, log string) {
	t.Helper()
	require.NotContains(t, log, "panic:")
	require.NotContains(t, log, "goroutine ")
}
