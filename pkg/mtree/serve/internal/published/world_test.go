package published

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/glob"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/internal/sys"
	"tidemark/pkg/mtree/internal/sys/faultkernel"
	"tidemark/pkg/mtree/wire"
)

// world is a machine in memory with the directory /tree, which is published.
type world struct {
	*faultkernel.Kernel
	t      *testing.T
	log    bytes.Buffer
	marker *state.Marker // of who keeps the tree, if says was called
}

// simulated runs a test in a machine in memory. Its clock stands still, unless the test
// lets time pass. uid is the user of serve; all else belongs to user 0.
func simulated(t *testing.T, uid uint32, test func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) {
		test(t, newWorld(t, uid))
	})
}

func newWorld(t *testing.T, uid uint32) *world {
	w := &world{Kernel: faultkernel.New(t, uid), t: t}
	require.NoError(t, w.Shell.Mkdir("/tree", 0o755))
	return w
}

// pass lets time pass.
func pass(d time.Duration) { <-time.After(d) }

// fill puts things into the tree: "dir/", "file", which holds its own name, "link -> target".
func (w *world) fill(things ...string) {
	for _, thing := range things {
		name, target, isLink := strings.Cut(thing, " -> ")
		name, isDir := strings.CutSuffix("/tree/"+name, "/")
		switch {
		case isLink:
			require.NoError(w.t, w.Shell.Symlink(target, name))
		case isDir:
			require.NoError(w.t, w.Shell.Mkdir(name, 0o755))
		default:
			require.NoError(w.t, w.Shell.Write(name, thing))
		}
	}
}

// put puts a thing into the tree in place of what has its name.
func (w *world) put(thing string) {
	name, _, _ := strings.Cut(thing, " -> ")
	_ = w.Shell.Remove("/tree/" + name)
	w.fill(thing)
}

// keep does something as the program that keeps the tree, with its marker.
func (w *world) keep(do func(m *state.Marker)) {
	defer sys.Simulate(w.Shell.Process)()
	if w.marker == nil {
		root, err := disk.OpenRoot("/tree")
		require.NoError(w.t, err)
		w.marker, err = state.CreateMarker(root, "")
		require.NoError(w.t, err)
		_, err = w.marker.Lock()
		require.NoError(w.t, err)
	}
	do(w.marker)
}

// says lets the program that keeps the tree say this of it. It runs from then on. The tree
// file is for this root, unless it names another inode.
func (w *world) says(tree state.Tree, status state.Status) {
	w.keep(func(m *state.Marker) {
		if tree.Inode == 0 {
			root, err := disk.OpenRoot("/tree")
			require.NoError(w.t, err)
			who, err := state.RootOf(root)
			require.NoError(w.t, err)
			require.NoError(w.t, root.Close())
			tree.Bind(who)
		}
		require.NoError(w.t, m.WriteTree(tree))
		file, err := m.CreateStatus()
		require.NoError(w.t, err)
		require.NoError(w.t, file.Write(status))
		require.NoError(w.t, file.Close())
	})
}

// unread lets watch say that it may not read these directories.
func (w *world) unread(dirs ...string) {
	lines := map[string]state.Unread{}
	for _, dir := range dirs {
		lines[dir] = state.Unread{}
	}
	w.keep(func(m *state.Marker) { require.NoError(w.t, m.WriteUnread(lines, 1, false)) })
	w.says(source(), state.Status{State: wire.Watched, Unread: len(dirs)})
}

// source is what the tree file of a watched tree says.
func source() state.Tree {
	return state.Tree{ID: strings.Repeat("5", 32), Epoch: 5, Role: state.Source}
}

// replica is what the tree file of a copy says.
func replica() state.Tree {
	return state.Tree{ID: strings.Repeat("c", 32), Epoch: 7, Role: state.Copy, Upstream: "https://host/"}
}

// open publishes the tree. What c leaves open is as most tests need it.
func (w *world) open(c Config) *Tree {
	tree, err := w.tryOpen(c)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = tree.Close() })
	return tree
}

func (w *world) tryOpen(c Config) (*Tree, error) {
	if c.Root == "" {
		c.Root = "/tree"
	}
	if c.Exclude == nil {
		c.Exclude = &glob.List{}
	}
	c.Now = machine.Now
	c.Log = slog.New(slog.NewTextHandler(&w.log, nil))
	return Open(c)
}

// logged returns how many lines of the log have this text, since the last time.
func (w *world) logged(text string) int {
	defer w.log.Reset()
	return strings.Count(w.log.String(), text)
}

// excluding makes a list of globs.
func excluding(t *testing.T, globs ...string) *glob.List {
	list, err := glob.Excluding(globs)
	require.NoError(t, err)
	return list
}
