package published

import (
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/internal/sys"
	"tidemark/pkg/mtree/wire"
)

// What watch says of a tree is told in the headers.
func TestWhatASourceSays(t *testing.T) {
	simulated(t, 0, func(t *testing.T, w *world) {
		tree := w.open(Config{})
		s := tree.Now()
		require.Equal(t, wire.Unwatched, s.State, "nobody keeps it")
		require.False(t, s.Unread || s.Replaced)
		require.Equal(t, []any{[]string{""}, []string{"0"}, []string{"unwatched"}, []string(nil), []string(nil), ""},
			[]any{s.IDs, s.Epochs, s.States, s.Runs, s.Unreads, s.Chain})
		require.Nil(t, tree.Lister(s).Exceptions)

		who := source()
		floor := mtree.Unix(9, 5)
		who.Runs = []wire.Run{{ID: "0123456789abcdef", Floor: &floor}, {ID: "fedcba9876543210"}}
		w.says(who, state.Status{State: wire.Watched, Unread: 3})
		s = tree.Reread()
		require.Same(t, s, tree.Now())
		require.False(t, s.Unread)
		require.Equal(t, []any{[]string{who.ID}, []string{"5"}, []string{"watched"}, []string{"3"}, ""},
			[]any{s.IDs, s.Epochs, s.States, s.Unreads, s.Chain})
		require.Equal(t, []string{"0123456789abcdef " + floor.String() + ", fedcba9876543210 -"}, s.Runs)
		l := tree.Lister(s)
		require.NotNil(t, l.Exceptions)
		require.Equal(t, who.ID, l.TreeID)
		require.False(t, l.Copy)
		require.False(t, l.MayBeCopy)
	})
}

// A copy tells where it came from. What its mirror excludes is not listed, and the records
// are those of its log, if it has one. Only a copy that a mirror keeps has all that.
func TestWhatACopySays(t *testing.T) {
	simulated(t, 0, func(t *testing.T, w *world) {
		who := replica()
		who.Filters = []string{"- *.o", "no-links"}
		stamp := mtree.Unix(77, 0)
		w.keep(func(m *state.Marker) {
			log, err := records.OpenLog(m)
			require.NoError(t, err)
			require.NoError(t, log.Set("d", records.Record{Stamp: stamp}))
			require.NoError(t, log.Close())
		})
		w.says(who, state.Status{State: wire.Mirrored, Unread: 1})
		tree := w.open(Config{})
		s := tree.Now()
		require.Equal(t, wire.Mirrored, s.State)
		require.Equal(t, "host ", s.Chain[:5])
		l := tree.Lister(s)
		require.True(t, l.Copy)
		require.True(t, l.MayBeCopy, "whether all is trusted is asked of the root")
		require.Nil(t, l.Exceptions)
		require.True(t, l.CopyFilter("a.o", false))
		require.False(t, l.CopyFilter("a.c", false))
		record, ok := l.Log.Get("d")
		require.True(t, ok)
		require.Equal(t, stamp, record.Stamp)

		moved := who
		moved.Inode = 99
		w.says(moved, state.Status{State: wire.Mirrored})
		l = tree.Lister(tree.Reread())
		require.False(t, l.Copy, "it was copied")
		require.Nil(t, l.Log)
		require.Nil(t, l.CopyFilter)

		watched := source()
		watched.Filters = []string{"- *.o"}
		w.says(watched, state.Status{State: wire.Watched})
		require.Nil(t, tree.Lister(tree.Reread()).CopyFilter, "it is a source now")
	})
}

// The log of a copy, too, must be read. What can be read nevertheless is no excuse.
func TestACopyWithoutItsLog(t *testing.T) {
	simulated(t, 0, func(t *testing.T, w *world) {
		w.fill("u/")
		w.keep(func(m *state.Marker) {
			log, err := records.OpenLog(m)
			require.NoError(t, err)
			require.NoError(t, log.Close())
			require.NoError(t, m.WriteUnread(map[string]state.Unread{"u": {}}, 1, false))
		})
		w.says(replica(), state.Status{State: wire.Mirrored, Unread: 1})
		tree := w.open(Config{CrossMounts: true})
		require.False(t, tree.Crosses())
		_, err := tree.OpenDir("u")
		require.ErrorIs(t, err, state.ErrUnread)
		w.Refuse("statx "+records.LogName, unix.EIO, -1)
		s := tree.Reread()
		require.True(t, s.Unread)
		require.Equal(t, wire.Unwatched, s.State)
		require.True(t, tree.Crosses(), "no stamp prunes, so everything is compared")
		dir, err := tree.OpenDir("u")
		require.NoError(t, err, "no stamp prunes, so no line counts")
		require.NoError(t, dir.Close())
	})
}

// What .tidemark says of directories must be read, if there is something.
func TestExceptionsThatCannotBeRead(t *testing.T) {
	simulated(t, 0, func(t *testing.T, w *world) {
		w.fill("u/")
		w.unread("u")
		w.Refuse("open unread", unix.EIO, -1)
		tree := w.open(Config{})
		require.True(t, tree.Now().Unread)
		require.Equal(t, wire.Unwatched, tree.Now().State)
		w.says(source(), state.Status{State: wire.Watched})
		require.False(t, tree.Reread().Unread, "there is nothing to be read")
	})
}

// A state that cannot be read is logged once, until it can be read or fails otherwise. The
// tree counts as unwatched as long.
func TestAStateThatCannotBeRead(t *testing.T) {
	simulated(t, 0, func(t *testing.T, w *world) {
		w.says(source(), state.Status{State: wire.Watched})
		w.Refuse("open .tidemark", unix.EIO, -1)
		tree := w.open(Config{})
		require.Equal(t, 1, w.logged("cannot read the state"))
		for _, c := range []struct {
			why    error
			logged int
		}{{unix.EIO, 0}, {unix.EIO, 0}, {unix.EACCES, 1}, {unix.EACCES, 0}, {nil, 0}, {unix.EACCES, 1}, {nil, 0}} {
			w.Refuse("open .tidemark", c.why, -1)
			s := tree.Reread()
			require.Same(t, s, tree.Now())
			require.Equal(t, c.why != nil, s.Unread, c.why)
			require.Equal(t, map[bool]wire.State{true: wire.Unwatched, false: wire.Watched}[c.why != nil], s.State, c.why)
			require.Equal(t, c.logged, w.logged("cannot read the state"), c.why)
		}
	})
}

// Without descriptors for the moment it is still the same tree, but whether a watcher keeps
// its stamps is not known. It is not asked again for each request.
func TestOutOfDescriptors(t *testing.T) {
	for _, call := range []string{"open .tidemark", "open tree"} { // of the latter the second: the path of the root
		simulated(t, 0, func(t *testing.T, w *world) {
			w.says(source(), state.Status{State: wire.Watched})
			tree := w.open(Config{})
			was := tree.Now()
			pass(snapshotAge)
			if w.Refuse(call, unix.EMFILE, -1); call == "open tree" {
				w.RefuseNth(call, 2, unix.EMFILE)
			}
			s := tree.Now()
			require.NotSame(t, was, s)
			require.Equal(t, wire.Degraded, s.State)
			require.Equal(t, []string{"degraded"}, s.States)
			require.True(t, s.Unread)
			require.False(t, s.Replaced, call)
			require.Equal(t, was.IDs, s.IDs)
			require.Equal(t, was.Fingerprint, s.Fingerprint)
			require.Equal(t, wire.Watched, was.State, "who has it may read it")
			pass(snapshotAge / 2)
			require.Same(t, s, tree.Now())
			w.Fail = nil
			pass(snapshotAge / 2)
			require.Equal(t, wire.Watched, tree.Now().State)
			require.False(t, tree.Now().Unread)
		})
	}
}

// A root whose path names another directory is logged once, as long as it is so.
func TestARootThatIsReplaced(t *testing.T) {
	simulated(t, 0, func(t *testing.T, w *world) {
		w.says(source(), state.Status{State: wire.Watched})
		tree := w.open(Config{})
		for range 2 {
			require.False(t, tree.Reread().Replaced)
			require.Equal(t, 0, w.logged("another directory now"))
			require.NoError(t, w.Shell.Rename("/tree", "/old", 0))
			require.NoError(t, w.Shell.Mkdir("/tree", 0o755))
			for logged := range 2 {
				s := tree.Reread()
				require.True(t, s.Replaced)
				require.Equal(t, wire.Degraded, s.State)
				require.False(t, s.Unread)
				require.Equal(t, 1-logged, w.logged("another directory now"))
			}
			require.NoError(t, w.Shell.Remove("/tree"))
			require.NoError(t, w.Shell.Rename("/old", "/tree", 0))
			require.Equal(t, wire.Watched, tree.Reread().State)
		}
	})
}

// A disk that was mounted over the root after serve had started was never published: serve
// answered 503 until somebody started it again, while watch and mirror end by themselves and their
// units start them again. A directory of which nothing is known is no reason to end: a disk may
// have gone away, and what is under it must not be published.
func TestARootThatIsAnotherTree(t *testing.T) {
	simulated(t, 0, func(t *testing.T, w *world) {
		tree := w.open(Config{})
		ended := func() bool {
			require.True(t, tree.Reread().Replaced)
			select {
			case <-tree.Another():
				return true
			default:
				return false
			}
		}
		require.NoError(t, w.Shell.Rename("/tree", "/old", 0))
		require.False(t, ended(), "nothing is there")
		require.NoError(t, w.Shell.Mkdir("/tree", 0o755))
		require.False(t, ended(), "nobody kept what is there")
		w.says(source(), state.Status{State: wire.Watched})
		require.True(t, ended())
		require.True(t, ended(), "still")
	})
	simulated(t, 0, func(t *testing.T, w *world) {
		tree := w.open(Config{})
		require.NoError(t, w.Shell.Rename("/tree", "/old", 0))
		require.NoError(t, w.Shell.Mkdir("/tree", 0o755))
		copied := source()
		copied.Inode = 99
		w.says(copied, state.Status{State: wire.Watched})
		require.True(t, tree.Reread().Replaced)
		<-tree.Another() // a copy of a tree, with its marker, is a tree
	})
}

// The root could not be looked at for a moment, and was taken for another tree: serve ended.
func TestARootThatCannotBeStated(t *testing.T) {
	simulated(t, 0, func(t *testing.T, w *world) {
		w.says(source(), state.Status{State: wire.Watched})
		tree := w.open(Config{})
		failed := false
		for n := 1; n < 20; n++ {
			w.Refuse("statx tree", unix.EACCES, 0)
			w.RefuseNth("statx tree", n, unix.EACCES)
			failed = tree.Reread().Replaced || failed
			select {
			case <-tree.Another():
				t.Fatal("it is the same tree")
			default:
			}
			w.Fail = nil
		}
		require.True(t, failed, "it happened")
		require.Equal(t, wire.Watched, tree.Reread().State)
	})
}

// With a state directory elsewhere, what it says is of one root only: another directory at the
// path of that root is not known to be a tree, and that root is one.
func TestAStateDirTellsOfOneRoot(t *testing.T) {
	simulated(t, 0, func(t *testing.T, w *world) {
		require.NoError(t, w.Shell.Mkdir("/state", 0o755))
		func() {
			defer sys.Simulate(w.Shell.Process)()
			root, err := disk.OpenRoot("/tree")
			require.NoError(t, err)
			who, err := state.RootOf(root)
			require.NoError(t, err)
			m, err := state.CreateMarker(root, "/state")
			require.NoError(t, err)
			kept := source()
			kept.Bind(who)
			require.NoError(t, m.WriteTree(kept))
		}()
		tree := w.open(Config{StateDir: "/state"})
		require.NoError(t, w.Shell.Rename("/tree", "/old", 0))
		require.NoError(t, w.Shell.Mkdir("/tree", 0o755))
		require.True(t, tree.Reread().Replaced)
		select {
		case <-tree.Another():
			t.Fatal("nobody kept what is there")
		default:
		}

		tree = w.open(Config{StateDir: "/state"})
		require.NoError(t, w.Shell.Remove("/tree"))
		require.NoError(t, w.Shell.Rename("/old", "/tree", 0))
		require.True(t, tree.Reread().Replaced)
		<-tree.Another()
	})
}

// Mounts are crossed if serve is asked to, and watch hears beyond them or keeps nothing. If
// it does not hear there, that is logged when it begins.
func TestCrosses(t *testing.T) {
	yes, no := true, false
	for _, asked := range []bool{true, false} {
		simulated(t, 0, func(t *testing.T, w *world) {
			tree := w.open(Config{CrossMounts: asked})
			require.Equal(t, asked, tree.Crosses(), "nobody keeps it")
			for _, c := range []struct {
				hears  *bool
				logged int
			}{{&yes, 0}, {&no, 1}, {&no, 0}, {&yes, 0}, {nil, 1}} {
				w.says(source(), state.Status{State: wire.Watched, CrossMounts: c.hears})
				tree.Reread()
				require.Equal(t, asked && c.hears == &yes, tree.Crosses())
				require.Equal(t, map[bool]int{true: c.logged}[asked], w.logged("answered 403"))
			}
			require.False(t, w.open(Config{CrossMounts: asked}).Crosses())
			require.Equal(t, asked, w.logged("answered 403") == 1, "at the start")
		})
	}
}

// Whatever changes what is listed or may be read changes the fingerprint.
func TestFingerprints(t *testing.T) {
	simulated(t, 0, func(t *testing.T, w *world) {
		seen := map[string]string{}
		is := func(what string, c Config, tree state.Tree, status state.Status) {
			w.says(tree, status)
			print := w.open(c).Now().Fingerprint
			require.Len(t, print, 6)
			require.NotContains(t, seen, print, what)
			seen[print] = what
		}
		watched, yes := state.Status{State: wire.Watched}, true
		is("a source", Config{}, source(), watched)
		is("dotfiles", Config{Hidden: true}, source(), watched)
		is("owners", Config{Owner: true}, source(), watched)
		is("asked to cross mounts", Config{CrossMounts: true}, source(), watched)
		is("mounts crossed", Config{CrossMounts: true}, source(), state.Status{State: wire.Watched, CrossMounts: &yes})
		is("patterns", Config{Patterns: []string{"*.o"}}, source(), watched)
		other := source()
		other.Epoch++
		is("another epoch", Config{}, other, watched)
		other.ID = strings.Repeat("6", 32)
		is("another tree", Config{}, other, watched)
		copied := replica()
		is("a copy", Config{}, copied, state.Status{State: wire.Mirrored})
		is("the source's fingerprint", Config{}, copied, state.Status{State: wire.Mirrored, SourceFingerprint: "abcdef"})
		copied.Filters = []string{"- *.o"}
		is("filters", Config{}, copied, state.Status{State: wire.Mirrored})
		copied.Inode = 99
		is("a copy that nobody keeps", Config{}, copied, state.Status{State: wire.Mirrored})

		moved := source()
		moved.Inode = 99
		w.says(moved, watched)
		require.Equal(t, "a source", seen[w.open(Config{}).Now().Fingerprint], "wherever it is")
		copied.Filters = nil
		w.says(copied, state.Status{State: wire.Mirrored})
		require.Equal(t, "a copy that nobody keeps", seen[w.open(Config{}).Now().Fingerprint], "what it left out is all one")
	})
}

// A serve with other rights may read other files, so it has another fingerprint. The test
// needs CAP_DAC_OVERRIDE, to give it up.
func TestFingerprintOfAnotherReader(t *testing.T) {
	w := newWorld(t, 0)
	var prints []string
	for _, drop := range []bool{false, true} {
		opened := make(chan *Tree)
		go func() {
			runtime.LockOSThread() // and gone with it
			header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
			var sets [2]unix.CapUserData
			if drop && unix.Capget(&header, &sets[0]) == nil {
				sets[0].Effective &^= 1 << unix.CAP_DAC_OVERRIDE
				_ = unix.Capset(&header, &sets[0])
			}
			tree, err := w.tryOpen(Config{})
			if err != nil {
				t.Error(err)
			}
			opened <- tree
		}()
		tree := <-opened
		require.NotNil(t, tree)
		prints = append(prints, tree.Now().Fingerprint)
		require.NoError(t, tree.Close())
	}
	require.NotEqual(t, prints[0], prints[1])
}
