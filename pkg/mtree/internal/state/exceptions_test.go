package state

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
)

// Exceptions comes back as it was written, whatever the names are, and a reader sees each
// writing.
func TestExceptions(t *testing.T) {
	path := t.TempDir()
	root, err := disk.OpenRoot(path)
	require.NoError(t, err)
	defer root.Close()
	m, err := CreateMarker(root, "")
	require.NoError(t, err)
	defer m.Close()
	var r ExceptionsReader
	got, err := r.Read(root, "")
	require.NoError(t, err)
	require.Empty(t, got.Stamps)
	require.False(t, m.HasExceptions(1))
	for number := range int64(3) {
		want := &Exceptions{Stamps: map[string]Refusal{}, Unread: map[string]Unread{}}
		for i, name := range []string{"a", "a/b c", "tab\tline\n/%41", "\xff\xfe", "é/#end 1"} {
			want.Stamps[name] = Refusal{Inode: uint64(i), Stamp: mtree.Unix(number-5, 999_999_999)}
			want.Unread[name] = Unread{Inode: 1<<63 + uint64(i), Opened: i%2 == 0}
		}
		require.NoError(t, m.WriteStamps(want.Stamps, number, number == 1))
		require.NoError(t, m.WriteUnread(want.Unread, number, number == 1))
		for range 2 {
			have, err := r.Read(root, "")
			require.NoError(t, err)
			require.Equal(t, want, have)
		}
		require.True(t, m.HasExceptions(number))
	}
	require.NoError(t, os.Remove(filepath.Join(path, mtree.MarkerName, "unread")))
	have, err := r.Read(root, "")
	require.NoError(t, err)
	require.Empty(t, have.Unread)
	require.Len(t, have.Stamps, 5)
}

// Nothing vouches for what lies below an unread directory, but that does not concern
// another directory that has its name now.
func TestVouched(t *testing.T) {
	path := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(path, "a/closed/deep"), 0o755))
	root, err := disk.OpenRoot(path)
	require.NoError(t, err)
	defer root.Close()
	info, err := root.StatPath("a/closed", false)
	require.NoError(t, err)
	a := &Exceptions{Unread: map[string]Unread{"a/closed": {Inode: info.Node.Ino}}}
	for _, p := range []string{"a/closed", "a/closed/deep", "a/closed/none/at/all"} {
		require.ErrorIs(t, a.Vouched(root, p), ErrUnread, p)
		require.True(t, disk.IsUnreadable(a.Vouched(root, p)))
		require.NoError(t, (*Exceptions)(nil).Vouched(root, p))
	}
	for _, p := range []string{"", "a", "a/closed2", "a/clos", "b/a/closed"} {
		require.NoError(t, a.Vouched(root, p), p)
	}
	a.Unread["a/closed"] = Unread{Inode: info.Node.Ino + 1}
	require.NoError(t, a.Vouched(root, "a/closed/deep"), "another directory of that name")
	a.Unread["a/closed"] = Unread{Inode: info.Node.Ino, Opened: true}
	require.NoError(t, a.Vouched(root, "a/closed/deep"), "read again")
}

// TestUnreadWithoutAnInode: an error of the disk, or a lack of memory, can refuse both the
// open of a directory and its statx. Then watch named it in .tidemark/unread with inode 0,
// which no directory has, so readers went on to trust its stamp: what changed in it while
// it could not be read was lost to them, in state watched.
func TestUnreadWithoutAnInode(t *testing.T) {
	path := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(path, "a/b"), 0o755))
	root, err := disk.OpenRoot(path)
	require.NoError(t, err)
	defer root.Close()
	a := &Exceptions{Unread: map[string]Unread{"a": {}}}
	require.ErrorIs(t, a.Vouched(root, "a"), ErrUnread)
	require.ErrorIs(t, a.Vouched(root, "a/b"), ErrUnread)
	require.NoError(t, a.Vouched(root, ""))
}

// A reading that catches up asks for any stamp: directories that cannot be read are not meant, and there
// may be no exceptions at all.
func TestAnyStamps(t *testing.T) {
	var none *Exceptions
	require.False(t, none.AnyStamps())
	require.False(t, (&Exceptions{Stamps: map[string]Refusal{}, Unread: map[string]Unread{"a": {}}}).AnyStamps())
	require.True(t, (&Exceptions{Stamps: map[string]Refusal{"a": {}}}).AnyStamps())
}
