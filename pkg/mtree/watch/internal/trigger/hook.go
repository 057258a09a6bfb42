package trigger

import (
	"bytes"
	"context"
	"iter"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/machine"
)

// Hook runs the command of --exec, never twice at once. The paths of changes come on
// its stdin, each ended by NUL. Changes during a run wait for the next one; so
// do the paths of a run that failed.
//
// Its owner calls Ended with each value from Done, and Next when something comes
// from Retry.
type Hook struct {
	command  string // run by sh -c; "": nothing is run
	log      *slog.Logger
	runs     *atomic.Int64
	failures *atomic.Int64

	waiting map[string]bool // paths for the next run
	running []string        // paths of this run
	began   chan group      // of this run
	done    chan error      // nil while none runs
	earlier []group         // of earlier runs that left something running
	retry   chan struct{}   // a failed run may be tried again
	pause   *time.Timer     // after a failure
	fails   int             // in a row
	stopped bool            // no run is started any more
}

const (
	// At most maxPaths paths wait for a hook. If there are more, the root stands for all of
	// them.
	maxPaths = 100_000

	hookGrace = 3 * time.Second // from SIGTERM to SIGKILL when watch stops
	maxPause  = time.Minute     // between runs that fail
)

// NewHook returns a Hook for a command, "" for none. It counts its runs, and those
// that failed.
func NewHook(command string, log *slog.Logger, runs, failures *atomic.Int64) *Hook {
	return &Hook{command: command, log: log, runs: runs, failures: failures, retry: make(chan struct{}, 1)}
}

// Done returns the channel on which the end of the run comes; nil while none runs.
func (h *Hook) Done() <-chan error { return h.done }

// Retry returns the channel that says when a failed run is due again.
func (h *Hook) Retry() <-chan struct{} { return h.retry }

// Add adds changes for the next run, and starts it if none is under way.
func (h *Hook) Add(changes []Change) {
	if h.command == "" {
		return
	}
	h.note(func(yield func(path string) bool) {
		for _, c := range changes {
			if !yield(c.Path) {
				return
			}
		}
	})
	h.Next()
}

// note adds paths to those of the next run.
func (h *Hook) note(paths iter.Seq[string]) {
	if h.waiting == nil {
		h.waiting = map[string]bool{}
	}
	for path := range paths {
		h.waiting[path] = true
	}
	if len(h.waiting) > maxPaths {
		h.waiting = map[string]bool{mtree.DirPath(""): true}
	}
}

// Next starts a run if there are paths for it and none is under way.
func (h *Hook) Next() {
	if h.stopped || h.running != nil || len(h.waiting) == 0 {
		return
	}
	if h.pause != nil {
		h.pause.Stop()
	}
	h.running, h.waiting = slices.Sorted(maps.Keys(h.waiting)), nil
	h.began, h.done = make(chan group, 1), make(chan error, 1)
	h.runs.Add(1)
	go run(h.command, h.running, h.began, h.done)
}

// run runs the command in our working directory. It drops the capabilities of its thread,
// so that the child inherits none, and then gives up the thread: the capabilities are for
// the watcher, not for its hooks.
func run(command string, paths []string, began chan<- group, done chan<- error) {
	runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
	cmd := exec.Command("/bin/sh", "-c", command)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = hookGrace // for children that still run to take the rest of stdin
	var stdin bytes.Buffer
	for _, path := range paths {
		stdin.WriteString(path)
		stdin.WriteByte(0)
	}
	cmd.Stdin = &stdin
	err := machine.DropAmbient()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		began <- 0
		done <- err
		return
	}
	began <- group(cmd.Process.Pid)
	done <- cmd.Wait()
}

// over records that the run is over.
func (h *Hook) over() {
	h.earlier = slices.DeleteFunc(append(h.earlier, <-h.began), group.gone)
	h.running, h.done = nil, nil
}

// Ended handles the end of a run; err came from Done.
func (h *Hook) Ended(err error) {
	ran := h.running
	h.over()
	if err == nil {
		h.fails = 0
		h.Next()
		return
	}
	h.failures.Add(1)
	h.log.Error("--exec failed: its paths are given to the next run", "error", err, "paths", len(ran),
		"remedy", "mend the command: it is run again by itself, each time after a longer pause")
	h.note(slices.Values(ran))
	wait := min(time.Second<<min(h.fails, 10), maxPause)
	h.fails++
	h.pause = time.AfterFunc(wait, func() {
		select {
		case h.retry <- struct{}{}:
		default:
		}
	})
}

// Stop ends a running command, and all that earlier ones left running in their process
// groups. No other run is started. It takes a few seconds at most.
func (h *Hook) Stop() {
	h.stopped = true
	if h.pause != nil {
		h.pause.Stop()
	}
	groups := slices.DeleteFunc(h.earlier, group.foreign)
	h.earlier = nil
	if h.running != nil {
		groups = append(groups, <-h.began)
	}
	endGroups(groups, hookGrace)
	if h.running == nil {
		return
	}
	select {
	case err := <-h.done:
		if err != nil {
			h.log.Warn("--exec was stopped, because watch ends", "error", err,
				"remedy", "run the command by hand if it must see what changed last")
		}
	case <-time.After(hookGrace / 3):
		h.log.Warn("--exec cannot be stopped, though watch ends", "remedy", "look what it waits for (ps), and end it by hand")
	}
	h.running, h.done = nil, nil
}

// Wait lets all runs end, for a watcher that runs once. The error of a run that failed
// has code exit.Failed.
func (h *Hook) Wait(ctx context.Context) error {
	for h.running != nil {
		select {
		case err := <-h.done:
			h.over()
			if err != nil {
				return exit.With(exit.Failed, err, "--exec failed")
			}
			h.Next()
		case <-ctx.Done():
			return ctx.Err() // Stop ends it
		}
	}
	return nil
}
