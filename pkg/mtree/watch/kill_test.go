package watch_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"tidemark/internal/testfs"
	"tidemark/pkg/mtree/watch"
	"tidemark/pkg/mtree/wire"
)

// TestMain runs a watcher or a churner instead of the tests if the environment says so.
func TestMain(m *testing.M) {
	if spec := os.Getenv(churnEnv); spec != "" {
		if err := runChurner(spec); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	root := os.Getenv("WATCH_TEST_ROOT")
	if root == "" {
		code := m.Run()
		if err := goleak.Find(); err != nil && code == 0 {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		os.Exit(code)
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	audits := make(chan os.Signal, 1)
	signal.Notify(audits, syscall.SIGHUP)
	ask := make(chan struct{})
	go func() {
		for range audits {
			ask <- struct{}{}
		}
	}()
	err := watch.Run(context.Background(), watch.Config{Root: root, Backend: os.Getenv("WATCH_TEST_BACKEND"), Log: log, Audit: ask})
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// process is a watcher in a process of its own.
type process struct {
	t   testing.TB
	cmd *exec.Cmd
}

// limits guards the sysctls, which all programs share. A watcher that starts holds it for
// reading, a test that lowers a sysctl for writing.
var limits sync.RWMutex

func startProcess(t testing.TB, root, backend string, log io.Writer) *process {
	limits.RLock()
	defer limits.RUnlock()
	return spawn(t, root, backend, log)
}

// startShort starts one whose kernel queue is short.
func startShort(t testing.TB, root, backend string, log io.Writer) (p *process) {
	limits.Lock()
	defer limits.Unlock()
	queue := backend
	if backend == "none" { // has a queue for its cookies
		queue = "inotify"
	}
	testfs.WithSysctl(t, "fs."+queue+".max_queued_events", shortQueue, func() { p = spawn(t, root, backend, log) })
	return p
}

const shortQueue = 20

// spawn returns when the watcher has its queue.
func spawn(t testing.TB, root, backend string, log io.Writer) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "WATCH_TEST_ROOT="+root, "WATCH_TEST_BACKEND="+backend)
	cmd.Stderr = log
	must(t, cmd.Start())
	p := &process{t, cmd}
	t.Cleanup(p.kill)
	r := &running{t: t, root: root}
	require.Eventually(t, func() bool {
		s := r.status().Status
		return s.PID == cmd.Process.Pid && s.Backend != ""
	}, deadline, time.Millisecond, log)
	return p
}

// kill ends the process by SIGKILL.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// ready waits until the start audit is done, or one after a loss.
func (p *process) ready(r *running) {
	p.t.Helper()
	require.Eventually(p.t, func() bool {
		s := r.status()
		return s.Status.PID == p.cmd.Process.Pid && (s.State == wire.Watched || s.State == wire.Audited)
	}, deadline, time.Millisecond, r.log)
}

// In a process of its own the watcher drops its own events by pid, and hears
// all others.
func TestOwnEventsByPID(t *testing.T) {
	root := newTree(t, "a/b/f = x")
	r := &running{t: t, root: root, log: new(logged)}
	startProcess(t, root, "fanotify", r.log)
	r.await(wire.Watched)
	seen := logStamps(t, root)
	must(t, os.Chmod(root+"/a/b", 0o700))
	r.sync()
	seen.fresh("chmod of a directory", "a")
	r.sync() // a record of what was stamped comes a Take later
	before := everyTime(t, root)
	r.sync()
	r.sync()
	require.Equal(t, before, everyTime(t, root))
}
