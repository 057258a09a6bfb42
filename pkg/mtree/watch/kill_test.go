package watch

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"tidemark/pkg/mtree/internal/disk"
)

// TestMain runs a watcher or a churner instead of the tests where it is told
// to.
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
	err := Run(context.Background(), Config{Root: root, Backend: os.Getenv("WATCH_TEST_BACKEND"), Log: log})
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// process starts a watcher in a process of its own.
func process(t *testing.T, root, backend string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "WATCH_TEST_ROOT="+root, "WATCH_TEST_BACKEND="+backend)
	cmd.Stderr = os.Stderr
	if !testing.Verbose() {
		cmd.Stderr = nil
	}
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd
}

// TestKilled: killed at random times under churn and started again, nothing is
// missed, and no reader has to compare everything.
func TestKilled(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		seed := uint64(time.Now().UnixNano())
		t.Logf("seed %d", seed)
		root, outside := newTree(t, "a/b/c/", "b/", "f = x"), newTree(t)
		dir, err := disk.OpenRoot(root)
		must(t, err)
		defer dir.Close()
		random := rand.New(rand.NewPCG(seed, 99))
		r := newReader(t)
		status := &running{t: t, root: root}
		for round := range 6 {
			watcher := process(t, root, backend)
			require.Eventually(t, func() bool {
				s := status.status()
				return s.Status.PID == watcher.Process.Pid && s.State == disk.Watched
			},
				deadline, time.Millisecond)
			for !r.pass(dir) {
			}
			var writing sync.WaitGroup
			for id := range 2 {
				c := newChurner(root, outside, seed, 10*round+id)
				writing.Go(func() {
					for range 150 {
						c.step()
					}
				})
			}
			for range random.IntN(30) {
				r.pass(dir)
			}
			must(t, watcher.Process.Kill())
			_ = watcher.Wait()
			writing.Wait()
		}
		w := start(t, Config{Root: root, Backend: backend})
		w.sync()
		r.catchesUp(dir, fmt.Sprint("seed ", seed))
		require.EqualValues(t, 1, w.status().Tree.Epoch)
	})
}

// In a process of its own the watcher drops its own events by pid, and hears
// all others.
func TestOwnEventsByPID(t *testing.T) {
	root := newTree(t, "a/b/f = x")
	watcher := process(t, root, "fanotify")
	r := &running{t: t, root: root}
	r.await(disk.Watched)
	seen := logStamps(t, root)
	must(t, os.Chmod(root+"/a/b", 0o700))
	r.sync()
	seen.fresh("chmod of a directory", "a")
	before := everyTime(t, root)
	r.sync()
	r.sync()
	require.Equal(t, before, everyTime(t, root))
	must(t, watcher.Process.Kill())
	_ = watcher.Wait()
}
