package identity

import (
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/disk/disktest"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/internal/sys"
)

// clock is what the tests take for the time.
var clock = mtree.Unix(2_000_000, 0)

// decide identifies the tree at a root and says in a word what came of it: "kept", with
// "in doubt" if every directory counts as changed, "new", "copy", "copy or tree", "other".
func decide(t *testing.T, root *disk.Dir, o Options, was state.Tree) (string, Identity) {
	o.Root, o.Log, o.Now = root.Path(), slog.New(slog.DiscardHandler), func() mtree.Stamp { return clock }
	m, err := state.CreateMarker(root, o.StateDir)
	require.NoError(t, err)
	defer m.Close()
	at, err := state.RootOf(root)
	require.NoError(t, err)
	id, err := identify(o, root, m, at)
	if err != nil {
		require.Equal(t, exit.Refused, exit.Of(err), "%v", err)
		switch text := err.Error(); {
		case strings.Contains(text, "is a mirror's copy") && strings.Contains(text, "--new-tree"):
			return "copy or tree", id
		case strings.Contains(text, "is a mirror's copy"):
			return "copy", id
		case strings.Contains(text, "is not the directory"):
			return "other", id
		default:
			return text, id
		}
	}
	require.Equal(t, state.Source, id.Tree.Role)
	require.True(t, id.Tree.BoundTo(at), "it belongs to this root from now on")
	require.Equal(t, o.NewTree, id.Tree.Minted, "--new-tree acts once, as long as it is given")
	if id.Tree.ID != was.ID {
		require.EqualValues(t, 1, id.Tree.Epoch)
		return "new", id
	}
	for _, gone := range []string{id.Tree.Upstream, id.Tree.Place, id.Tree.Adopted, id.Tree.Copy, id.Tree.Fingerprint} {
		require.Empty(t, gone, "what only a copy has")
	}
	require.False(t, id.Tree.NoID)
	require.Zero(t, id.Tree.Older)
	require.Nil(t, id.Tree.Filters)
	require.Equal(t, was.Path, id.Tree.Path)
	if id.Doubt {
		return "in doubt", id
	}
	return "kept", id
}

// someTree returns a tree with everything that a copy may have.
func someTree(role state.Role, minted bool) state.Tree {
	return state.Tree{
		ID: state.NewTreeID(), Epoch: 7, Role: role, Minted: minted, Upstream: "http://a/", NoID: true, Place: "1:2", Path: "/a",
		Older: 3, Adopted: "b", Filters: []string{"c"}, Copy: "0011223344556677", Fingerprint: "d",
	}
}

// With a tree file. A directory that is taken for another tree than it is deletes its
// copies, or their copies.
func TestIdentify(t *testing.T) {
	for _, c := range []struct {
		role   state.Role
		minted bool
		o      Options
		here   string // at the root for which the file was written
		moved  string // at another
	}{
		{state.Source, false, Options{}, "kept", "other"},
		{state.Source, false, Options{SameTree: true}, "kept", "in doubt"},
		{state.Source, false, Options{Promote: true}, "kept", "other"},
		{state.Source, false, Options{NewTree: true}, "new", "new"},
		{state.Source, true, Options{NewTree: true}, "kept", "new"},
		{state.Source, true, Options{}, "kept", "other"},
		{state.Copy, false, Options{}, "copy", "copy or tree"},
		{state.Copy, false, Options{SameTree: true}, "copy", "copy or tree"},
		{state.Copy, false, Options{Promote: true}, "in doubt", "in doubt"},
		{state.Copy, false, Options{NewTree: true}, "copy", "new"},
		{state.Copy, false, Options{NewTree: true, Promote: true}, "new", "new"},
	} {
		for _, moved := range []bool{false, true} {
			root := disktest.OpenRoot(t, t.TempDir())
			tree := someTree(c.role, c.minted)
			write(t, root, tree, moved)
			got, id := decide(t, root, c.o, tree)
			require.Equal(t, map[bool]string{false: c.here, true: c.moved}[moved], got, "%+v, moved: %v", c, moved)
			require.False(t, id.First)
			if got == "new" {
				require.True(t, id.Doubt, "there may be a checkpoint of the tree before")
			}
		}
	}
}

// write writes the tree file, for this root or as if for another.
func write(t *testing.T, root *disk.Dir, tree state.Tree, moved bool) {
	m, err := state.CreateMarker(root, "")
	require.NoError(t, err)
	defer m.Close()
	at, err := state.RootOf(root)
	require.NoError(t, err)
	if moved {
		at.Node.Ino++
	}
	tree.Bind(at)
	require.NoError(t, m.WriteTree(tree))
}

// Without a tree file, by the attributes of the root: rsync --delete removes .tidemark.
func TestUnmarked(t *testing.T) {
	const none = state.Role("")
	for _, c := range []struct {
		role      state.Role
		minted    bool
		moved     bool // the attribute was written for another root
		completed bool // by a mirror
		o         Options
		want      string
	}{
		{none, false, false, false, Options{}, "new"},
		{none, false, false, false, Options{NewTree: true}, "new"},
		{none, false, false, false, Options{SameTree: true}, "new"},
		{none, false, false, true, Options{}, "copy or tree"},
		{none, false, false, true, Options{SameTree: true}, "copy or tree"},
		{none, false, false, true, Options{Promote: true}, "new"},
		{none, false, false, true, Options{NewTree: true}, "new"},
		{state.Source, false, false, false, Options{}, "in doubt"},
		{state.Source, false, false, true, Options{}, "in doubt"},
		{state.Source, false, false, false, Options{NewTree: true}, "new"},
		{state.Source, true, false, false, Options{NewTree: true}, "in doubt"},
		{state.Source, false, true, false, Options{}, "other"},
		{state.Source, false, true, false, Options{SameTree: true}, "in doubt"},
		{state.Source, true, true, false, Options{NewTree: true}, "new"},
		{state.Source, false, true, true, Options{}, "copy or tree"},
		{state.Source, false, true, true, Options{SameTree: true}, "copy or tree"},
		{state.Copy, false, false, false, Options{}, "copy"},
		{state.Copy, false, false, true, Options{}, "copy"},
		{state.Copy, false, false, true, Options{Promote: true}, "in doubt"},
		{state.Copy, false, false, true, Options{NewTree: true}, "copy"},
		{state.Copy, false, false, true, Options{NewTree: true, Promote: true}, "new"},
		{state.Copy, false, true, false, Options{}, "other"},
		{state.Copy, false, true, true, Options{}, "copy or tree"},
		{state.Copy, false, true, true, Options{Promote: true}, "in doubt"},
		{state.Copy, false, true, true, Options{NewTree: true}, "new"},
	} {
		root := disktest.OpenRoot(t, t.TempDir())
		tree := someTree(c.role, c.minted)
		if c.role != none {
			write(t, root, tree, c.moved)
			require.NoError(t, os.RemoveAll(root.Path()+"/.tidemark"))
		}
		if c.completed {
			require.NoError(t, records.Set(root, records.Record{Stamp: mtree.Unix(1000, 7), Now: mtree.Unix(2000, 0), ID: "00ff"}))
		}
		got, id := decide(t, root, c.o, tree)
		require.Equal(t, c.want, got, "%+v", c)
		require.Equal(t, got == "new", id.First, "%+v", c)
		if got == "in doubt" {
			require.EqualValues(t, 2_000_000, id.Tree.Epoch, "above any that it had")
		}
	}
}

// The attribute of an earlier version holds the id alone.
func TestNoteOfAnEarlierVersion(t *testing.T) {
	root := disktest.OpenRoot(t, t.TempDir())
	tree := state.Tree{ID: state.NewTreeID()}
	require.NoError(t, sys.Fsetxattr(root.FD(), "user.tidemark.id", []byte(tree.ID), 0))
	got, _ := decide(t, root, Options{}, tree)
	require.Equal(t, "other", got)
	got, _ = decide(t, root, Options{SameTree: true}, tree)
	require.Equal(t, "in doubt", got)
}

// With --state-dir the root's own tree file still says whether it is a copy, and which
// tree it is where the state directory does not know.
func TestTreeBesideTheStateDir(t *testing.T) {
	for _, c := range []struct {
		own, beside state.Role
		want        string // of which file the tree is
		decided     string
	}{
		{"", state.Source, "beside", "kept"},
		{state.Source, "", "own", "kept"},
		{state.Source, state.Source, "beside", "kept"},
		{state.Copy, "", "own", "copy"},
		{state.Copy, state.Source, "own", "copy"},
	} {
		root, dir := disktest.OpenRoot(t, t.TempDir()), t.TempDir()
		own, beside := someTree(c.own, false), someTree(c.beside, false)
		if c.beside != "" {
			m, err := state.OpenMarker(root, dir)
			require.NoError(t, err)
			at, err := state.RootOf(root)
			require.NoError(t, err)
			beside.Bind(at)
			require.NoError(t, m.WriteTree(beside))
			require.NoError(t, m.Close())
		}
		if c.own != "" {
			write(t, root, own, false)
		}
		got, id := decide(t, root, Options{StateDir: dir}, map[string]state.Tree{"own": own, "beside": beside}[c.want])
		require.Equal(t, c.decided, got, "%+v", c)
		require.Equal(t, map[string]string{"own": own.ID, "beside": beside.ID}[c.want], id.Tree.ID)
	}

	// An attribute alone has no epoch, so it does not stand for a tree file.
	root, dir := disktest.OpenRoot(t, t.TempDir()), t.TempDir()
	tree := someTree(state.Source, false)
	write(t, root, tree, false)
	require.NoError(t, os.RemoveAll(root.Path()+"/.tidemark"))
	got, id := decide(t, root, Options{StateDir: dir}, tree)
	require.Equal(t, "in doubt", got)
	require.EqualValues(t, 2_000_000, id.Tree.Epoch)
}

// A tree file that cannot be used ends the start, and is not taken for a missing one.
func TestTreeFileThatCannotBeUsed(t *testing.T) {
	for _, c := range []struct {
		spoil func(t *testing.T, tree string)
		code  exit.Code
	}{
		{func(t *testing.T, tree string) { disktest.Write(t, tree, `{"format":99}`) }, exit.Refused},
		{func(t *testing.T, tree string) { disktest.Write(t, tree, `{`) }, exit.Local},
		{func(t *testing.T, tree string) { require.NoError(t, os.Mkdir(tree, 0o755)) }, exit.Local},
	} {
		for _, elsewhere := range []string{"", t.TempDir()} {
			root := disktest.OpenRoot(t, t.TempDir())
			m, err := state.CreateMarker(root, elsewhere)
			require.NoError(t, err)
			c.spoil(t, m.Dir().Path()+"/tree")
			at, err := state.RootOf(root)
			require.NoError(t, err)
			_, err = identify(Options{StateDir: elsewhere, Now: func() mtree.Stamp { return clock }}, root, m, at)
			require.Error(t, err)
			require.Equal(t, c.code, exit.Of(err))
			require.Equal(t, c.code == exit.Refused, errors.Is(err, state.ErrNewerFormat), "%v", err)
			require.NoError(t, m.Close())
		}
	}
	root, dir := disktest.OpenRoot(t, t.TempDir()), t.TempDir()
	disktest.Write(t, root.Path()+"/.tidemark/tree", `{"format":99}`)
	m, err := state.OpenMarker(root, dir)
	require.NoError(t, err)
	defer m.Close()
	at, err := state.RootOf(root)
	require.NoError(t, err)
	_, err = identify(Options{StateDir: dir, Now: func() mtree.Stamp { return clock }}, root, m, at)
	require.ErrorIs(t, err, state.ErrNewerFormat, "the root's own")

	// One in the state directory that is damaged is not replaced by the root's own.
	disktest.Write(t, dir+"/tree", "{")
	require.NoError(t, os.Remove(root.Path()+"/.tidemark/tree"))
	write(t, root, someTree(state.Source, false), false)
	_, err = identify(Options{StateDir: dir, Now: func() mtree.Stamp { return clock }}, root, m, at)
	require.Equal(t, exit.Local, exit.Of(err))
}
