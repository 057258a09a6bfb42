package calls_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/proof"
)

// watchRun is a watch that faults are put into. A copy follows by way of serve, which
// runs all the time; that it becomes equal is the proof that no change was lost.
type watchRun struct {
	backend  string // "": an audit by --once
	first    bool   // no watch ran on the tree before
	unmarked bool   // its .tidemark was removed
}

func watchScenarios() []scenario {
	return []scenario{
		{"watch-first", watchRun{first: true}.run},
		{"watch-audit", watchRun{}.run},
		{"watch-unmarked", watchRun{unmarked: true}.run},
		{"watch-sync", syncs},
		{"watch-inotify", watchRun{backend: "inotify"}.run},
		{"watch-fanotify", watchRun{backend: "fanotify"}.run},
	}
}

func TestWatch(t *testing.T) { rounds(t, 7, watchScenarios()) }

func (r watchRun) run(t *testing.T, f *fault) {
	base := tempDir(t)
	w := &watched{src: filepath.Join(base, "src"), copy: filepath.Join(base, "copy")}
	plant(t, w.src)
	if !r.first {
		must(t, 0, "watch", "--once", w.src)
	}
	w.served = publish(t, w.src)
	w.follow(t)
	if r.unmarked {
		require.NoError(t, os.RemoveAll(filepath.Join(w.src, ".tidemark")))
	}
	f.supervise(t, base)
	if r.backend == "" {
		r.once(t, f, w)
	} else {
		r.stay(t, f, w)
	}
	must(t, 0, "watch", "--once", w.src)
	if r.unmarked { // serve may need a moment to see the id again
		require.Eventually(t, func() bool { return w.pass(t).code == 0 }, patience, 10*time.Millisecond, "a pass fails again and again")
	}
	w.follow(t)
	w.same(t, "")
	require.Eventually(t, func() bool { // serve needs a moment to see the end of the first audit
		before := w.served.requests(t)
		w.follow(t)
		return w.served.requests(t)-before == 1
	}, patience, 10*time.Millisecond, "no single request when nothing changes\n%s", w.log)
}

// syncs puts faults into watch --sync, which asks a watch without faults.
func syncs(t *testing.T, f *fault) {
	base := tempDir(t)
	w := &watched{src: filepath.Join(base, "src"), copy: filepath.Join(base, "copy")}
	plant(t, w.src)
	p := launch(t, nil, "watch", w.src)
	require.NoError(t, p.WaitReady(patience))
	w.served = publish(t, w.src)
	// The end of the first audit begins an epoch: a pass that goes on then is incomplete.
	require.Eventually(t, func() bool { return w.state() == "watched" }, patience, 10*time.Millisecond, p.Logged())
	w.follow(t)
	change(t, w.src)
	f.supervise(t, base)
	e := f.finish(t, true, "watch", "--sync", w.src)
	w.log += e.log + p.Logged()
	w.judge(t, f, e)
	if e.code == 0 {
		w.follow(t)
		w.same(t, "after --sync")
	}
}

// watched is a tree and what follows it.
type watched struct {
	src, copy string
	served    *served
	log       string
}

// follow makes one pass of the copy.
func (w *watched) follow(t *testing.T) {
	t.Helper()
	w.log += must(t, 0, "mirror", "--once", w.served.url, w.copy).log
}

// followMeanwhile makes a pass while the tree may change, or has lost its id: then the
// copy holds deletions.
func (w *watched) followMeanwhile(t *testing.T) {
	t.Helper()
	codes := []int{0, 1}
	if _, err := os.Lstat(filepath.Join(w.src, ".tidemark/tree")); os.IsNotExist(err) {
		codes = append(codes, 5)
	}
	require.Contains(t, codes, w.pass(t).code, w.log)
}

// pass makes one pass of the copy, which may end in any way.
func (w *watched) pass(t *testing.T) ended {
	t.Helper()
	e := program(t, "mirror", "--once", w.served.url, w.copy)
	w.log += e.log
	return e
}

// same fails unless the copy equals the tree. Directories may have other times: a stamp
// that a directory refused is in .tidemark/stamps.
func (w *watched) same(t *testing.T, why string) {
	t.Helper()
	trees := [2]snapshot{look(t, w.src), look(t, w.copy)}
	for _, tree := range trees {
		for path, text := range tree {
			if isDir(text) {
				tree[path] = strings.Fields(text)[0]
			}
		}
	}
	require.Equal(t, trees[0], trees[1], "%s\n%s", why, w.log)
}

// once is a single audit.
func (r watchRun) once(t *testing.T, f *fault, w *watched) {
	change(t, w.src)
	e := finish(t, proof.Command{Args: f.supervisor.Command("watch", "--once", w.src), Dir: t.TempDir(), Env: f.env()})
	w.log += e.log
	w.judge(t, f, e)
	if e.code != 0 {
		w.followMeanwhile(t)
		return
	}
	w.follow(t)
	w.same(t, "exit code 0")
}

// judge looks at how a watch ended.
func (w *watched) judge(t *testing.T, f *fault, e ended) {
	t.Helper()
	noPanic(t, e.log)
	switch {
	case f.is("kill"):
		require.Equal(t, -1, e.code, e.log)
	case e.code == 143 && isBusy(t): // not stopped within 5 s
	case !f.isFault():
		require.Equal(t, 0, e.code, "%s is no fault\n%s", f.What, e.log)
	default:
		require.Contains(t, []int{0, 1, 6}, e.code, e.log)
	}
}

// isBusy reports whether more runs on this machine than it has processors for.
func isBusy(t *testing.T) bool {
	text, err := os.ReadFile("/proc/loadavg")
	require.NoError(t, err)
	load, err := strconv.ParseFloat(strings.Fields(string(text))[0], 64)
	require.NoError(t, err)
	return load > 4*float64(runtime.NumCPU())
}

// stay is a watch that goes on. The fault is over after the first changes, or lasts until
// the end if it hit nothing so far.
func (r watchRun) stay(t *testing.T, f *fault, w *watched) {
	dir := t.TempDir()
	p, err := proof.Launch(proof.Command{Args: f.supervisor.Command("watch", "--backend", r.backend, w.src), Dir: dir, Log: filepath.Join(dir, "log"), Env: f.env()})
	require.NoError(t, err)
	defer p.Kill()
	defer func() { w.log += p.Logged() }()
	select {
	case <-p.Ready:
	case <-p.Done:
	case <-time.After(patience):
		require.Fail(t, "neither ready nor ended", p.Logged())
	}
	change(t, w.src)
	w.sync(t, 2*time.Second)
	w.followMeanwhile(t)
	if f.hit() {
		f.over.Store(true)
	}
	if p.Alive() {
		require.NoError(t, os.WriteFile(filepath.Join(w.src, "later"), []byte("later"), 0o644))
		w.converge(t, f, p)
		_ = p.Cmd.Process.Signal(syscall.SIGTERM)
	}
	select {
	case <-p.Done:
	case <-time.After(patience):
		require.Fail(t, "it does not stop", p.Logged())
	}
	w.judge(t, f, endOf(p))
}

// sync waits until the watch has published everything so far, if it can.
func (w *watched) sync(t *testing.T, most time.Duration) {
	ctx, cancel := context.WithTimeout(t.Context(), most)
	defer cancel()
	out, err := exec.CommandContext(ctx, "watch", "--sync", w.src).CombinedOutput()
	if err != nil {
		w.log += "sync: " + err.Error() + " " + string(out)
	}
}

var stateLine = regexp.MustCompile(`(?m)^state:?\s+(\w+)`)

// state is what watch --status says.
func (w *watched) state() string {
	out, _ := exec.Command("watch", "--status", w.src).CombinedOutput()
	if m := stateLine.FindSubmatch(out); m != nil {
		return string(m[1])
	}
	return string(out)
}

// converge waits until the copy equals the tree, by the watch that runs, and until the
// watch can do everything again. If the watch ends meanwhile that is left to the next one.
func (w *watched) converge(t *testing.T, f *fault, p *proof.Process) {
	t.Helper()
	audit := func() { _ = p.Cmd.Process.Signal(syscall.SIGHUP) } // else the next one of a degraded tree is a minute away
	audit()
	isWatched := func() bool {
		if f.hit() && !f.over.Swap(true) { // not before now
			audit()
		}
		return !p.Alive() || w.state() == "watched"
	}
	require.Eventually(t, isWatched, patience, 20*time.Millisecond, "state %s\n%s", w.state(), p.Logged())
	w.sync(t, 2*time.Second) // a fault that lasts may begin only now
	require.Eventually(t, isWatched, patience, 20*time.Millisecond, "state %s\n%s", w.state(), p.Logged())
	if !p.Alive() {
		return
	}
	w.sync(t, patience)
	if !p.Alive() {
		return
	}
	w.follow(t)
	w.same(t, "state watched\n"+p.Logged())
}
