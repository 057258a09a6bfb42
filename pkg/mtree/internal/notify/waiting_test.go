package notify_test

import (
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/notify"
)

// waitingAfter is what Waiting says after a change of the directory dir, in which there are the
// file f and the directory d.
type waitingAfter struct {
	what   string
	change func(t *testing.T, dir string)
	want   notify.Waiting
}

// countsLinks are the changes of a link count. With fanotify they have an event besides, and
// while that was heard alone, something is half done.
var countsLinks = []string{"it is closed", "it gets its name while it is open", "a file is removed", "a link is made"}

// keep keeps a file open until the test ends.
func keep(t *testing.T, path string, flags int) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, flags, 0o644)
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// begin begins to write to a file.
func begin(t *testing.T, path string) *os.File {
	t.Helper()
	f := keep(t, path, os.O_CREATE|os.O_APPEND|os.O_WRONLY)
	_, err := f.WriteString("more")
	require.NoError(t, err)
	return f
}

// changesThatWait are changes, and whether they are half done.
var changesThatWait = []waitingAfter{
	{"nothing", func(*testing.T, string) {}, notify.Waiting{}},
	{"a file is written", func(t *testing.T, dir string) { require.NoError(t, os.WriteFile(dir+"/f", []byte("text"), 0o644)) }, notify.Waiting{}},
	{"an empty file is made", func(t *testing.T, dir string) { require.NoError(t, os.WriteFile(dir+"/new", nil, 0o644)) }, notify.Waiting{}},
	{"a file is made and open", func(t *testing.T, dir string) { keep(t, dir+"/new", os.O_CREATE|os.O_WRONLY) }, notify.Waiting{Made: []string{"new"}}},
	{"a file is being written", func(t *testing.T, dir string) { begin(t, dir+"/f") }, notify.Waiting{Open: true}},
	{"a new file is being written", func(t *testing.T, dir string) { begin(t, dir+"/d/new") }, notify.Waiting{Open: true}},
	{"it is closed", func(t *testing.T, dir string) {
		begin(t, dir+"/g")
		require.NoError(t, begin(t, dir+"/d/new").Close())
		require.NoError(t, os.Remove(dir+"/g"))
	}, notify.Waiting{}},
	{"another is closed", func(t *testing.T, dir string) {
		begin(t, dir+"/d/new")
		require.NoError(t, begin(t, dir+"/new").Close())
		require.NoError(t, begin(t, dir+"/d/old").Close())
	}, notify.Waiting{Open: true}},
	{"it gets its name while it is open", func(t *testing.T, dir string) {
		begin(t, dir+"/new")
		require.NoError(t, os.Rename(dir+"/new", dir+"/d/f"))
	}, notify.Waiting{}},
	{"a file is removed", func(t *testing.T, dir string) { require.NoError(t, os.Remove(dir+"/f")) }, notify.Waiting{}},
	{"a mode is set", func(t *testing.T, dir string) { require.NoError(t, os.Chmod(dir+"/f", 0o600)) }, notify.Waiting{}},
	{"the mode of an open file is set", func(t *testing.T, dir string) {
		begin(t, dir+"/f")
		require.NoError(t, os.Chmod(dir+"/f", 0o600))
	}, notify.Waiting{Open: true}},
	{"a directory is made", func(t *testing.T, dir string) { require.NoError(t, os.Mkdir(dir+"/e", 0o755)) }, notify.Waiting{}},
	{"a directory is renamed", func(t *testing.T, dir string) { require.NoError(t, os.Rename(dir+"/d", dir+"/e")) }, notify.Waiting{}},
	{"two are exchanged", func(t *testing.T, dir string) {
		require.NoError(t, unix.Renameat2(unix.AT_FDCWD, dir+"/f", unix.AT_FDCWD, dir+"/d", unix.RENAME_EXCHANGE))
	}, notify.Waiting{}},
	{"a directory leaves", func(t *testing.T, dir string) { require.NoError(t, os.Rename(dir+"/d", t.TempDir()+"/d")) }, notify.Waiting{Open: true}},
	{"a symlink is made", func(t *testing.T, dir string) { require.NoError(t, os.Symlink("f", dir+"/d/s")) }, notify.Waiting{Made: []string{"d/s"}}},
	{"a link is made", func(t *testing.T, dir string) { require.NoError(t, os.Link(dir+"/f", dir+"/h")) }, notify.Waiting{Made: []string{"h"}}},
	{"many files are written", func(t *testing.T, dir string) {
		for i := range 1000 {
			require.NoError(t, os.WriteFile(fmt.Sprint(dir, "/", i), nil, 0o644))
		}
	}, notify.Waiting{Open: true}},
	{"many links are made", func(t *testing.T, dir string) {
		for i := range 65 {
			require.NoError(t, os.Symlink("f", fmt.Sprint(dir, "/", i)))
		}
	}, notify.Waiting{Open: true}},
}

// A Source says of the changes that wait whether one is half done, and takes none.
func TestWaiting(t *testing.T) {
	for name, open := range map[string]func(*os.File, chan<- struct{}) (notify.Source, error){"inotify": openInotify, "fanotify": openFanotify} {
		for _, c := range changesThatWait {
			t.Run(name+"/"+c.what, func(t *testing.T) {
				dir := t.TempDir()
				require.NoError(t, os.Mkdir(dir+"/d", 0o755))
				require.NoError(t, os.WriteFile(dir+"/f", []byte("text"), 0o644))
				source := armed(t, dir, open)
				c.change(t, dir)
				have := source.Waiting()
				if name != "fanotify" || !have.Open || !slices.Contains(countsLinks, c.what) {
					require.Equal(t, c.want, have)
					require.Equal(t, have, source.Waiting())
				}
				count := source.Take().Count
				if name != "fanotify" || c.what != "nothing" { // it hears others who use this disk
					require.Equal(t, c.what != "nothing", count > 0)
				}
				require.Equal(t, notify.Waiting{}, source.Waiting(), "all was taken")
			})
		}
	}
}

// A directory above the root was renamed. Waiting looks up paths, too, and must not take what is in
// the tree for outside: its events would be dropped from then on.
func TestWaitingAfterTheRootMoved(t *testing.T) {
	above := t.TempDir()
	dir := above + "/was/tree"
	require.NoError(t, os.MkdirAll(dir+"/d", 0o755))
	source := armed(t, dir, openFanotify)
	begin(t, dir+"/f")
	require.True(t, source.Waiting().Open)
	require.NotEmpty(t, source.Take().Dirs)
	require.NoError(t, os.Rename(above+"/was", above+"/is"))
	dir = above + "/is/tree"
	for range 2 {
		begin(t, dir+"/d/f")
		require.True(t, source.Waiting().Open)
		require.NotEmpty(t, source.Take().Dirs)
	}
}

// armed returns a Source that hears dir and dir/d.
func armed(t *testing.T, dir string, open func(*os.File, chan<- struct{}) (notify.Source, error)) notify.Source {
	root, err := os.Open(dir)
	require.NoError(t, err)
	defer root.Close()
	source, err := open(root, make(chan struct{}, 1))
	require.NoError(t, err)
	t.Cleanup(func() { _ = source.Close() })
	top, _, err := source.Arm(notify.Ref{}, -1, "", int(root.Fd()))
	require.NoError(t, err)
	d := keep(t, dir+"/d", os.O_RDONLY)
	_, _, err = source.Arm(top, int(root.Fd()), "d", int(d.Fd()))
	require.NoError(t, err)
	require.NoError(t, d.Close())
	for len(source.Take().Dirs) > 0 {
	}
	return source
}
