package watch

import (
	"bytes"
	"context"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"syscall"
	"time"

	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// triggered reports whether somebody wants to know the paths of changes.
func (w *watcher) triggered() bool { return w.Exec != "" || w.Print != nil }

// trigger hands the changes of a published batch to --print and --exec.
func (w *watcher) trigger(changes []change) error {
	if len(changes) == 0 {
		return nil
	}
	if w.Print != nil {
		if err := w.print(changes); err != nil {
			return err
		}
	}
	if w.Exec != "" {
		w.hook.add(changes)
		w.hook.next(w)
	}
	return nil
}

// hook runs the command of --exec, never twice at once. What changes meanwhile
// waits for the next run; so do the paths of a run that failed.
type hook struct {
	waiting map[string]bool // paths for the next run
	running []string        // paths of this run
	began   chan group      // of this run
	done    chan error      // nil while none runs
	left    []group         // of earlier runs, which left something running
	pause   *time.Timer     // after a failure
	fails   int             // in a row
	stopped bool            // no run is started any more
}

const (
	// maxHookPaths bounds what waits for a hook, in paths; beyond it the
	// root stands for everything.
	maxHookPaths = 100_000

	hookGrace    = 3 * time.Second // from SIGTERM to SIGKILL when watch stops
	maxHookPause = time.Minute     // between runs that fail
)

func (h *hook) add(changes []change) {
	if h.waiting == nil {
		h.waiting = map[string]bool{}
	}
	for _, c := range changes {
		h.waiting[c.path] = true
	}
	if len(h.waiting) > maxHookPaths {
		h.waiting = map[string]bool{dirLine(""): true}
	}
}

// next starts a run if there is something to tell and none is under way.
func (h *hook) next(w *watcher) {
	if h.stopped || h.running != nil || len(h.waiting) == 0 {
		return
	}
	if h.pause != nil {
		h.pause.Stop()
	}
	h.running, h.waiting = sortedKeys(h.waiting), nil
	h.began, h.done = make(chan group, 1), make(chan error, 1)
	w.Stats.HookRuns.Add(1)
	go runHook(w.Exec, h.running, h.began, h.done)
}

// runHook runs the command in the root's place: its working directory is ours.
// It gives up the thread it ran on, whose capabilities it dropped for the child
// to inherit none: the watcher's own were given to it, not to its hooks.
func runHook(command string, paths []string, began chan<- group, done chan<- error) {
	runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
	cmd := exec.Command("/bin/sh", "-c", command)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = hookGrace // for what it left running to take the rest of stdin
	var stdin bytes.Buffer
	for _, path := range paths {
		stdin.WriteString(path)
		stdin.WriteByte(0)
	}
	cmd.Stdin = &stdin
	err := disk.DropAmbient()
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

// over takes note that the run is over.
func (h *hook) over() {
	h.left = slices.DeleteFunc(append(h.left, <-h.began), group.gone)
	h.running, h.done = nil, nil
}

// ended takes the end of a run.
func (h *hook) ended(w *watcher, err error) {
	ran := h.running
	h.over()
	if err == nil {
		h.fails = 0
		h.next(w)
		return
	}
	w.Stats.HookErrors.Add(1)
	w.Log.Error("--exec failed: its paths are given to the next run", "err", err, "paths", len(ran))
	changes := make([]change, len(ran))
	for i, path := range ran {
		changes[i].path = path
	}
	h.add(changes)
	wait := min(time.Second<<min(h.fails, 10), maxHookPause)
	h.fails++
	h.pause = time.AfterFunc(wait, func() {
		select {
		case w.retryHook <- struct{}{}:
		default:
		}
	})
}

// stop ends a running command when the watcher stops, and all that earlier ones left
// running in their process groups; no other is started.
func (h *hook) stop(w *watcher) {
	h.stopped = true
	if h.pause != nil {
		h.pause.Stop()
	}
	groups := slices.DeleteFunc(h.left, group.foreign)
	h.left = nil
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
			w.Log.Warn("--exec was stopped", "err", err)
		}
	case <-time.After(hookGrace / 3):
		w.Log.Warn("--exec cannot be stopped")
	}
	h.running, h.done = nil, nil
}

// wait lets the commands end, for a watcher that runs once.
func (h *hook) wait(ctx context.Context, w *watcher) error {
	for h.running != nil {
		select {
		case err := <-h.done:
			h.over()
			if err != nil {
				return exit.With(exit.Failed, err, "--exec failed")
			}
			h.next(w)
		case <-ctx.Done():
			return ctx.Err() // stop ends it
		}
	}
	return nil
}
