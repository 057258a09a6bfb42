package mirror

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/sys/faultkernel"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
)

// runs makes --exec write to a file where it ran, and returns a function that reads how often.
func (b *bench) runs() func() int {
	notes := filepath.Join(b.t.TempDir(), "notes")
	b.config.Exec = "pwd >>" + notes
	return func() int {
		text, err := os.ReadFile(notes)
		if err != nil {
			return 0
		}
		require.Empty(b.t, strings.ReplaceAll(string(text), b.config.Dest+"\n", ""), "it runs in DEST")
		return strings.Count(string(text), "\n")
	}
}

// --exec runs after each pass that changed anything, and after no other.
func TestExecRunsAfterAChange(t *testing.T) {
	s, b := overHTTP(t, "a/f = x", "l -> a")
	runs := b.runs()
	b.equal(s)
	require.Equal(t, 1, runs())
	b.requireIdle()
	require.Equal(t, 1, runs())
	for i, change := range []func(){
		func() { s.change("a/f = changed") },
		func() { require.NoError(t, os.Chmod(s.path("a/f"), 0o600)); s.publish("a/f") },
		func() { require.NoError(t, os.Remove(s.path("l"))); s.change("l -> a/f") },
		func() { s.change("a/new/") },
		func() { s.remove("a/new") },
	} {
		change()
		b.equal(s)
		require.Equal(t, 2+i, runs())
	}
	s.publish("a")
	b.equal(s)
	require.Equal(t, 6, runs(), "a stamp alone is no change of the copy")
	b.config.DryRun = true
	s.change("a/f = again")
	require.NoError(t, b.once())
	require.Equal(t, 6, runs())
	b.config.DryRun, b.config.Exec = false, "exit 3"
	require.Equal(t, exit.Failed, exit.Of(b.once()))
	b.same(s)
}

// If a pass ended early, --exec runs after the next one, even if that changes nothing.
func TestExecIsOwedAfterAPassThatFailed(t *testing.T) {
	_, b := overHTTP(t, "a/f = x", "a/l -> /x")
	runs := b.runs()
	m, err := open(b.config)
	require.NoError(t, err)
	defer m.close()
	a, err := m.source.Root(t.Context(), source.Poll{})
	require.NoError(t, err)
	_, err = m.lineage.Claim(t.Context(), &a)
	require.NoError(t, err)
	inTheWay := b.path(".tidemark/uncopied") // the pass cannot write what it left out
	require.NoError(t, os.MkdirAll(inTheWay+"/x", 0o755))
	_, err = m.once(t.Context())
	require.Error(t, err)
	require.Equal(t, 0, runs())
	require.NoError(t, os.RemoveAll(inTheWay))
	p, err := m.once(t.Context())
	require.NoError(t, err)
	require.False(t, p.Changed)
	require.Equal(t, 1, runs())
	_, err = m.once(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, runs())
}

// A pass of a mirror that runs fails at its end: --exec is told at once what it did, and not after the next one.
func TestExecAfterAPassThatFailed(t *testing.T) {
	everyWay(t, func(t *testing.T, s *tree, b *bench) {
		b.equal(s)
		told := b.told()
		b.config.Out = io.Discard
		m, err := open(b.config)
		require.NoError(t, err)
		defer m.close()
		require.NoError(t, os.MkdirAll(b.path(".tidemark/uncopied/x"), 0o755)) // it cannot write what it left out
		s.change("g = g", "out -> /etc")
		d := &daemon{mirror: m}
		require.NoError(t, d.turn(t.Context()))
		require.Equal(t, 1, d.tries)
		require.Len(t, told(), 1)
		require.Equal(t, []string{"g"}, told()[0][1:])
	}, "f = f")
}

// told makes --exec append what it is told to a file, and returns what reads it: for each run a
// list of paths, and the stamp.
func (b *bench) told() func() (runs [][]string) {
	notes := filepath.Join(b.t.TempDir(), "told")
	b.config.Exec = `{ echo "$TIDEMARK_ROOT $TIDEMARK_STAMP"; tr '\0' '\n'; echo; } >` + notes + ".new; cat " + notes + ".new >>" + notes // whole runs only
	return func() (runs [][]string) {
		text, err := os.ReadFile(notes)
		if err != nil || len(text) == 0 {
			return nil
		}
		for run := range strings.SplitSeq(strings.TrimSuffix(string(text), "\n\n"), "\n\n") {
			runs = append(runs, strings.Split(run, "\n"))
		}
		return runs
	}
}

func TestExecIsToldWhatChanged(t *testing.T) {
	everyWay(t, func(t *testing.T, s *tree, b *bench) {
		told := b.told()
		require.NoError(t, b.once())
		runs := told()
		require.Len(t, runs, 1)
		require.Equal(t, b.config.Dest+" "+b.rootStamp(), runs[0][0])
		require.Equal(t, []string{"a/", "a/f", "a/gone/", "a/gone/x", "blank name", "old"}, runs[0][1:])

		require.NoError(t, os.RemoveAll(s.path("old")))
		require.NoError(t, os.RemoveAll(s.path("a/gone")))
		s.publish("a")
		s.change("a/f = another", "b = b")
		require.NoError(t, b.once())
		runs = told()
		require.Len(t, runs, 2)
		require.Equal(t, b.config.Dest+" "+b.rootStamp(), runs[1][0])
		require.Equal(t, []string{"a/f", "a/gone/", "b", "old"}, runs[1][1:])
		_, err := os.Stat(b.path(".tidemark/untold"))
		require.ErrorIs(t, err, os.ErrNotExist)
	}, "a/f = f", `"blank name" = x`, "a/gone/x = x", "old = x", "out -> /etc")
}

// What a run that failed was told is given to the next one: of the same mirror, with what changed
// since; of one that is started anew, as the root.
func TestExecThatFailedIsToldAgain(t *testing.T) {
	everyWay(t, func(t *testing.T, s *tree, b *bench) {
		told := b.told()
		works := b.config.Exec
		b.config.Exec = "cat >/dev/null; exit 3"
		require.Equal(t, exit.Failed, exit.Of(b.once()))
		b.same(s)
		b.config.Exec = works
		require.NoError(t, b.once())
		require.Equal(t, []string{"./"}, told()[0][1:])
		require.NoError(t, b.once())
		require.Len(t, told(), 1)

		fails := filepath.Join(t.TempDir(), "fails")
		require.NoError(t, os.WriteFile(fails, nil, 0o644))
		b.config.Exec = "! test -e " + fails + " || exit 3; " + works
		b.config.Out = io.Discard
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- Run(ctx, b.config) }()
		s.change("g = g")
		require.Eventually(t, func() bool { return b.stats.HookErrors.Load() > 1 }, 20*time.Second, time.Millisecond)
		s.change("h = h")
		require.Eventually(t, func() bool { _, err := os.Stat(b.path("h")); return err == nil }, 20*time.Second, time.Millisecond)
		before := b.stats.HookErrors.Load()
		require.Eventually(t, func() bool { return b.stats.HookErrors.Load() > before }, 70*time.Second, time.Millisecond)
		require.NoError(t, os.Remove(fails))
		require.Eventually(t, func() bool { return len(told()) == 2 }, 70*time.Second, 10*time.Millisecond, "without any further change")
		require.Equal(t, []string{"g", "h"}, told()[1][1:])
		cancel()
		require.NoError(t, <-done)
	}, "f = f")
}

// A mirror that is stopped or killed in the middle does not know later what it changed: the next
// one tells the root.
func TestExecIsOwedAfterAKill(t *testing.T) {
	everyWay(t, func(t *testing.T, s *tree, b *bench) {
		told := b.told()
		ctx, cancel := context.WithCancel(t.Context())
		c := b.config
		c.beforeDelete = cancel
		require.Error(t, Once(ctx, c))
		require.Empty(t, told())
		require.FileExists(t, b.path("f"))
		b.equal(s)
		require.Len(t, told(), 1)
		require.Equal(t, []string{"./"}, told()[0][1:])
		require.NoError(t, b.once())
		require.Len(t, told(), 1, "and it is told once")
	}, "f = f")
}

// Of two steps that change something at once, neither begins before the note is there: if it is killed then, the
// next mirror would not know that anything changed.
func TestTheNoteComesBeforeAnyChange(t *testing.T) {
	k := faultkernel.New(t, 0)
	require.NoError(t, k.Shell.Mkdir("/copy", 0o755))
	c := Config{Exec: "true", Dest: "/copy"}.withDefaults()
	r, err := replica.Open(c.replicaOptions())
	require.NoError(t, err)
	defer r.Close()
	h := &hook{config: &c}
	made := 0
	k.Fail = func(call string) error {
		if call == "open untold" {
			made++
			require.False(t, h.noted.Load(), "another step would go on")
		}
		return nil
	}
	h.changing(r)
	require.True(t, h.noted.Load())
	require.True(t, r.IsUntold())
	h.changing(r)
	require.Equal(t, 1, made)
}

// --exec may leave its stdin alone, however much there is.
func TestExecThatReadsNothing(t *testing.T) {
	s, b := overHTTP(t)
	name := strings.Repeat("n", 200)
	for i := range 1000 { // more than a pipe holds
		require.NoError(t, os.WriteFile(s.path(name+strconv.Itoa(i)), nil, 0o644))
	}
	s.publish("")
	b.config.Exec = "exec true"
	b.equal(s)
	require.Equal(t, int64(1), b.stats.HookRuns.Load())
	require.Zero(t, b.stats.HookErrors.Load())
}

// A mirror that is stopped does not wait for its command.
func TestExecEndsWithItsMirror(t *testing.T) {
	_, b := overHTTP(t, "f = f")
	began, ended := filepath.Join(t.TempDir(), "began"), filepath.Join(t.TempDir(), "ended")
	stays := "(trap '' TERM; echo >" + began + "; while :; do sleep 0.1; done)" // until SIGKILL: it holds our stderr
	b.config.Exec = "trap 'echo >" + ended + "; exit 1' TERM; " + stays + " & wait"
	b.config.Out = io.Discard
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, b.config) }()
	require.Eventually(t, func() bool { _, err := os.Stat(began); return err == nil }, 20*time.Second, time.Millisecond)
	cancel()
	require.NoError(t, <-done)
	require.FileExists(t, ended)
}

// With --once the end by a signal while the command ran looked like a command that failed: exit code 1, not 130 or 143.
func TestExecThatIsInterrupted(t *testing.T) {
	_, b := overHTTP(t, "f = f")
	began := filepath.Join(t.TempDir(), "began")
	b.config.Exec = "echo >" + began + "; exec sleep 1000"
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped")
	done := make(chan error, 1)
	go func() { done <- Once(ctx, b.config) }()
	require.Eventually(t, func() bool { _, err := os.Stat(began); return err == nil }, 20*time.Second, time.Millisecond)
	cancel(stopped)
	require.ErrorIs(t, <-done, stopped)
	b.config.Exec = "echo >" + began + ".again"
	require.NoError(t, b.once())
	require.FileExists(t, began+".again", "the next one is told")
}

// A command that ignores SIGTERM gets SIGKILL after 3 s, with all in its group. Its shell got that then, and what the shell had started
// 3 s later: by then mirror had been ended as one that hangs, with 143, and left it running.
func TestExecThatStays(t *testing.T) {
	_, b := overHTTP(t, "f = f")
	pid := filepath.Join(t.TempDir(), "pid")
	b.config.Exec = "trap '' TERM; sleep 1000 & echo $! >" + pid + ".new; mv " + pid + ".new " + pid + "; wait"
	b.config.Out = io.Discard
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, b.config) }()
	require.Eventually(t, func() bool { _, err := os.Stat(pid); return err == nil }, 20*time.Second, time.Millisecond)
	cancel()
	stopped := time.Now()
	require.NoError(t, <-done)
	require.Less(t, time.Since(stopped), 2*hookGrace-time.Second)
	text, err := os.ReadFile(pid)
	require.NoError(t, err)
	require.Eventually(t, func() bool { // it may wait for somebody who asks what became of it
		stat, err := os.ReadFile("/proc/" + strings.TrimSpace(string(text)) + "/stat")
		return err != nil || strings.Contains(string(stat), ") Z ")
	}, time.Second, time.Millisecond)
}
