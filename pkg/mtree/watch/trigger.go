package watch

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"syscall"
	"time"

	"tidemark/internal/outlet"
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// triggered reports whether somebody wants to know the paths of changes.
func (w *watcher) triggered() bool { return w.Exec != "" || w.Print != nil }

const (
	// printBound is how much --print keeps for a reader who is slow, in bytes:
	// some 150,000 lines.
	printBound = 8 << 20

	// printPatience is how long stamping waits for him, until he has been slow
	// once: so what a --sync covers stands in the output when it is answered.
	printPatience = 100 * time.Millisecond

	printGrace = time.Second // for him to take the rest when watch stops

	// oncePatience is both for a watcher that runs once: its lines come all
	// together, and nobody waits for stamps to come.
	oncePatience = time.Minute
)

// printer is where the lines of --print go.
type printer struct {
	*outlet.Outlet           // nil: no printing
	told           int64     // lost lines that the log tells of
	toldAt         time.Time // when it did so last
}

// printTo begins to print.
func (w *watcher) printTo(patience time.Duration) {
	if w.Print != nil {
		w.printer.Outlet = outlet.New(w.Print, printBound, patience, lostLines)
	}
}

// lostLines stands for lines of --print that were lost. It has the stamp of the last
// of them, and is no PATH: that has no blanks.
func lostLines(n int, last []byte) []byte {
	stamp, _, _ := bytes.Cut(last, []byte("\t"))
	return fmt.Appendf(nil, "%s\tlost %d lines\n", stamp, n)
}

// print writes a line for each change.
func (w *watcher) print(changes []change) error {
	var text []byte
	for _, c := range changes {
		text = append(c.stamp.Append(text), '\t')
		text = append(mtree.AppendEscaped(text, c.path), '\n')
	}
	if _, err := w.printer.Write(text); err != nil {
		return exit.With(exit.Local, fmt.Errorf("--print: %w", err), "")
	}
	w.tellLost(false)
	return nil
}

// tellLost counts the lines that were lost, and logs them, not too often.
func (w *watcher) tellLost(last bool) {
	lost := w.printer.Lost()
	w.Stats.PrintLost.Store(lost)
	if lost == w.printer.told || !last && time.Since(w.printer.toldAt) < lossPause {
		return
	}
	w.Log.Warn("--print: lines were lost, because their reader is too slow", "lines", lost-w.printer.told)
	w.printer.told, w.printer.toldAt = lost, time.Now()
}

// endPrinting gives the reader a while to take what he has not, and returns how
// many lines he did not take.
func (w *watcher) endPrinting(wait time.Duration) (left int, err error) {
	if w.printer.Outlet == nil {
		return 0, nil
	}
	if left, err = w.printer.Close(wait); err != nil {
		return left, exit.With(exit.Local, fmt.Errorf("--print: %w", err), "")
	}
	w.tellLost(true)
	return left, nil
}

// allPrinted ends printing for a watcher that runs once.
func (w *watcher) allPrinted() error {
	left, err := w.endPrinting(oncePatience)
	if err == nil && left > 0 {
		err = exit.With(exit.Failed, fmt.Errorf("--print: its reader did not take the last %d lines", left), "the changes are published")
	}
	return err
}

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
