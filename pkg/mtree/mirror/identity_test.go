package mirror

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/serve"
	"tidemark/pkg/mtree/wire"
)

// copied copies a directory as cp -a does, with its attributes.
func copied(t *testing.T, from string) string {
	to := filepath.Join(t.TempDir(), "copied")
	out, err := exec.Command("cp", "-a", from, to).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return to
}

// A directory with the attributes of a copy, as rsync -X and cp -a leave them, was taken for
// that copy, and what users made in it was deleted.
func TestAttributesOfACopyProveNothing(t *testing.T) {
	s, b := overHTTP(t, "a/f = one")
	b.equal(s)
	own := b.config.Dest
	work := copied(t, own)
	require.NoError(t, os.RemoveAll(filepath.Join(work, mtree.MarkerName)))
	require.NoError(t, os.WriteFile(filepath.Join(work, "mine"), nil, 0o644))
	b.config.Dest = work
	b.refuses("--adopt")
	// nor does the id alone, which earlier versions left
	require.NoError(t, syscall.Setxattr(work, "user.tidemark.id", []byte(s.id.ID), 0))
	b.refuses("--adopt")
	require.FileExists(t, filepath.Join(work, "mine"))

	// the copy itself is ours without its .tidemark
	b.config.Dest = own
	require.NoError(t, os.RemoveAll(b.path(mtree.MarkerName)))
	b.equal(s)
	require.Equal(t, "/", b.published().Tree.Path)
}

// An id alone, which an earlier version left, becomes a proof when the copy is used.
func TestTheIDOfAnEarlierVersion(t *testing.T) {
	s, b := overHTTP(t, "a/f = one")
	b.equal(s)
	require.NoError(t, syscall.Setxattr(b.config.Dest, "user.tidemark.id", []byte(s.id.ID), 0))
	b.alterTree(func(t *state.Tree) { t.FS, t.Runs, t.Path = "", nil, "" })
	b.requireIdle()
	d, err := disk.OpenRoot(b.config.Dest)
	require.NoError(t, err)
	defer d.Close()
	_, proven, err := state.Noted(d)
	require.NoError(t, err)
	require.True(t, proven)
}

// A copy that became a source, and then lost its .tidemark, was taken over by its old mirror.
func TestASourceThatLostItsMarker(t *testing.T) {
	s, b := overHTTP(t, "a/f = one")
	b.equal(s)
	b.alterTree(func(t *state.Tree) { t.Role = state.Source })
	require.NoError(t, os.WriteFile(b.path("precious"), nil, 0o644))
	require.NoError(t, os.RemoveAll(b.path(mtree.MarkerName)))
	b.refuses("a source that watch keeps, or kept")
	b.config.StateDir = filepath.Join(t.TempDir(), "state")
	b.refuses("a source that watch keeps")
	require.FileExists(t, b.path("precious"))
}

// A mirror whose state lay elsewhere went on deleting in a DEST that had become a source: it
// read only in that state what DEST is.
func TestASourceIsOneWhateverTheStateDir(t *testing.T) {
	s, b := overHTTP(t, "a/f = one")
	b.config.StateDir = filepath.Join(t.TempDir(), "state")
	b.equal(s)
	root, err := disk.OpenRoot(b.config.Dest)
	require.NoError(t, err)
	defer root.Close()
	at, err := state.RootOf(root)
	require.NoError(t, err)
	m, err := state.CreateMarker(root, "")
	require.NoError(t, err)
	defer m.Close()
	tree := state.Tree{ID: s.id.ID, Epoch: 2, Role: state.Source}
	tree.Bind(at)
	require.NoError(t, m.WriteTree(tree))
	require.NoError(t, os.WriteFile(b.path("precious"), nil, 0o644))
	b.refuses("a source that watch keeps")
	require.FileExists(t, b.path("precious"))
}

// A copy whose state is from now on kept elsewhere is recognised as ours.
func TestStateOfACopyMovedElsewhere(t *testing.T) {
	s, b := overHTTP(t, "a/f = one")
	b.equal(s)
	require.NoError(t, syscall.Removexattr(b.config.Dest, "user.tidemark.id"))
	b.config.StateDir = filepath.Join(t.TempDir(), "state")
	b.equal(s)
}

// Two mirrors with different state directories had one DEST: the lock was in the state.
func TestOneMirrorWhateverTheStateDir(t *testing.T) {
	s, b := overHTTP(t, "a/f = one")
	b.equal(s)
	m, err := open(b.config)
	require.NoError(t, err)
	b.config.StateDir = filepath.Join(t.TempDir(), "state")
	b.config.Adopt = true
	b.refuses("already running")
	m.close()
	require.NoError(t, b.once())
}

// A copy of a copy's files was published as that copy, whose stamps prune: changes in it never
// reached the copies of it.
func TestACopiedCopyIsUnwatched(t *testing.T) {
	for _, served := range []bool{false, true} {
		_, b := overHTTP(t, "a/f = one", "a/x.tmp = t", "c/g = x")
		b.config.Filters = []string{"- *.tmp"}
		require.NoError(t, b.once())
		work := copied(t, b.config.Dest)
		source := work
		if served {
			source = serveTree(t, work).URL
		}
		next := newBench(t, source)
		require.NoError(t, next.once())
		require.NoError(t, os.WriteFile(filepath.Join(work, "a/f"), []byte("edited, and no directory shows it"), 0o644))
		require.NoError(t, os.WriteFile(filepath.Join(work, "a/mine.tmp"), []byte("mine"), 0o644))
		require.NoError(t, os.Remove(filepath.Join(work, "c/g")))
		require.NoError(t, next.once())
		require.Equal(t, "edited, and no directory shows it", next.read("a/f"))
		require.Equal(t, "mine", next.read("a/mine.tmp"), "no mirror leaves it to somebody else any more")
		require.NoFileExists(t, next.path("c/g"))
		require.Equal(t, wire.Unwatched, next.published().State)
	}
}

// Once a mirror keeps a copied copy again, its stamps are those of the tree. A copy of it has
// edits that were made under the same stamps, so it compares everything.
func TestACopiedCopyThatIsAdopted(t *testing.T) {
	for name, address := range map[string]func(root string) string{
		"directory": func(root string) string { return root },
		"http":      func(root string) string { return serveTree(t, root).URL },
	} {
		t.Run(name, func(t *testing.T) {
			s, b := overHTTP(t, "a/f = one", "c/g = x")
			b.equal(s)
			b.config.Dest = copied(t, b.config.Dest)
			next := newBench(t, address(b.config.Dest))
			require.NoError(t, os.WriteFile(b.path("a/f"), []byte("edited, and no directory shows it"), 0o644))
			require.NoError(t, next.once())
			require.Equal(t, "edited, and no directory shows it", next.read("a/f"))
			b.config.Adopt = true
			b.equal(s)
			if name == "http" { // reads what .tidemark says anew
				answer, err := http.Get(next.config.Source + "/?status")
				require.NoError(t, err)
				require.NoError(t, answer.Body.Close())
			}
			next.equal(s)
		})
	}
}

// The records of a copied copy say which entries its source left out. That is not true of
// files that were made in it since.
func TestAdoptingACopiedCopy(t *testing.T) {
	s, b := overHTTP(t, "a/f = one", "a/seen.log = l")
	h := b.server
	h.reopen(serve.Config{Root: s.root, Exclude: []string{"*.log"}})
	require.NoError(t, b.once())
	b.config.Dest = copied(t, b.config.Dest)
	require.NoError(t, os.WriteFile(b.path("a/mine.log"), nil, 0o644))
	b.refuses("--adopt")
	b.config.Adopt = true
	require.NoError(t, b.once())
	require.FileExists(t, b.path("a/mine.log"), "the source may hide it")
}

// --adopt in a systemd unit took over whatever tree answered at a later start.
func TestAdoptActsOnce(t *testing.T) {
	s := watched(t, "a/f = one")
	b := newBench(t, s.root)
	require.NoError(t, os.Mkdir(b.config.Dest, 0o755))
	require.NoError(t, os.WriteFile(b.path("old"), nil, 0o644))
	b.refuses("--adopt")
	b.config.Adopt = true
	b.equal(s)
	b.requireIdle()
	s.id.ID = state.NewTreeID()
	require.NoError(t, s.marker.WriteTree(s.id))
	s.remove("a")
	s.change("b = another tree")
	b.refuses("counts again after a start without it")
	require.Equal(t, "one", b.read("a/f"))

	b.config.Adopt = false
	b.refuses("--adopt")
	b.config.Adopt = true
	b.equal(s)

	// nor does a running mirror take another tree
	m, err := open(b.config)
	require.NoError(t, err)
	defer m.close()
	forgotten := m.replica.Tree()
	forgotten.Adopted = ""
	require.NoError(t, m.replica.SetTree(forgotten))
	_, err = m.once(t.Context())
	require.NoError(t, err)
	s.id.ID = state.NewTreeID()
	require.NoError(t, s.marker.WriteTree(s.id))
	_, err = m.once(t.Context())
	require.ErrorContains(t, err, "the source is tree")
}
