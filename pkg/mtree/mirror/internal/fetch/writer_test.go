package fetch

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/glob"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
)

// A directory that its owner may not change becomes one that the owner may.
func TestADirectoryThatIsMadeReady(t *testing.T) {
	for mode, is := range map[uint32]uint32{0o555: 0o755, 0o300: 0o700, 0o750: 0o750} {
		b := newBench(t, "d/")
		require.NoError(t, b.Shell.Chmod("/copy/d", mode))
		b.Made("")
		require.Empty(t, b.fetch("d", b.gives("d/f", "12345")).Failed)
		require.Equal(t, is, b.has("d").Mode)
	}
}

// What replaces a directory is removed if that may not go.
func TestWhatMayReplaceADirectory(t *testing.T) {
	for name, test := range map[string]struct {
		change func(b *bench)
		path   string
		nested bool
		err    string
		why    string
	}{
		"a directory":        {path: "d/f"},
		"in another tree":    {path: "d/f", nested: true, why: replica.WhyTree},
		"nothing is deleted": {path: "d/f", change: func(b *bench) { b.env.Copy.NoDelete = true }, err: "--no-delete"},
		"filters keep it": {path: "d/f", change: func(b *bench) {
			l, err := glob.Excluding([]string{"g"})
			require.NoError(t, err)
			b.env.Copy.Replica.Filters = l
		}, err: "what filters exclude"},
		"nothing is there": {path: "d/none", err: "no such file"},
	} {
		b := newBench(t, "d/f/g")
		if test.change != nil {
			test.change(b)
		}
		r := b.env.Copy.Replica
		staged, err := r.Staging.Symlink("target")
		require.NoError(t, err)
		dir, err := r.Dir("d")
		require.NoError(t, err)
		d, err := b.env.Copy.Replacement(dir, test.path, staged, test.nested)
		require.NoError(t, dir.Close())
		if test.err != "" {
			require.ErrorContains(t, err, test.err, name)
			require.Empty(t, b.staging(), name)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, staged, d.Staged)
		require.Equal(t, test.why, d.Why, name)
		require.Equal(t, []string{staged}, b.staging())
	}
}

// A name is noted as it is now, if it is a file of the listed size in this copy.
func TestNamesThatAreNoted(t *testing.T) {
	for name, test := range map[string]struct {
		info   disk.Info
		nested bool
		noted  bool
	}{
		"a file":          {info: disk.Info{Kind: mtree.File, Size: 5}, noted: true},
		"another size":    {info: disk.Info{Kind: mtree.File, Size: 4}},
		"a symlink":       {info: disk.Info{Kind: mtree.Symlink, Size: 5}},
		"in another tree": {info: disk.Info{Kind: mtree.File, Size: 5}, nested: true},
	} {
		b := newBench(t, "d/")
		index := b.linked()
		tt := target("d")
		tt.Nested = test.nested
		b.env.Copy.NoteLink(&tt, &mtree.Entry{Name: "f", Kind: mtree.File, Size: 5, Same: 7, Has: mtree.HasSame}, test.info)
		_, ok := index.Of("d/f")
		require.Equal(t, test.noted, ok, name)
	}
}

// So many files are worth a directory of their own.
func TestHowManyFilesAreStaged(t *testing.T) {
	require.False(t, IsStaged(leastStaged-1))
	require.True(t, IsStaged(leastStaged))
}

// A directory is filled in place where what is made in the staging directory would be another one.
func TestDirectoriesThatAreNotStaged(t *testing.T) {
	for name, test := range map[string]struct {
		change func(b *bench)
		fail   string
		staged bool
	}{
		"it is":           {staged: true},
		"with its group":  {change: func(b *bench) { b.chgrp("/copy/d", 5, 0o2755) }, staged: true},
		"case is ignored": {change: func(b *bench) { b.env.Copy.Replica.Staging.Folds = true }},
		"another's":       {change: func(b *bench) { require.NoError(b.t, b.Shell.Chown("/copy/d", 5)) }},
		"no group is set": {change: func(b *bench) { b.chgrp("/copy/d", 5, 0o2755) }, fail: "chmod"},
		"not begun":       {fail: "setxattr"},
		"not made":        {fail: "mkdir"},
	} {
		b := newBench(t, "d/")
		if test.change != nil {
			test.change(b)
		}
		g := group("d", b.gives("d/f", "12345"))
		g.Staged = true
		b.Fail = func(call string) error {
			if what, name, _ := strings.Cut(call, " "); what == test.fail && name != "d" {
				return unix.EIO
			}
			return nil
		}
		h := b.fetchAll(g)[0]
		require.Empty(t, h.Failed, name)
		require.Equal(t, test.staged, h.Replaced, name)
		require.Equal(t, "12345", b.text("d/f"), name)
		_, begun := b.doubts("d")
		require.True(t, begun, name)
		require.Empty(t, b.staging(), name)
	}
}

// chgrp gives a directory another group, and a mode.
func (b *bench) chgrp(path string, gid int, mode uint32) {
	require.NoError(b.t, b.Shell.Fchownat(unix.AT_FDCWD, path, -1, gid, 0))
	require.NoError(b.t, b.Shell.Chmod(path, mode))
}

// Where a directory gets no name its files count as gone, and from then on they are written in place.
func TestAStagedDirectoryThatGetsNoName(t *testing.T) {
	b := newBench(t, "d/", "e/")
	g := group("d", b.gives("d/f", "12345"), b.gives("d/g", "", failing(source.ErrDenied)), b.gives("d/h", "", failing(errAway)))
	g.Staged = true
	b.Refuse("rename d", unix.EXDEV, 1)
	require.Equal(t, "denied 1, failed 1, gone 1, unread g", said(&b.fetchAll(g)[0]))
	require.Equal(t, "-", b.text("d/f"))
	require.Empty(t, b.staging())
	g = group("e", b.gives("e/f", "12345"))
	g.Staged = true
	require.Equal(t, "bytes 5, came f, made 1, verified f", said(&b.fetchAll(g)[0]))
}
