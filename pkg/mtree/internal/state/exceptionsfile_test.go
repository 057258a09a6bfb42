package state

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
)

// Exceptions that nobody wrote so are an error: readers that took them for none would trust
// stamps that are not kept.
func TestDamagedExceptions(t *testing.T) {
	top, m := newMarker(t)
	for _, c := range []struct {
		name, text string
		good       bool
	}{
		{"stamps", "tidemark stamps 1\n#end 0\n", true},
		{"unread", "tidemark unread 1\n#end 0\n", true},
		{"unread", "tidemark unread 1\n-\t5\ta\n#end 1\n", true},
		{"stamps", "", false},
		{"stamps", "\n", false},
		{"stamps", "tidemark stamps 1\n", false},
		{"stamps", "tidemark unread 1\n#end 0\n", false},
		{"unread", "tidemark stamps 1\n1.000000000\t5\ta\n#end 1\n", false},
		{"unread", "tidemark unread 1\n-\t5\ta\n#end 1", false},
		{"unread", "tidemark unread 1\n-\t5\ta\n#end 2\n", false},
		{"unread", "tidemark unread 1\n-\t5\ta\n#end 1\nx", false},
		{"unread", "tidemark unread 1\n-\t5\n#end 1\n", false},
		{"unread", "tidemark unread 1\n-\t5\ta\tb\n#end 1\n", false},
		{"unread", "tidemark unread 1\n-\tx\ta\n#end 1\n", false},
		{"unread", "tidemark unread 1\n-\t5\t../a\n#end 1\n", false},
		{"unread", "tidemark unread 1\n-\t5\t%zz\n#end 1\n", false},
		{"stamps", "tidemark stamps 1\n-\t5\ta\n#end 1\n", false},
	} {
		require.NoError(t, os.WriteFile(filepath.Join(top, mtree.MarkerName, c.name), []byte(c.text), 0o644))
		have, err := m.ReadExceptions()
		require.Equal(t, c.good, err == nil, "%q: %v", c.text, err)
		require.Equal(t, c.good, have != nil, "%q", c.text)
		if !c.good {
			require.ErrorIs(t, err, errExceptions)
		}
		require.NoError(t, m.Remove(c.name))
	}
	have, err := m.ReadExceptions()
	require.NoError(t, err)
	require.NotNil(t, have.Stamps, "what is missing is empty, and may be added to")
	require.NotNil(t, have.Unread)
}

// A status announces exceptions by the number of both files.
func TestHasExceptions(t *testing.T) {
	_, m := newMarker(t)
	require.NoError(t, m.WriteUnread(nil, 5, false))
	require.False(t, m.HasExceptions(5))
	require.NoError(t, m.WriteStamps(nil, 4, false))
	require.False(t, m.HasExceptions(5))
	require.False(t, m.HasExceptions(4))
	require.NoError(t, m.WriteStamps(nil, 5, false))
	require.True(t, m.HasExceptions(5))
	require.False(t, m.HasExceptions(50))
}

// Exceptions are flushed only where that is asked for, and read again only after they were
// written: serve asks at each request.
func TestWhatExceptionsCost(t *testing.T) {
	k, m := newFaulty(t)
	k.Calls = nil
	stamps, unread := map[string]Refusal{}, map[string]Unread{}
	for i := range 100 {
		name := strings.Repeat("n", 50) + string(rune('0'+i))
		stamps[name], unread[name] = Refusal{1, mtree.Unix(1, 0)}, Unread{1, false}
	}
	require.NoError(t, m.WriteStamps(stamps, 1, false))
	require.NoError(t, m.WriteUnread(unread, 1, false))
	require.Zero(t, k.Made("fsync"))
	require.NoError(t, m.WriteStamps(stamps, 2, true))
	require.Equal(t, 2, k.Made("fsync"), "the file, and its directory")
	require.NoError(t, m.WriteUnread(unread, 2, true))
	require.Equal(t, 2, k.Made("fsync"))
	var r ExceptionsReader
	first, err := r.Read(m.root, "")
	require.NoError(t, err)
	k.Bytes = 0
	again, err := r.Read(m.root, "")
	require.NoError(t, err)
	require.Equal(t, first, again)
	require.LessOrEqual(t, k.Bytes, 2*64)
}

// What the disk does not tell of an unread directory lets nobody trust it. One that is gone
// is not in anybody's way.
func TestVouchedWithoutAnAnswer(t *testing.T) {
	k, m := newFaulty(t)
	require.NoError(t, k.Shell.Mkdir("/tree/a", 0o755))
	for _, inode := range []uint64{0, 1 << 40} {
		a := &Exceptions{Unread: map[string]Unread{"a": {Inode: inode}, "gone": {Inode: inode}}}
		require.NoError(t, a.Vouched(m.root, "gone"))
		require.NoError(t, a.Vouched(m.root, "gone/b"))
		k.Fail = func(string) error { return unix.EIO }
		require.ErrorIs(t, a.Vouched(m.root, "a"), ErrUnread)
		k.Fail = nil
	}
}
