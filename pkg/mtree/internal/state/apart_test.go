package state

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
)

// What is told apart comes back as it was written, whatever the names, and a reader
// sees each writing.
func TestApart(t *testing.T) {
	path := t.TempDir()
	root, err := disk.OpenRoot(path)
	require.NoError(t, err)
	defer root.Close()
	m, err := CreateMarker(root, "")
	require.NoError(t, err)
	defer m.Close()
	var r ApartReader
	apart, err := r.Read(root, "")
	require.NoError(t, err)
	require.Empty(t, apart.Stamps)
	require.False(t, m.HasApart(1))
	for number := range int64(3) {
		want := &Apart{Stamps: map[string]ApartStamp{}, Unread: map[string]ApartUnread{}}
		for i, name := range []string{"a", "a/b c", "tab\tline\n/%41", "\xff\xfe", "é/#end 1"} {
			want.Stamps[name] = ApartStamp{Inode: uint64(i), Stamp: mtree.Unix(number-5, 999_999_999)}
			want.Unread[name] = ApartUnread{Inode: 1<<63 + uint64(i), Opened: i%2 == 0}
		}
		require.NoError(t, m.WriteStamps(want.Stamps, number, number == 1))
		require.NoError(t, m.WriteUnread(want.Unread, number, number == 1))
		for range 2 {
			have, err := r.Read(root, "")
			require.NoError(t, err)
			require.Equal(t, want, have)
		}
		require.True(t, m.HasApart(number))
	}
	require.NoError(t, os.Remove(filepath.Join(path, mtree.MarkerName, "unread")))
	have, err := r.Read(root, "")
	require.NoError(t, err)
	require.Empty(t, have.Unread)
	require.Len(t, have.Stamps, 5)
}

// What lies below a directory that is not read is not vouched for, what has its name
// now is.
func TestVouched(t *testing.T) {
	path := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(path, "a/closed/deep"), 0o755))
	root, err := disk.OpenRoot(path)
	require.NoError(t, err)
	defer root.Close()
	info, err := root.StatPath("a/closed", false)
	require.NoError(t, err)
	a := &Apart{Unread: map[string]ApartUnread{"a/closed": {Inode: info.Node.Ino}}}
	for _, p := range []string{"a/closed", "a/closed/deep", "a/closed/none/at/all"} {
		require.ErrorIs(t, a.Vouched(root, p), ErrUnread, p)
		require.True(t, disk.IsUnreadable(a.Vouched(root, p)))
		require.NoError(t, (*Apart)(nil).Vouched(root, p))
	}
	for _, p := range []string{"", "a", "a/closed2", "a/clos", "b/a/closed"} {
		require.NoError(t, a.Vouched(root, p), p)
	}
	a.Unread["a/closed"] = ApartUnread{Inode: info.Node.Ino + 1}
	require.NoError(t, a.Vouched(root, "a/closed/deep"), "another directory of that name")
	a.Unread["a/closed"] = ApartUnread{Inode: info.Node.Ino, Opened: true}
	require.NoError(t, a.Vouched(root, "a/closed/deep"), "read again")
}
