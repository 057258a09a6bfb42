package watch_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/watch"
	"tidemark/pkg/mtree/watch/internal/audit"
	"tidemark/pkg/mtree/wire"
)

func TestPrint(t *testing.T) {
	root := newTree(t, "a/f = one")
	var out logged
	r := start(t, watch.Config{Root: root, Print: &out})
	r.sync()
	began := len(out.String())
	write(t, filepath.Join(root, "a/with blank\n"), "two")
	r.sync()
	must(t, os.Mkdir(filepath.Join(root, "b"), 0o755))
	stamp := r.sync()
	last := map[string]string{} // what is opened, and written later, may be told twice
	for _, line := range lines(out.String()[began:]) {
		stamp, path, _ := strings.Cut(line, "\t")
		last[path] = stamp
	}
	require.Equal(t, map[string]string{"a/with%20blank%0A": stampOf(t, root, "a").String(), "b/": stamp.String()}, last)
}

// The lines of --print went straight into a pipe, which holds 64 KiB. A reader who stopped
// reading stopped all stamping, in the state watched. Now the reader gets the lines that are
// kept, in order, and a line that says how many are missing.
func TestPrintDoesNotStopStamping(t *testing.T) {
	root := newTree(t, "a/f = one", "deep/f = two")
	in, out, err := os.Pipe()
	must(t, err)
	defer in.Close()
	defer out.Close()
	r := start(t, watch.Config{Root: root, Print: out})
	name := strings.Repeat("n", 250)
	for i := range 200 { // at a time, so that they are as many changes
		for j := range 500 {
			write(t, filepath.Join(root, "a", fmt.Sprint(j, name)), fmt.Sprint(i))
		}
		if r.sync(); r.config.Stats.PrintLost.Load() > 0 {
			break
		}
	}
	seen := logStamps(t, root)
	write(t, filepath.Join(root, "deep/f"), "changed")
	r.sync()
	seen.fresh("write", "deep")
	lost := r.config.Stats.PrintLost.Load()
	require.Positive(t, lost)
	require.Contains(t, r.log.String(), "reader is too slow")

	reported, before := 0, ""
	reader := bufio.NewScanner(in)
	for reader.Scan() {
		stamp, path, ok := strings.Cut(reader.Text(), "\t")
		require.True(t, ok, reader.Text())
		if r.config.Stats.Losses.Load() == 0 { // an audit stamps several directories at once, in the order of their names
			require.LessOrEqual(t, before, stamp, "in order")
		}
		before = stamp
		if n, _ := fmt.Sscanf(path, "lost %d lines", &reported); n == 1 {
			break
		}
	}
	require.Equal(t, int(lost), reported)
	require.Equal(t, stampOf(t, root, "deep").String(), before, "the stamp of the last that was lost")
	write(t, filepath.Join(root, "deep/f"), "again")
	r.sync()
	want := stampOf(t, root, "deep").String() + "\tdeep/f"
	for reader.Scan() && reader.Text() != want { // one write may be two batches
		require.Contains(t, reader.Text(), "\tdeep/f")
	}
	require.Equal(t, want, reader.Text())
	r.stop()
}

// A reader of --print who takes nothing delays the end of watch for a bounded time. The
// lines that are not taken are counted.
func TestPrintEndsWithoutItsReader(t *testing.T) {
	root := newTree(t, "a/f = one")
	in, out, err := os.Pipe()
	must(t, err)
	defer in.Close()
	defer out.Close()
	r := start(t, watch.Config{Root: root, Print: out})
	name := strings.Repeat("n", 250)
	for i := range 1000 {
		write(t, filepath.Join(root, "a", fmt.Sprint(i, name)), "text")
	}
	r.sync()
	r.stop()
	require.Positive(t, r.config.Stats.PrintLost.Load())
	require.Equal(t, wire.Audited, r.status().State)
}

// A reader of --print who has gone ends watch, in order.
func TestPrintToAReaderWhoHasGone(t *testing.T) {
	root := newTree(t, "a/f = one")
	in, out, err := os.Pipe()
	must(t, err)
	defer out.Close()
	must(t, in.Close())
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	err = watch.Run(ctx, watch.Config{Root: root, Print: out}.SameProcess())
	require.Equal(t, exit.Local, exit.Of(err))
	require.ErrorContains(t, err, "--print: write |1: broken pipe")
}

// A hook that never reads its stdin delays its own next run and nothing else.
func TestExecThatReadsNothing(t *testing.T) {
	root := newTree(t, "a/f = one")
	name := strings.Repeat("n", 250)
	for i := range 1000 {
		must(t, os.MkdirAll(filepath.Join(root, "b", fmt.Sprint(i, name)), 0o755))
	}
	r := start(t, watch.Config{Root: root, Exec: "exec sleep 1000"})
	seen := logStamps(t, root)
	write(t, filepath.Join(root, "a/f"), "two")
	r.sync()
	seen.fresh("write", "a")
	r.stop()
}

// TestExec: the changed paths on stdin; never two at once; what a failed run
// was given is given again.
func TestExec(t *testing.T) {
	root, out := newTree(t, "a/f = one", "g = two"), newTree(t)
	log, good := filepath.Join(out, "log"), filepath.Join(out, "good")
	runs := func() []string {
		text, _ := os.ReadFile(log)
		return lines(string(text))
	}
	// Each run adds a line; one that is given a/f fails until good exists.
	command := "mkdir " + out + "/busy || echo twice >>" + log + "; paths=$(tr '\\0' ' '); echo $paths >>" + log +
		"; rmdir " + out + "/busy; case $paths in *a/f*) test -e " + good + ";; esac"
	r := start(t, watch.Config{Root: root, Exec: command})
	// What the start wrote in the root may be a batch before the audit's.
	require.Eventually(t, func() bool { return slices.Contains(runs(), "./ a/") }, deadline, time.Millisecond, "after the audit")
	write(t, filepath.Join(root, "a/f"), "changed")
	require.Eventually(t, func() bool { return r.config.Stats.HookErrors.Load() > 0 }, deadline, time.Millisecond)
	write(t, good, "")
	write(t, filepath.Join(root, "g"), "changed")
	require.Eventually(t, func() bool {
		// One write may be two batches: the failed path comes along with the
		// next change, or before it.
		again, later := 0, false
		for _, run := range runs() {
			if strings.Contains(run, "a/f") {
				again++
			}
			later = later || strings.HasSuffix(run, "g")
		}
		return again > 1 && later
	}, deadline, time.Millisecond, "the failed path comes along")
	require.NotContains(t, runs(), "twice")
}

// A running hook is ended when watch stops.
func TestExecIsStopped(t *testing.T) {
	root, out := newTree(t, "a/f = one"), newTree(t)
	r := start(t, watch.Config{Root: root, Exec: "touch " + out + "/began; exec sleep 1000"})
	require.Eventually(t, func() bool { _, err := os.Stat(filepath.Join(out, "began")); return err == nil }, deadline, time.Millisecond)
	r.stop()
}

// children returns a command that leaves a process running, writes the process id to a file
// and ends with the command end. A stubborn child ignores SIGTERM.
func children(file string, stubborn bool, end string) string {
	child := "exec sleep 1000"
	if stubborn {
		child = "trap : TERM; while :; do sleep 0.1; done"
	}
	return "sh -c '" + child + "' </dev/null >/dev/null 2>&1 & echo $! >" + file + ".new; mv " + file + ".new " + file + "; " + end
}

// awaitPID waits until the file holds the id of a process.
func awaitPID(t *testing.T, file string) (pid int) {
	t.Helper()
	require.Eventually(t, func() bool {
		text, err := os.ReadFile(file)
		_, scanErr := fmt.Sscan(string(text), &pid)
		return err == nil && scanErr == nil
	}, deadline, time.Millisecond)
	return pid
}

// ended reports that a process is gone, or waits for its parent to notice.
func ended(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || bytes.Contains(text, []byte(") Z "))
}

// At the end of watch the children of its hook went on: only those of the current run got
// SIGTERM, and only its shell got SIGKILL.
func TestExecLeavesNothingBehind(t *testing.T) {
	for _, c := range []struct {
		name     string
		stubborn bool
		end      string
	}{
		{"the shell runs", false, "sleep 1000"},
		{"the shell ends by SIGTERM, the child does not", true, "sleep 1000"},
		{"the shell takes no notice either", true, "trap : TERM; while :; do sleep 0.1; done"},
		{"the run is long over", false, "true"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			root, out := newTree(t, "a/f = one"), newTree(t)
			file := filepath.Join(out, "pid")
			r := start(t, watch.Config{Root: root, Exec: children(file, c.stubborn, c.end)})
			pid := awaitPID(t, file)
			if c.end == "true" {
				r.sync()
				must(t, os.Remove(file))
				write(t, filepath.Join(root, "a/f"), "two")
				second := awaitPID(t, file) // so the first run is over
				require.False(t, ended(pid))
				defer func() { require.True(t, ended(second)) }()
			}
			r.stop()
			require.Eventually(t, func() bool { return ended(pid) }, deadline, time.Millisecond)
		})
	}
}

// watch --once ends its hook, too, when it is stopped. Before it ends it gives the hook
// everything that the audit found: what was found during the first run was lost.
func TestExecOnce(t *testing.T) {
	root, out := newTree(t), newTree(t)
	for i := range 3 * audit.FindingsAtOnce {
		must(t, os.Mkdir(filepath.Join(root, fmt.Sprint(i)), 0o755))
	}
	must(t, watch.Once(t.Context(), watch.Config{Root: root, Exec: "tr '\\0' '\\n' >>" + out + "/log"}))
	text, err := os.ReadFile(filepath.Join(out, "log"))
	must(t, err)
	reported := lines(string(text))
	slices.Sort(reported)
	require.Len(t, slices.Compact(reported), 3*audit.FindingsAtOnce+1) // the root may be stamped, and listed, with each run

	file := filepath.Join(out, "pid")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	write(t, filepath.Join(root, "f"), "new")
	go func() { done <- watch.Once(ctx, watch.Config{Root: root, Exec: children(file, false, "sleep 1000")}) }()
	pid := awaitPID(t, file)
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	require.Eventually(t, func() bool { return ended(pid) }, deadline, time.Millisecond)
}

func TestStatusLines(t *testing.T) {
	root := newTree(t, "a/f = one")
	var out bytes.Buffer
	must(t, watch.PrintStatus(&out, root, ""))
	require.Equal(t, "state: unwatched", lines(out.String())[0])
	r := start(t, watch.Config{Root: root})
	out.Reset()
	must(t, watch.PrintStatus(&out, root, ""))
	text := lines(out.String())
	require.Equal(t, "state: watched", text[0])
	require.Contains(t, text, "backend: fanotify")
	require.Contains(t, text, "root: "+stampOf(t, root, ".").String())
	require.Contains(t, text, "tree: "+r.status().Tree.ID)
	out.Reset()
	must(t, watch.EncodeStatus(&out, root, ""))
	var object map[string]any
	must(t, json.Unmarshal(out.Bytes(), &object))
	require.Equal(t, []any{"watched", "fanotify", r.status().Tree.ID, stampOf(t, root, ".").String()},
		[]any{object["state"], object["backend"], object["tree"], object["root"]})
	require.Contains(t, object["counters"], "unread_directories")
	r.stop()
	out.Reset()
	must(t, watch.PrintStatus(&out, root, ""))
	require.Equal(t, "state: audited", lines(out.String())[0])
	require.Equal(t, exit.Local, exit.Of(watch.PrintStatus(&out, filepath.Join(root, "missing"), "")))
}

// A watch that was degraded when it ended left its PID in the status, and somebody else may have that now.
func TestStatusOfADegradedTreeThatNobodyWatches(t *testing.T) {
	root := newTree(t, "a/f = one")
	start(t, watch.Config{Root: root}).stop()
	dir, err := disk.OpenRoot(root)
	must(t, err)
	marker, err := state.OpenMarker(dir, "")
	must(t, err)
	file, err := marker.CreateStatus()
	must(t, err)
	must(t, file.Write(state.Status{State: wire.Degraded, PID: 1}))
	var out bytes.Buffer
	must(t, watch.PrintStatus(&out, root, ""))
	require.Contains(t, out.String(), "state: degraded\n")
	require.NotContains(t, out.String(), "pid:")
	lock, err := marker.Lock()
	must(t, err)
	out.Reset()
	must(t, watch.PrintStatus(&out, root, ""))
	require.Contains(t, out.String(), "pid: 1\n")
	must(t, errors.Join(lock.Unlock(), file.Close(), marker.Close(), dir.Close()))
}

func TestSyncWithoutWatcher(t *testing.T) {
	root := newTree(t, "a/f = one")
	_, err := watch.Sync(context.Background(), root, "")
	require.Equal(t, exit.Refused, exit.Of(err))
	start(t, watch.Config{Root: root}).stop()
	_, err = watch.Sync(context.Background(), root, "")
	require.Equal(t, exit.Refused, exit.Of(err))
	entries, err := filepath.Glob(filepath.Join(root, ".tidemark", watch.CookiePrefix+"*"))
	must(t, err)
	require.Empty(t, entries)
}
