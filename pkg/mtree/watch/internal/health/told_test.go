package health_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/notify"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/watch/internal/health"
)

// Everything is told once, however often it happens: a tree with a thousand directories
// that refuse, audited once a minute, would fill the disk with its log. What is told must
// be told, though: it is all that the user sees.
func TestToldOnce(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	m := health.NewMonitor(log, new(atomic.Int64), new(atomic.Int64))
	told := func(want string) {
		t.Helper()
		if want == "" {
			require.Empty(t, out.String())
		} else {
			require.Contains(t, out.String(), want)
			require.Equal(t, 1, strings.Count(out.String(), "\n"), out.String())
		}
		out.Reset()
	}
	node := func(ino uint64) disk.Node { return disk.Node{Ino: ino} }
	for _, path := range []string{"a", ""} {
		m.Refuse(path, node(5), mtree.Unix(1, 0), os.ErrPermission)
		told("cannot set a directory's time")
		m.Refuse(path, node(5), mtree.Unix(2, 0), os.ErrPermission)
		told("")
	}
	m.CannotRead("d", 6, os.ErrPermission)
	told("cannot read a directory")
	m.CannotRead("d", 6, os.ErrPermission)
	told("")
	m.Overflow(os.ErrPermission)
	told("too many directories")
	m.Overflow(os.ErrPermission)
	told("")
	m.TreeFile(nil)
	told("")
	m.TreeFile(os.ErrPermission)
	told("cannot write .tidemark/tree")
	m.TreeFile(os.ErrPermission)
	m.TreeFile(nil)
	told("")

	m.CannotHear(notify.ErrLimit)
	told("cannot hear all directories")
	for _, want := range []string{"out of watches", ""} {
		m.BeginAudit()
		m.CannotHear(notify.ErrLimit)
		m.EndAudit(1 << 30)
		told(want)
	}
	m.BeginAudit()
	m.EndAudit(1)
	m.CannotHear(os.ErrPermission)
	told("") // once in the life of a watcher

	m = health.NewMonitor(log, new(atomic.Int64), new(atomic.Int64))
	m.BeginAudit()
	m.CannotHear(os.ErrPermission)
	m.CannotHear(os.ErrPermission)
	told("cannot hear all directories")
	m.EndAudit(1)
	m.BeginAudit()
	m.EndAudit(1)
	m.CannotHear(os.ErrPermission)
	told("")

	borders := health.NewBorders(log, new(atomic.Int64))
	borders.Add("a")
	told("another watch or mirror runs here")
	borders.Remove("a")
	borders.Add("a")
	told("")
}

// There is an end to what is told.
func TestToldAtMost(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	foreign := new(atomic.Int64)
	m, borders := health.NewMonitor(log, new(atomic.Int64), foreign), health.NewBorders(log, new(atomic.Int64))
	for i := range 10_001 {
		m.PassOver(fmt.Sprint(i))
	}
	require.Equal(t, 10_000, strings.Count(out.String(), "\n"))
	require.EqualValues(t, 10_000, foreign.Load())
	out.Reset()
	for i := range 1001 {
		borders.Add(fmt.Sprint(i))
	}
	require.Equal(t, 1000, strings.Count(out.String(), "\n"))
}

// A directory that could not be read was named in the first run of watch, and in no later one: "watch --once" ended with
// "1 directories cannot be read", and nothing said which.
func TestUnreadIsNamedInEachRun(t *testing.T) {
	var out bytes.Buffer
	m := health.NewMonitor(slog.New(slog.NewTextHandler(&out, nil)), new(atomic.Int64), new(atomic.Int64))
	m.Exceptions.Load(&state.Exceptions{Unread: map[string]state.Unread{"d": {Inode: 6}}}, func(string, bool) bool { return false })
	require.Empty(t, out.String())
	for range 2 {
		require.False(t, m.CannotRead("d", 6, os.ErrPermission), "it is known, and not published anew")
		require.Equal(t, 1, strings.Count(out.String(), "cannot read a directory"), &out)
	}
	require.Contains(t, out.String(), "path=d/")
}

// A directory that refuses its time was named in the first run of watch, and in no later one: --status counted it, and
// nothing said which it was.
func TestRefusingIsNamedInEachRun(t *testing.T) {
	var out bytes.Buffer
	m := health.NewMonitor(slog.New(slog.NewTextHandler(&out, nil)), new(atomic.Int64), new(atomic.Int64))
	m.Exceptions.Load(&state.Exceptions{Stamps: map[string]state.Refusal{"d": {Inode: 6, Stamp: mtree.Unix(1, 0)}}}, func(string, bool) bool { return false })
	require.Empty(t, out.String())
	for range 2 {
		m.Refuse("d", disk.Node{Ino: 6}, mtree.Unix(1, 0), os.ErrPermission)
		require.Equal(t, 1, strings.Count(out.String(), "cannot set a directory's time"), &out)
	}
	require.Contains(t, out.String(), "path=d/")
}

// Where bind mounts showed a directory that refuses its time at two places, only the one that was stamped last had a stamp: the
// other showed its own time, so no mirror looked there, in the state watched.
func TestRefusingAtTwoPlaces(t *testing.T) {
	var out bytes.Buffer
	m := health.NewMonitor(slog.New(slog.NewTextHandler(&out, nil)), new(atomic.Int64), new(atomic.Int64))
	there := map[string]bool{"a": true, "b": true}
	m.Shows = func(path string, node disk.Node) bool { return there[path] && node.Ino == 6 }
	for second := range int64(2) {
		for path := range there {
			m.Refuse(path, disk.Node{Ino: 6}, mtree.Unix(second, 0), os.ErrPermission)
		}
		for path := range there {
			stamp, ok := m.Exceptions.StampOf(path, 6)
			require.True(t, ok, path)
			require.Equal(t, mtree.Unix(second, 0), stamp, path)
		}
	}
	require.Equal(t, 2, strings.Count(out.String(), "cannot set a directory's time"), "each place is named once: %s", &out)
	there = map[string]bool{"c": true}
	m.Refuse("a", disk.Node{Ino: 6}, mtree.Unix(3, 0), os.ErrPermission)
	m.Refuse("c", disk.Node{Ino: 6}, mtree.Unix(3, 0), os.ErrPermission)
	_, still := m.Exceptions.StampOf("a", 6)
	require.False(t, still, "it was moved")
}
