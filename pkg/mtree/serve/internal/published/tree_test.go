package published

import (
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/glob"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/wire"
)

// Dotfiles, what is excluded and paths that are too long to be opened are hidden, with all
// below them.
func TestHides(t *testing.T) {
	exclude, err := glob.Excluding([]string{"**/x/**/y/**/z", "*.tmp"})
	require.NoError(t, err)
	tree, err := Open(Config{Root: t.TempDir(), Exclude: exclude, Log: slog.New(slog.DiscardHandler), Now: machine.Now})
	require.NoError(t, err)
	defer tree.Close()
	fits := strings.Repeat("y/", 2047) + "z"
	for path, hidden := range map[string]bool{
		"": false, "a": false, "a/b.c": false, ".a": true, "a/.b": true, "a/.b/c": true, "a..": false,
		"a.tmp": true, "a.tmp/b": true, "x/y/z": true, "y/x/z": false, fits: false, fits + "z": true,
	} {
		require.Equal(t, hidden, tree.Hides(path, false), path)
	}
	at, err := wire.ParseURLPath("/" + fits)
	require.NoError(t, err)
	require.Equal(t, fits, at.Path)
	_, err = wire.ParseURLPath("/" + fits + "z")
	require.ErrorIs(t, err, wire.ErrPathTooLong)
	tree.cfg.Hidden = true
	require.False(t, tree.Hides("a/.b", false))
}

// The href of a directory on another's page is relative, and never begins with a slash.
func TestRelative(t *testing.T) {
	for _, test := range [][3]string{
		{"", "", "./"}, {"", "a", "a/"}, {"a", "", "../"}, {"a", "a", "./"}, {"a", "a/b c", "b%20c/"}, {"a/b", "a/c", "../c/"},
		{"ab", "a", "../a/"}, {"a/b/c", "a", "../../"}, {"a/b", "x/y", "../../x/y/"},
	} {
		require.Equal(t, test[2], string(Relative(test[0], test[1])), test)
	}
}

// A tree that cannot be opened leaves nothing open: one of a newer tidemark, one that has
// its state within, one that is not there.
func TestTreesThatAreRefused(t *testing.T) {
	simulated(t, 0, func(t *testing.T, w *world) {
		w.fill("d/")
		_, err := w.tryOpen(Config{Root: "/none"})
		require.ErrorIs(t, err, unix.ENOENT)
		_, err = w.tryOpen(Config{StateDir: "/tree/d"})
		require.ErrorIs(t, err, state.ErrWithin)
		w.Refuse("statfs tree", unix.EIO, -1)
		_, err = w.tryOpen(Config{})
		require.ErrorIs(t, err, unix.EIO, "it is not known what is on another file system")
		w.ShowFS = func(st *unix.Statfs_t) { st.Type = unix.BTRFS_SUPER_MAGIC }
		w.Refuse("statx tree", unix.EIO, -1)
		_, err = w.tryOpen(Config{})
		require.ErrorIs(t, err, unix.EIO, "nor on btrfs")
		w.Fail, w.ShowFS = nil, nil
		w.says(source(), state.Status{})
		require.NoError(t, w.Shell.Write("/tree/.tidemark/tree", `{"format":1000}`))
		_, err = w.tryOpen(Config{})
		require.ErrorIs(t, err, state.ErrNewerFormat)
		require.Empty(t, w.Open)
	})
}

// Closing a tree tells what the disk said to that.
func TestCloseTells(t *testing.T) {
	simulated(t, 0, func(t *testing.T, w *world) {
		tree := w.open(Config{})
		w.Refuse("close tree", unix.EIO, 1)
		require.ErrorIs(t, tree.Close(), unix.EIO)
		require.Empty(t, w.Open)
	})
}

// A lister is told only what the tree asks for: the rest costs nothing.
func TestLister(t *testing.T) {
	simulated(t, 0, func(t *testing.T, w *world) {
		tree := w.open(Config{})
		l := tree.Lister(tree.Now())
		require.False(t, l.Hidden || l.Owner || l.Mounts || l.Copy)
		require.Same(t, tree.Root(), l.Root, "or a directory that moves away goes unnoticed")
		require.True(t, l.Exclude == nil && l.CopyFilter == nil && l.Log == nil && l.Exceptions == nil)
		l.OtherFileSystem("mnt")
		require.Equal(t, 1, w.logged("another file system"))

		tree = w.open(Config{Hidden: true, Owner: true, CrossMounts: true, Exclude: excluding(t, "*.o")})
		l = tree.Lister(tree.Now())
		require.True(t, l.Hidden && l.Owner && l.Mounts)
		require.Nil(t, l.OtherFileSystem)
		require.True(t, l.Exclude("a.o", false))
		require.False(t, l.Exclude("a.c", false))
	})
}

// The place of the tree on this host stays out of the log. Other paths stay as they are: the
// log named the file /.state/tree, which was nowhere, for /srv/tree.state/tree.
func TestQuoted(t *testing.T) {
	for _, c := range [][3]string{
		{"/srv/tree", "open /srv/tree/a/b: failed", `"open /a/b: failed"`},
		{"/srv/tree/", "open /srv/tree/a: failed", `"open /a: failed"`},
		{"/srv/tree", `"/srv/tree": failed`, `"\"/\": failed"`},
		{"tree", "open tree/a: a tree", `"open tree/a: a tree"`},
		{"/", "open /a/b: failed", `"open /a/b: failed"`},
		{"/srv/tree", "open /srv/tree/\n: failed", `"open /\n: failed"`},
		{"/srv/tree", "open /srv/tree.state/tree: failed", `"open /srv/tree.state/tree: failed"`},
		{"/srv/tree", "open /mnt/srv/tree/a: failed", `"open /mnt/srv/tree/a: failed"`},
		{"/srv/tree", "/srv/tree/a and /srv/tree and /srv/tree2 and /srv/tree", `"/a and / and /srv/tree2 and /"`},
		{"/srv/tree", "/srv/tree/srv/tree/a", `"/srv/tree/a"`},
		{"/srv/tree", "link /srv/tree/srv/tree/a (/srv/tree)", `"link /srv/tree/a (/)"`},
	} {
		tree := &Tree{cfg: Config{Root: c[0]}}
		require.Equal(t, c[2], tree.Quoted(errors.New(c[1])), c)
	}
}
