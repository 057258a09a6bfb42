package links

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/internal/sys/faultkernel"
)

// faulty is an index on a machine in memory of which single calls fail.
type faulty struct {
	*faultkernel.Kernel
	*rig
	log bytes.Buffer
}

const faultyPath = "/copy/.tidemark/" + Name

func newFaulty(t *testing.T) *faulty {
	k := &faulty{Kernel: faultkernel.New(t, 0), rig: &rig{t: t}}
	k.Make(t, "/copy/")
	dir, err := disk.OpenRoot("/copy")
	require.NoError(t, err)
	k.marker, err = state.CreateMarker(dir, "")
	require.NoError(t, err)
	require.NoError(t, k.again())
	t.Cleanup(func() {
		k.Index.Close()
		_ = k.marker.Close()
		_ = dir.Close()
	})
	return k
}

// again opens the index again. If that fails, the one that is open stays so.
func (k *faulty) again() error {
	k.Made("")
	x, err := Open(k.marker, "root", slog.New(slog.NewTextHandler(&k.log, nil)))
	if err == nil {
		k.Index.Close()
		k.Index = x
	}
	return err
}

// long returns a name of a file whose line is long.
func long(i int) File { return file(strings.Repeat("long/", 2000)+fmt.Sprint(i), 2, 20) }

// text returns what is in the file.
func (k *faulty) text() string {
	k.t.Helper()
	text, err := k.Shell.Read(faultyPath)
	require.NoError(k.t, err)
	return text
}

// An index that cannot be read, or begun, is none: nothing is left open.
func TestAnIndexThatCannotBeOpened(t *testing.T) {
	k := newFaulty(t)
	require.True(t, k.IsNew())
	for i := range 4 {
		k.Note(long(i))
	}
	k.Commit(false)
	open := len(k.Open)
	failed := 0
	for n := range 40 {
		k.RefuseNth("read links", 1+n, unix.EIO)
		if err := k.again(); err != nil {
			require.ErrorIs(t, err, unix.EIO)
			failed++
		}
	}
	require.GreaterOrEqual(t, failed, 3, "so many reads bring it, and the others look up a line")
	require.NoError(t, k.Shell.Append(faultyPath, "x"))
	k.Refuse("truncate links", unix.EIO, 1)
	require.ErrorIs(t, k.again(), unix.EIO)
	require.Len(t, k.Open, open)
	require.NoError(t, k.again())
	require.False(t, k.IsNew())
	k.requireFile(2, long(3))

	require.NoError(t, k.Shell.Append(faultyPath, strings.Repeat("x", mostLine+1)))
	require.NoError(t, k.again(), "that is no line")
	k.requireFile(2, long(3))
	require.NotContains(t, k.text(), "xx")

	for _, call := range []string{"truncate links", "write links"} {
		require.NoError(t, k.Shell.Write(faultyPath, strings.Repeat("x", mostLine+1)))
		k.Refuse(call, unix.EIO, 1)
		require.ErrorIs(t, k.again(), unix.EIO, call)
	}
	require.NoError(t, k.again())
	require.True(t, k.IsNew())
	require.Len(t, k.Open, open)
	k.Index.Close()
	require.Len(t, k.Open, open-1)
	k.Index = nil
	k.Index.Close()
}

// What is committed is written once, and flushed where that is asked for.
func TestWhatCommitWrites(t *testing.T) {
	k := newFaulty(t)
	k.Note(file("a", 1, 10))
	for _, c := range []struct{ flush, note bool }{{note: true}, {}, {flush: true}, {flush: true, note: true}, {flush: true}} {
		if c.note {
			k.Note(file(fmt.Sprint("n", len(k.text())), 1, 10))
		}
		was := k.text()
		k.Made("")
		k.Commit(c.flush)
		calls := strings.Join(k.Calls, ", ")
		require.Equal(t, c.flush && c.note, strings.Contains(calls, "fsync links"), calls)
		require.Equal(t, c.note, strings.Contains(calls, "write links"), calls)
		require.Equal(t, c.note, was != k.text())
		require.EqualValues(t, len(k.text()), k.file.size)
		require.Positive(t, cap(k.file.pending), "its memory is used again")
	}
	for i := 0; len(k.file.pending) <= mostKept; i++ {
		k.Note(long(i))
	}
	k.Commit(false)
	require.Zero(t, cap(k.file.pending), "but not if it is much")
	_, ok := k.Of(long(5).Path)
	require.True(t, ok)
}

// A failure of the disk ends the index: all is forgotten, and nothing is noted until the next start.
func TestAnIndexThatFails(t *testing.T) {
	for _, call := range []string{"write links", "fsync links"} {
		k := newFaulty(t)
		k.Note(file("a", 1, 10))
		k.Refuse(call, unix.EIO, 1)
		k.Commit(true)
		k.requireNone(1)
		k.Note(file("b", 2, 11))
		k.requireNone(2)
		require.Contains(t, k.log.String(), "input/output error", call)
		require.NoError(t, k.again())
		k.requireNone(1)
	}
	k := newFaulty(t)
	k.Note(file("a", 1, 10))
	k.Refuse("truncate links", unix.EIO, -1)
	k.Forget()
	k.Note(file("b", 2, 11))
	k.requireNone(2)
	require.Equal(t, 1, strings.Count(k.log.String(), "input/output error"))
}

// A line that is not where it was, or cannot be read, is none.
func TestALineThatIsNotThere(t *testing.T) {
	k := newFaulty(t)
	k.Note(file("a", 1, 10))
	pending := k.file.size + int64(len(k.file.pending))
	_, err := k.file.text(pending)
	require.ErrorIs(t, err, errLine)
	k.Commit(false)
	place := k.newest(1).at
	k.Refuse("read links", unix.EIO, 1)
	_, err = k.file.text(place)
	require.ErrorIs(t, err, unix.EIO)
	text := k.text()
	require.NoError(t, k.Shell.Write(faultyPath, strings.TrimSuffix(text, "\n")))
	_, err = k.file.text(place)
	require.ErrorIs(t, err, errLine)
	require.NoError(t, k.Shell.Write(faultyPath, strings.Replace(text, " a ", " b ", 1)))
	f, _, err := k.file.at(place)
	require.NoError(t, err, "it is in memory")
	require.Equal(t, "a", f.Path)
	k.file.recent = nil
	_, _, err = k.file.at(place)
	require.ErrorIs(t, err, errLine)
}

// What was forgotten is not found in memory where other lines begin by now.
func TestLinesOfBefore(t *testing.T) {
	k := newFaulty(t)
	k.Note(file("a", 1, 10))
	place := k.newest(1).at
	k.Forget()
	_, _, err := k.file.at(place)
	require.ErrorIs(t, err, errLine)
}

// Lines are read once, as long as not too many others were.
func TestLinesAreKeptInMemory(t *testing.T) {
	k := newFaulty(t)
	k.Note(file("a", 1, 10))
	k.Note(file("b", 1, 10))
	k.Commit(false)
	for range 3 {
		k.Calls = nil
		require.Len(t, k.Names(1, 5), 2)
		require.NotContains(t, k.Calls, "read links")
	}
	k.file.recent = nil
	require.Len(t, k.Names(1, 5), 2)
	require.Contains(t, k.Calls, "read links")
	k.Calls = nil
	require.Len(t, k.Names(1, 5), 2)
	require.NotContains(t, k.Calls, "read links")
}

// The file is written anew when most of its lines are out of date, and only then. What fails leaves it as it is.
func TestWhenAnIndexIsWrittenAnew(t *testing.T) {
	k := newFaulty(t)
	const names = 110
	k.Note(file("gone", 3, 30))
	k.Leave("gone")
	for i := range names {
		k.Note(long(i))
	}
	for node := range uint64(9_999 + names + 2) {
		k.Note(file("a", 1, 10+node))
	}
	k.Commit(false)
	lines := strings.Count(k.text(), "\n") - 1
	require.Equal(t, 2*(names+2)+10_000, lines+1, "a name that left counts, too")
	k.Note(file("a", 1, 5))
	k.Commit(false)
	size := k.file.size
	require.NoError(t, k.again())
	require.Equal(t, size, k.file.size, "just as many are kept")
	k.Note(file("a", 1, 6))
	k.Commit(false)
	size = k.file.size
	open := len(k.Open)
	for _, call := range []string{"unlink .links.new", "fsync .links.new", "rename links", "read links"} {
		k.Refuse(call, unix.EIO, 1)
		if call == "unlink .links.new" {
			require.NoError(t, k.Shell.Write("/copy/.tidemark/.links.new", "left"))
		}
		if call == "read links" {
			loaded := false
			k.Fail = func(made string) error {
				if loaded = loaded || made == "open .links.new"; loaded && made == call {
					return unix.EIO
				}
				return nil
			}
		}
		require.NoError(t, k.again(), call)
		k.Fail = nil
		require.Equal(t, size, k.file.size, call)
		require.Len(t, k.Open, open, call)
		k.requireFile(1, file("a", 1, 6))
		if call != "unlink .links.new" {
			require.NotContains(t, k.Shell.Names("/copy/.tidemark"), ".links.new", call)
		}
	}
	for n := 1; n <= 3; n++ {
		k.RefuseNth("write .links.new", n, unix.ENOSPC)
		require.NoError(t, k.again())
		require.Equal(t, size, k.file.size, n)
		require.NotContains(t, k.Shell.Names("/copy/.tidemark"), ".links.new", n)
	}
	k.Fail = nil
	require.NoError(t, k.again())
	calls := strings.Join(k.Calls, ", ")
	require.Equal(t, 3, strings.Count(calls, "write .links.new"), "the head, and then so many bytes at a time")
	require.Equal(t, 1, strings.Count(calls, "fsync .links.new"))
	require.Less(t, k.file.size, size)
	require.Equal(t, names+2, strings.Count(k.text(), "\n"), "the head, and a line for each name")
	require.Len(t, k.Open, open)
	require.NoError(t, k.again())
	k.requireFile(1, file("a", 1, 6))
	for i := range names {
		_, ok := k.Of(long(i).Path)
		require.True(t, ok)
	}
}
