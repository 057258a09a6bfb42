package watch

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
)

func TestPrint(t *testing.T) {
	root := newTree(t, "a/f = one")
	var out logged
	r := start(t, Config{Root: root, Print: &out})
	r.sync()
	began := len(out.String())
	write(t, filepath.Join(root, "a/with blank\n"), "two")
	r.sync()
	must(t, os.MkdirAll(filepath.Join(root, "b/c"), 0o755))
	stamp := r.sync()
	require.Equal(t, []string{
		stampOf(t, root, "a").String() + "\ta/with%20blank%0A",
		stamp.String() + "\tb/",
	}, lines(out.String()[began:]))
}

// The lines of --print went straight into a pipe, which holds 64 KiB: a reader who
// stopped to read stopped all stamping, in the state watched. He gets what is kept
// for him, in order, and is told how many lines are missing.
func TestPrintDoesNotStopStamping(t *testing.T) {
	root := newTree(t, "a/f = one", "deep/f = two")
	in, out, err := os.Pipe()
	must(t, err)
	defer in.Close()
	defer out.Close()
	r := start(t, Config{Root: root, Print: out})
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

	told, before := 0, ""
	reader := bufio.NewScanner(in)
	for reader.Scan() {
		stamp, path, ok := strings.Cut(reader.Text(), "\t")
		require.True(t, ok, reader.Text())
		require.LessOrEqual(t, before, stamp, "in order")
		before = stamp
		if n, _ := fmt.Sscanf(path, "lost %d lines", &told); n == 1 {
			break
		}
	}
	require.Equal(t, int(lost), told)
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

// A reader of --print who takes nothing holds up the end of watch for a bounded
// time, and what he does not take is counted.
func TestPrintEndsWithoutItsReader(t *testing.T) {
	root := newTree(t, "a/f = one")
	in, out, err := os.Pipe()
	must(t, err)
	defer in.Close()
	defer out.Close()
	r := start(t, Config{Root: root, Print: out})
	name := strings.Repeat("n", 250)
	for i := range 1000 {
		write(t, filepath.Join(root, "a", fmt.Sprint(i, name)), "text")
	}
	r.sync()
	r.stop()
	require.Positive(t, r.config.Stats.PrintLost.Load())
	require.Equal(t, disk.Audited, r.status().State)
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
	err = Run(ctx, Config{Root: root, Print: out, sameProcess: true})
	require.Equal(t, exit.Local, exit.Of(err))
	require.ErrorContains(t, err, "--print: write |1: broken pipe")
}

// A hook that never reads its stdin holds up its own next run and nothing else.
func TestExecThatReadsNothing(t *testing.T) {
	root := newTree(t, "a/f = one")
	name := strings.Repeat("n", 250)
	for i := range 1000 {
		must(t, os.MkdirAll(filepath.Join(root, "b", fmt.Sprint(i, name)), 0o755))
	}
	r := start(t, Config{Root: root, Exec: "exec sleep 1000"})
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
	r := start(t, Config{Root: root, Exec: command})
	require.Eventually(t, func() bool { return runs()[0] == "./ a/" }, deadline, time.Millisecond, "after the audit")
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
	r := start(t, Config{Root: root, Exec: "touch " + out + "/began; exec sleep 1000"})
	require.Eventually(t, func() bool { _, err := os.Stat(filepath.Join(out, "began")); return err == nil }, deadline, time.Millisecond)
	r.stop()
}

func TestStatusLines(t *testing.T) {
	root := newTree(t, "a/f = one")
	var out bytes.Buffer
	must(t, PrintStatus(&out, root, ""))
	require.Equal(t, "state: unwatched", lines(out.String())[0])
	r := start(t, Config{Root: root})
	out.Reset()
	must(t, PrintStatus(&out, root, ""))
	text := lines(out.String())
	require.Equal(t, "state: watched", text[0])
	require.Contains(t, text, "backend: fanotify")
	require.Contains(t, text, "root: "+stampOf(t, root, ".").String())
	require.Contains(t, text, "tree: "+r.status().Tree.ID)
	r.stop()
	out.Reset()
	must(t, PrintStatus(&out, root, ""))
	require.Equal(t, "state: audited", lines(out.String())[0])
	require.Equal(t, exit.Local, exit.Of(PrintStatus(&out, filepath.Join(root, "missing"), "")))
}

func TestSyncWithoutWatcher(t *testing.T) {
	root := newTree(t, "a/f = one")
	_, err := Sync(context.Background(), root, "")
	require.Equal(t, exit.Refused, exit.Of(err))
	start(t, Config{Root: root}).stop()
	_, err = Sync(context.Background(), root, "")
	require.Equal(t, exit.Refused, exit.Of(err))
	entries, err := filepath.Glob(filepath.Join(root, ".tidemark", cookiePrefix+"*"))
	must(t, err)
	require.Empty(t, entries)
}
