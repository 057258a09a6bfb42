package state

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/wire"
)

// What is in the tree file decides what a tree is; the attribute of its root only where
// there is none.
func TestOwnTree(t *testing.T) {
	top, m := newMarker(t)
	root, err := RootOf(m.root)
	require.NoError(t, err)
	_, proven, err := Noted(m.root)
	require.NoError(t, err)
	require.False(t, proven, "no attribute")
	_, err = OwnTree(m.root)
	require.ErrorIs(t, err, ErrNoTree)
	tree := Tree{ID: NewTreeID(), Format: 99}
	tree.Bind(root)
	require.NoError(t, m.WriteTree(tree))
	got, err := OwnTree(m.root)
	require.NoError(t, err)
	require.True(t, got.Same(tree))
	require.Equal(t, 1, got.Format, "whatever the caller had")
	require.NoError(t, os.Remove(filepath.Join(top, mtree.MarkerName, treeName)))
	got, err = OwnTree(m.root)
	require.NoError(t, err)
	require.Equal(t, tree.ID, got.ID, "from the attribute")
	for _, bad := range []string{"", "x", `{"format":1,"id":"0123456789abcdef"}`, `{"format":1,"id":"` + tree.ID + `0"}`, `{"format":1,"id":"` + tree.ID + `x"}`, `{"format":1}`} {
		require.NoError(t, os.WriteFile(filepath.Join(top, mtree.MarkerName, treeName), []byte(bad), 0o644))
		_, err = OwnTree(m.root)
		require.Error(t, err, bad)
		require.NotErrorIs(t, err, ErrNoTree, bad)
	}
}

// A tree with a text in place of a number is none, though its id is read before.
func TestANoteThatIsHalfRead(t *testing.T) {
	top, m := newMarker(t)
	require.NoError(t, unix.Setxattr(top, idXattr, []byte(`{"format":1,"id":"`+NewTreeID()+`","epoch":"x"}`), 0))
	noted, proven, err := Noted(m.root)
	require.NoError(t, err)
	require.False(t, proven)
	require.Empty(t, noted.ID)
}

// The attribute is written only when it changes: that moves the root's ctime, which readers
// see.
func TestTheNoteIsWrittenOnce(t *testing.T) {
	k, m := newFaulty(t)
	tree := Tree{ID: NewTreeID()}
	require.NoError(t, m.WriteTree(tree))
	require.Equal(t, 1, k.Made("setxattr"))
	tree.Epoch++
	require.NoError(t, m.WriteTree(tree))
	require.Zero(t, k.Made("setxattr"))
	tree.Role = Copy
	require.NoError(t, m.WriteTree(tree))
	require.Equal(t, 1, k.Made("setxattr"))
}

// An attribute that is not there, not possible or not ours says nothing; one that cannot be
// read is an error, and so is a directory that cannot be compared with it.
func TestANoteThatCannotBeRead(t *testing.T) {
	k, m := newFaulty(t)
	require.NoError(t, m.WriteTree(Tree{ID: NewTreeID()}))
	for errno, fails := range map[unix.Errno]bool{unix.ENODATA: false, unix.EOPNOTSUPP: false, unix.ERANGE: false, unix.EIO: true, unix.EACCES: true} {
		k.Refuse("getxattr "+mtree.BaseName(m.root.Path()), errno, -1)
		noted, proven, err := Noted(m.root)
		require.Equal(t, fails, err != nil, errno)
		require.NoError(t, m.dir.Unlink(treeName))
		_, ownErr := OwnTree(m.root)
		if fails {
			require.ErrorIs(t, ownErr, errno)
		} else {
			require.ErrorIs(t, ownErr, ErrNoTree)
		}
		require.NoError(t, m.WriteTree(Tree{ID: NewTreeID()}))
		if fails {
			require.ErrorIs(t, err, errno)
		}
		require.False(t, proven)
		require.Empty(t, noted)
	}
	k.Fail = nil
	tree, err := m.ReadTree()
	require.NoError(t, err)
	self, err := RootOf(m.root)
	require.NoError(t, err)
	tree.Bind(self)
	require.NoError(t, m.WriteTree(tree))
	_, proven, err := Noted(m.root)
	require.NoError(t, err)
	require.True(t, proven)
	k.Refuse("statx "+mtree.BaseName(m.root.Path()), unix.EIO, -1)
	_, proven, err = Noted(m.root)
	require.ErrorIs(t, err, unix.EIO)
	require.False(t, proven)
}

// The attribute changes with a reboot only where nothing else identifies the root.
func TestWhatIsNoted(t *testing.T) {
	born := mtree.Unix(5, 0)
	for _, c := range []struct {
		tree Tree
		dev  uint64
	}{
		{Tree{Dev: 7}, 7}, {Tree{Dev: 7, FS: "f"}, 0}, {Tree{Dev: 7, Born: born}, 0}, {Tree{Dev: 7, FS: "f", Born: born}, 0},
	} {
		require.Equal(t, c.dev, c.tree.Lasting().Dev, "%+v", c.tree)
	}
}

// The attribute of a copy says under which options the copy was made last. A tree file with other
// ones is an earlier one, if both are of a copy; what an attribute does not say proves nothing.
func TestIsEarlier(t *testing.T) {
	now := Tree{Role: Copy, Filters: []string{"- *.o"}, Fingerprint: "0123456789abcdef"}
	noted := now.Lasting()
	require.NotEmpty(t, noted.Made)
	require.False(t, now.IsEarlier(&noted))
	for name, c := range map[string]struct {
		file, noted func(*Tree)
		earlier     bool
	}{
		"other filters":          {file: func(f *Tree) { f.Filters = nil }, earlier: true},
		"other options of serve": {file: func(f *Tree) { f.Fingerprint = "" }, earlier: true},
		"a source":               {file: func(f *Tree) { f.Role, f.Filters = Source, nil }},
		"noted as a source":      {file: func(f *Tree) { f.Filters = nil }, noted: func(n *Tree) { n.Role = Source }},
		"not noted":              {file: func(f *Tree) { f.Filters = nil }, noted: func(n *Tree) { n.Made = "" }},
	} {
		file, n := now, noted
		c.file(&file)
		if c.noted != nil {
			c.noted(&n)
		}
		require.Equal(t, c.earlier, file.IsEarlier(&n), name)
	}
	source := Tree{Role: Source, Filters: now.Filters}
	require.Empty(t, source.Lasting().Made, "a source has no options")
	require.True(t, now.Same(Tree{Role: Copy, Filters: now.Filters, Fingerprint: now.Fingerprint, Made: noted.Made}), "the file has no digest")
}

func TestTreeIDs(t *testing.T) {
	require.NotEqual(t, NewTreeID(), NewTreeID())
	for id, valid := range map[string]bool{NewTreeID(): true, "": false, NewTreeID()[2:]: false, NewTreeID() + "00": false, NewTreeID() + "x": false, NewTreeID() + "0": false} {
		require.Equal(t, valid, validTreeID(id), id)
	}
}

// Two trees are the same if their files are, whichever version wrote them.
func TestSame(t *testing.T) {
	a := Tree{ID: NewTreeID(), Epoch: 5}
	b := a
	b.Format = 1
	require.True(t, a.Same(b))
	b.Epoch++
	require.False(t, a.Same(b))
}

// A run that has ended keeps its floor, and a tree that was copied before keeps its runs.
func TestARunEndsOnce(t *testing.T) {
	old := mtree.Unix(3, 0)
	tree := Tree{Runs: []wire.Run{{ID: "a", Floor: &old}}}
	tree.BeginRun(mtree.Unix(9, 0))
	require.Equal(t, old, *tree.Runs[0].Floor)
	before := tree
	tree.BeginRun(mtree.Unix(10, 0))
	require.Nil(t, before.Runs[1].Floor)
	require.Equal(t, mtree.Unix(10, 0), *tree.Runs[1].Floor)
}

// Contents came by a copy only if a source of this copy's name had them from the same host.
func TestCameBy(t *testing.T) {
	root := mtree.Unix(1, 0)
	of := func(copy, host string) string {
		return wire.FormatUpstreams([]wire.Upstream{{Host: host, Root: root, Copy: copy}})
	}
	us := Tree{Role: Copy, Upstream: "http://b:1", Copy: "0123456789abcdef"}
	require.True(t, us.CameBy(of("0123456789abcdef", "b:1")))
	require.False(t, us.CameBy(of("fedcba9876543210", "b:1")), "another copy of that source")
	require.False(t, us.CameBy(of("0123456789abcdef", "c:1")), "a clone")
	us.Copy = ""
	require.False(t, us.CameBy(of("", "b:1")), "of a version that has no names")
}

func TestHostOf(t *testing.T) {
	for source, want := range map[string]string{
		"http://u:p@h:1/a": "h:1", "/srv/a": "local", "//srv/a": "local", "a:/b": "local", "http://h:x/%zz": "local", "": "local",
	} {
		require.Equal(t, want, hostOf(source), source)
	}
	for source, want := range map[string]string{"": "", "//srv/A/": "//srv/A", "Odd:/Name/": "Odd:/Name", "http://h:x/%zz/": "http://h:x/%zz"} {
		require.Equal(t, want, SourceName(source), source)
	}
}

// What is UTF-8 stands in the tree file as it is: people and earlier versions read it.
func TestTextsOfTheTreeFile(t *testing.T) {
	top, m := newMarker(t)
	require.NoError(t, m.WriteTree(Tree{ID: NewTreeID(), Path: "/ä b%", Filters: []string{"ö c"}}))
	text := read(t, filepath.Join(top, mtree.MarkerName, treeName))
	require.Contains(t, text, `"/ä b%"`)
	require.Contains(t, text, `"ö c"`)
}
