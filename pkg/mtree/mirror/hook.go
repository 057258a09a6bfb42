package mirror

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/sys"
	"tidemark/pkg/mtree/mirror/internal/actions"
	"tidemark/pkg/mtree/mirror/internal/pass"
	"tidemark/pkg/mtree/mirror/internal/replica"
)

// hook is the command of --exec, and what it was not told yet. If a mirror is stopped or killed
// before its command ran, a note in .tidemark remains (Replica.SetUntold): the next one does not know
// what changed, and tells the root.
type hook struct {
	config *Config
	due    bool          // something changed since it ran
	paths  actions.Paths // what changed
	noted  atomic.Bool   // the note is there
	noting sys.Mutex     // while it is made
	stamp  mtree.Stamp   // of the source's root, as the last pass listed it
}

// hookGrace is how long the command may take to end, after SIGTERM, when mirror stops, and what it
// left running to take the rest of stdin.
const hookGrace = 3 * time.Second

// wanted reports whether there is a command that may run.
func (h *hook) wanted() bool { return h.config.Exec != "" && !h.config.DryRun }

// recall looks whether an earlier mirror left something untold.
func (h *hook) recall(r *replica.Replica) {
	if h.wanted() && r.IsUntold() { // guard: TestExecIsOwedAfterAKill
		h.due = true
		h.noted.Store(true)
		h.paths.AddAll()
	}
}

// changing leaves the note, before anything changes. Several goroutines may call it.
func (h *hook) changing(r *replica.Replica) {
	if h.noted.Load() {
		return
	}
	h.noting.Lock()
	defer h.noting.Unlock()
	if h.noted.Load() {
		return
	}
	// Nobody changes anything before the note is there.
	defer h.noted.Store(true) // guard (defer h.noted.Store(true) -> h.noted.Store(true)): TestTheNoteComesBeforeAnyChange
	if err := r.SetUntold(); err != nil {
		h.config.Log.Warn("--exec: if mirror is killed now, the command is never told what changed", "error", err, "remedy", replica.MakeRoom)
	}
}

// note notes what became of a pass.
func (h *hook) note(r *pass.Result) {
	h.due = h.due || r.Changed
	if r.Root != (mtree.Stamp{}) {
		h.stamp = r.Root
	}
}

// run runs the command if something changed since it ran, and waits until it has ended. The paths of
// what changed come on its stdin. If it fails, they wait for its next run.
func (h *hook) run(ctx context.Context, r *replica.Replica) error {
	if !h.wanted() {
		return nil
	}
	if h.due {
		h.config.Stats.HookRuns.Add(1)
		if err := h.execute(ctx, r.Path); err != nil {
			h.config.Stats.HookErrors.Add(1)
			if ctx.Err() != nil { // guard: TestExecThatIsInterrupted
				return context.Cause(ctx)
			}
			return exit.With(exit.Failed, fmt.Errorf("--exec: %w", err), "the paths of what changed are given to its next run")
		}
		h.due = false
		h.paths.Clear()
	}
	if h.noted.Swap(false) {
		if err := r.ClearUntold(); err != nil {
			h.config.Log.Warn("--exec: the next start runs it for the whole copy", "error", err,
				"remedy", "none is needed, if the command may be told too much")
		}
	}
	return nil
}

// execute runs the command in the copy, in a process group of its own. When ctx ends, the group gets
// SIGTERM, and hookGrace after that SIGKILL.
func (h *hook) execute(ctx context.Context, dest string) error {
	cmd := exec.CommandContext(ctx, "sh", "-c", h.config.Exec)
	cmd.Dir = dest
	if path, err := filepath.Abs(dest); err == nil { // it can be named from elsewhere
		dest = path
	}
	cmd.Env = append(os.Environ(), "TIDEMARK_ROOT="+dest, "TIDEMARK_STAMP="+h.stamp.String())
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(h.paths.Text()), os.Stderr, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var end time.Time // when the group gets SIGKILL
	cmd.Cancel = func() error {
		end = time.Now().Add(hookGrace)
		return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
	}
	cmd.WaitDelay = hookGrace
	err := cmd.Run()
	if !end.IsZero() {
		endGroup(cmd.Process.Pid, end)
	}
	if errors.Is(err, exec.ErrWaitDelay) {
		return nil // it has ended well, but something that it left running does not read its stdin
	}
	return err
}

// endGroup waits for what is left of a process group that got SIGTERM, and ends it at that time.
func endGroup(group int, end time.Time) {
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for ; time.Now().Before(end); <-look.C {
		if syscall.Kill(-group, 0) != nil {
			return // all have ended
		}
	}
	_ = syscall.Kill(-group, syscall.SIGKILL)
}
