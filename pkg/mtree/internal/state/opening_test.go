package state

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
)

// A file of ours that is opened to be written keeps what it holds, and its inode; with other
// names only where that is allowed.
func TestOpeningKeeps(t *testing.T) {
	top, m := newMarker(t)
	at := filepath.Join(top, mtree.MarkerName, "file")
	require.NoError(t, os.WriteFile(at, []byte("text"), 0o644))
	before, err := os.Stat(at)
	require.NoError(t, err)
	open := func(alone bool) {
		t.Helper()
		f, err := m.OpenOwn("file", alone)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		require.NoError(t, m.Vacate("file"))
	}
	for _, alone := range []bool{true, false} {
		open(alone)
		after, err := os.Stat(at)
		require.NoError(t, err)
		require.True(t, os.SameFile(before, after))
		require.Equal(t, "text", read(t, at))
	}
	require.NoError(t, os.Link(at, at+".other"))
	open(false)
	after, err := os.Stat(at)
	require.NoError(t, err)
	require.True(t, os.SameFile(before, after))
	open(true)
	require.Empty(t, read(t, at))
	require.Equal(t, "text", read(t, at+".other"))
}

// A small file of ours is read up to 1 MiB. What is larger cannot be ours; nor can a FIFO.
func TestWhatIsTooLargeToBeOurs(t *testing.T) {
	top, m := newMarker(t)
	at := filepath.Join(top, mtree.MarkerName, "file")
	require.NoError(t, os.WriteFile(at, make([]byte, maxSmall), 0o644))
	text, err := ReadFile(m.dir, "file")
	require.NoError(t, err)
	require.Len(t, text, maxSmall)
	require.NoError(t, os.WriteFile(at, make([]byte, maxSmall+1), 0o644))
	_, err = ReadFile(m.dir, "file")
	require.ErrorIs(t, err, ErrInTheWay)
	require.NoError(t, unix.Mkfifo(at+".fifo", 0o644))
	_, err = ReadFile(m.dir, "file.fifo")
	require.ErrorIs(t, err, ErrInTheWay)
}

// What was begun beside a directory that is in the way is not left there.
func TestNothingIsLeftBeside(t *testing.T) {
	top, m := newMarker(t)
	require.NoError(t, os.MkdirAll(filepath.Join(top, mtree.MarkerName, "file/mine"), 0o755))
	require.ErrorIs(t, WriteFile(m.dir, "file", []byte("text")), ErrInTheWay)
	require.NoFileExists(t, filepath.Join(top, mtree.MarkerName, ".file.new"))
}

// What takes a name of ours again and again, between looking and opening, is in the way in
// the end. What did so once is not.
func TestANameThatIsTaken(t *testing.T) {
	k, m := newFaulty(t)
	open := func() error {
		fd, err := openOwn(m.dir, "file", true)
		if err == nil {
			delete(k.Open, fd)
		}
		return err
	}
	began := len(k.Open)
	k.Refuse("open file", unix.ELOOP, ownTries-1)
	require.NoError(t, open())
	k.Refuse("open file", unix.ELOOP, ownTries)
	require.ErrorIs(t, open(), ErrInTheWay)

	fifos := 0 // looked at by a name, it is a file, and then by its descriptor a FIFO
	seen := ""
	k.Show = func(call string, stx *unix.Statx_t) {
		if call == "statx file" && seen == "open file" && fifos > 0 {
			fifos--
			stx.Mode = unix.S_IFIFO | 0o644
		}
	}
	k.Fail = func(string) error { seen = last(k.Calls); return nil }
	fifos = ownTries - 1
	require.NoError(t, open())
	require.Len(t, k.Open, began)
	fifos = ownTries
	require.ErrorIs(t, open(), ErrInTheWay)
	require.Len(t, k.Open, began)
	k.Show = nil

	mkdir := func() error {
		d, err := makeOwn(m.dir, "dir", 0o700)
		if err == nil {
			require.NoError(t, d.Close())
		}
		return err
	}
	require.NoError(t, mkdir())
	require.NoError(t, k.Shell.Write("/tree/.tidemark/dir/mine", "text"))
	k.Refuse("open dir", unix.ENOTDIR, ownTries-1)
	require.NoError(t, mkdir(), "it is a directory again")
	require.Equal(t, []string{"mine"}, k.Shell.Names("/tree/.tidemark/dir"))
	k.Refuse("open dir", unix.ENOTDIR, ownTries)
	require.ErrorIs(t, mkdir(), ErrInTheWay)
	require.Equal(t, []string{"mine"}, k.Shell.Names("/tree/.tidemark/dir"))

	n := 0
	k.Fail = func(call string) error {
		switch n++; call {
		case "open dir":
			if n < 4 {
				return unix.ENOTDIR
			}
		case "statx dir":
			return unix.ENOENT
		}
		return nil
	}
	require.NoError(t, mkdir(), "it was a link, and is gone")
	k.Fail = func(call string) error {
		switch call {
		case "open dir":
			return unix.ENOTDIR
		case "statx dir":
			return unix.EIO
		}
		return nil
	}
	require.ErrorIs(t, mkdir(), unix.EIO)
	require.Equal(t, []string{"mine"}, k.Shell.Names("/tree/.tidemark/dir"))
}

// last returns the call before the one that is asked about.
func last(calls []string) string {
	if len(calls) < 2 {
		return ""
	}
	return calls[len(calls)-2]
}

// A symlink or FIFO gives way to a directory of ours.
func TestADirectoryThatIsALink(t *testing.T) {
	top, m := newMarker(t)
	at := filepath.Join(top, mtree.MarkerName, "dir")
	for _, put := range []func() error{
		func() error { return os.Symlink(top, at) },
		func() error { return unix.Mkfifo(at, 0o644) },
		func() error { return nil },
	} {
		require.NoError(t, put())
		d, err := makeOwn(m.dir, "dir", 0o700)
		require.NoError(t, err)
		info, err := d.Self()
		require.NoError(t, err)
		require.Equal(t, mtree.Dir, info.Kind)
		require.NoError(t, d.Close())
		require.NoError(t, os.Remove(at))
	}
}
