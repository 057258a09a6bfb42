package replica

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/internal/sys/simkernel"
)

// What is in a directory before mirror takes it.
type found struct {
	*faulty
	root *disk.Dir
}

// tree writes which tree the directory is, into its own .tidemark or into a state directory.
func (f *found) writes(stateDir string, role state.Role, change func(t *state.Tree)) {
	f.t.Helper()
	m, err := state.CreateMarker(f.root, stateDir)
	require.NoError(f.t, err)
	self, err := state.RootOf(f.root)
	require.NoError(f.t, err)
	tree := state.Tree{ID: state.NewTreeID(), Role: role}
	tree.Bind(self)
	change(&tree)
	require.NoError(f.t, m.WriteTree(tree))
	require.NoError(f.t, m.Close())
}

func bound(*state.Tree) {}

// unbound is a tree file that was copied from another directory.
func unbound(t *state.Tree) { t.Inode++ }

// Which directories become, or stay, copies.
func TestWhatMayBeACopy(t *testing.T) {
	const no, yes = exit.Refused, exit.Done
	for name, c := range map[string]struct {
		set      func(f *found)
		stateDir string
		code     exit.Code // of Open
		adopted  exit.Code // with Adopt
		says     string
		isCopy   bool // the tree is known
	}{
		"an empty directory":      {set: func(*found) {}, code: yes},
		"a fresh file system":     {set: func(f *found) { f.tree("lost+found/") }, code: yes},
		"files of somebody":       {set: func(f *found) { f.tree("f") }, code: no, says: "is not empty and no copy of ours"},
		"a copy":                  {set: func(f *found) { f.tree("f"); f.writes("", state.Copy, bound) }, code: yes, isCopy: true},
		"a copy that was copied":  {set: func(f *found) { f.tree("f"); f.writes("", state.Copy, unbound) }, code: no, says: "not the directory its .tidemark was written for"},
		"a source":                {set: func(f *found) { f.tree("f"); f.writes("", state.Source, bound) }, code: no, adopted: no, says: "is a source that watch keeps"},
		"an empty source":         {set: func(f *found) { f.writes("", state.Source, bound) }, code: no, adopted: no, says: "is a source that watch keeps"},
		"a newer format":          {set: func(f *found) { f.writes("", state.Copy, bound); f.damage(`{"format":99}`) }, code: no, adopted: no, says: "update tidemark"},
		"a damaged one":           {set: func(f *found) { f.writes("", state.Copy, bound); f.damage("x") }, code: no, adopted: no, says: "repair or remove its .tidemark"},
		"one that cannot be read": {set: func(f *found) { f.writes("", state.Copy, bound); f.Refuse("read tree", unix.EIO, -1) }, code: exit.Local, adopted: exit.Local, says: "look at the kernel's log"},

		"a copy whose marker is lost":          {set: func(f *found) { f.tree("f"); f.writes("", state.Copy, bound); f.lose() }, code: yes, isCopy: true},
		"a source whose marker is lost":        {set: func(f *found) { f.tree("f"); f.writes("", state.Source, bound); f.lose() }, code: no, says: "or kept until its .tidemark was removed"},
		"an empty one whose marker is lost":    {set: func(f *found) { f.writes("", state.Source, bound); f.lose() }, code: yes},
		"a copied copy whose marker is lost":   {set: func(f *found) { f.tree("f"); f.writes("", state.Copy, unbound); f.lose() }, code: no, says: "is not empty and no copy of ours"},
		"one whose entries cannot be read":     {set: func(f *found) { f.Refuse("list copy", unix.EIO, -1) }, code: exit.Local, adopted: exit.Local, says: "input/output error"},
		"one whose identity cannot be read":    {set: func(f *found) { f.Refuse("statx copy", unix.EIO, -1) }, code: exit.Local, adopted: exit.Local, says: "input/output error"},
		"a state within it":                    {set: func(f *found) { f.tree("s/") }, stateDir: "/copy/s", code: exit.Usage, adopted: exit.Usage, says: "--state-dir"},
		"a state elsewhere":                    {set: func(f *found) { f.tree("f"); f.writes("/state", state.Copy, bound); f.lose() }, stateDir: "/state", code: yes, isCopy: true},
		"a state elsewhere, no attributes":     {set: func(f *found) { f.Machine.NoXattrs = true; f.tree("f"); f.writes("/state", state.Copy, bound) }, stateDir: "/state", code: yes, isCopy: true},
		"a state, and a source":                {set: func(f *found) { f.writes("/state", state.Copy, bound); f.writes("", state.Source, bound) }, stateDir: "/state", code: no, adopted: no, says: "is a source"},
		"a state of another, a copy itself":    {set: func(f *found) { f.tree("f"); f.writes("/state", state.Copy, unbound); f.writes("", state.Copy, bound) }, stateDir: "/state", code: no, says: "not the directory"},
		"an empty state, a copy itself":        {set: func(f *found) { f.tree("f"); f.writes("", state.Copy, bound) }, stateDir: "/state", code: yes, isCopy: true},
		"an empty state, a copied copy itself": {set: func(f *found) { f.tree("f"); f.writes("", state.Copy, unbound) }, stateDir: "/state", code: no, says: "not the directory"},
		"an empty state, somebody's files":     {set: func(f *found) { f.tree("f") }, stateDir: "/state", code: no, says: "is not empty"},
		"a state of a source, and a copy":      {set: func(f *found) { f.writes("/state", state.Source, bound); f.writes("", state.Copy, bound) }, stateDir: "/state", code: no, adopted: no, says: "is a source"},
	} {
		for _, adopt := range []bool{false, true} {
			for _, readOnly := range []bool{false, true} {
				k := newFaulty(t, simkernel.Options{}, 0)
				root, err := disk.OpenRoot("/copy")
				require.NoError(t, err)
				f := &found{faulty: k, root: root}
				c.set(f)
				require.NoError(t, root.Close())
				o := k.options()
				o.Adopt, o.StateDir, o.ReadOnly = adopt, c.stateDir, readOnly
				want := c.code
				if adopt {
					want = c.adopted
				}
				r, err := Open(o)
				require.Equal(t, want, exit.Of(err), "%s, adopted %t, dry %t: %v", name, adopt, readOnly, err)
				if err != nil {
					require.ErrorContains(t, err, c.says, name)
					require.Nil(t, r)
					require.Empty(t, k.Open, name)
					continue
				}
				if !adopt {
					require.Equal(t, c.isCopy, r.Tree().ID != "", name)
				}
				r.Close()
				require.Empty(t, k.Open, name)
			}
		}
	}
}

// damage replaces the tree file.
func (f *found) damage(text string) {
	require.NoError(f.t, f.Shell.Write("/copy/.tidemark/tree", text))
}

// lose removes the marker, as rsync --delete does.
func (f *found) lose() { _ = f.Shell.Remove("/copy/.tidemark") }

// With a state directory, the .tidemark of a source that could not be read, or not be
// understood, counted as none: with --adopt the source became a copy.
func TestASourceThatCannotBeRead(t *testing.T) {
	k := newFaulty(t, simkernel.Options{}, 0)
	root, err := disk.OpenRoot("/copy")
	require.NoError(t, err)
	f := &found{faulty: k, root: root}
	f.tree("f")
	f.writes("", state.Source, bound)
	require.NoError(t, root.Close())
	o := k.options()
	o.Adopt, o.StateDir = true, "/state"
	k.Refuse("read tree", unix.EIO, 1)
	_, err = Open(o)
	require.ErrorIs(t, err, unix.EIO)
	require.Equal(t, exit.Local, exit.Of(err))
	for text, says := range map[string]string{"x": "repair", `{"format":99}`: "update tidemark"} {
		f.damage(text)
		_, err = Open(o)
		require.Equal(t, exit.Refused, exit.Of(err))
		require.ErrorContains(t, err, says)
	}
}

// A copy whose marker was removed is known by its attribute. A read error while that was
// compared with the directory made it "no copy of ours": exit code 4, which systemd does not
// try again.
func TestWhatIsNotKnownIsNoRefusal(t *testing.T) {
	for _, call := range []string{"getxattr copy", "statx copy"} {
		k := newFaulty(t, simkernel.Options{}, 0)
		root, err := disk.OpenRoot("/copy")
		require.NoError(t, err)
		f := &found{faulty: k, root: root}
		f.tree("f")
		f.writes("", state.Copy, bound)
		tree, err := state.OwnTree(root)
		require.NoError(t, err)
		f.lose()
		require.NoError(t, root.Close())
		failed := 0
		for n := 1; n < 16; n++ { // each read of the attribute, and of the identity
			o := k.options()
			o.ReadOnly = n%2 == 0 // then it looks once
			k.RefuseNth(call, (n+1)/2, unix.EIO)
			r, err := Open(o)
			if err == nil {
				require.Equal(t, tree.ID, r.Tree().ID, "%s %d", call, n)
				r.Close()
				continue
			}
			failed++
			require.ErrorIs(t, err, unix.EIO, "%s %d", call, n)
			require.Equal(t, exit.Local, exit.Of(err), "%s %d", call, n)
		}
		require.Positive(t, failed, call)
	}
}
