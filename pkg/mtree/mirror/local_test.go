package mirror

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/testtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/wire"
)

// A mirror of a local source ended when the path of SOURCE led to another directory for a
// while, because a mount went and came back, or a symlink was changed.
func TestALocalSourceThatIsMountedAnew(t *testing.T) {
	s := watched(t, "a/f = one", "g = two")
	link := filepath.Join(t.TempDir(), "current")
	require.NoError(t, os.Symlink(s.root, link))
	turn := func(to string) {
		require.NoError(t, os.Remove(link))
		require.NoError(t, os.Symlink(to, link))
	}
	b := newBench(t, link)
	b.config.Interval = 10 * time.Millisecond
	r := b.start()
	b.eventually(s)
	turn(t.TempDir())
	require.True(t, assertEventually(func() bool { return b.status().Error != "" || b.counters().Held > 0 }))
	b.same(s)
	turn(s.root)
	s.change("a/f = changed")
	b.eventually(s)
	require.NoError(t, r.stop())
	turn(t.TempDir())
	require.Equal(t, exit.Held, exit.Of(b.once()), "what is not mounted is not empty")
	turn(s.root)
	src, err := openSource(&b.config)
	require.NoError(t, err)
	defer src.Close()
	turn(filepath.Dir(b.config.Dest))
	_, err = src.Root(t.Context(), source.Poll{})
	require.Equal(t, exit.Usage, exit.Of(err), "nor is it followed around the copy")
}

// With --cross-mounts, mirror copied what is mounted in a local source, on directories and
// on files, although watch does not hear it: changes there never arrived, because the
// stamps above did not change.
func TestNothingIsReadThatWatchDoesNotHear(t *testing.T) {
	s := watched(t, "a/f = one", "mnt/ @1000000000", "file = under")
	over := filepath.Join(t.TempDir(), "over")
	require.NoError(t, os.WriteFile(over, []byte("over"), 0o644))
	for at, mount := range map[string]func(string) error{
		"mnt":  func(at string) error { return syscall.Mount("tmpfs", at, "tmpfs", 0, "size=64k") },
		"file": func(at string) error { return syscall.Mount(over, at, "", syscall.MS_BIND, "") },
	} {
		require.NoError(t, mount(s.path(at)))
		t.Cleanup(func() { _ = syscall.Unmount(s.path(at), syscall.MNT_DETACH) })
	}
	testtree.Make(t, s.path("mnt"), "d/in = x")
	hears := func(far bool) {
		require.NoError(t, s.status.Write(state.Status{State: wire.Watched, CrossMounts: &far}))
	}
	b := newBench(t, s.root)
	b.config.CrossMounts = true
	hears(false)
	require.NoError(t, b.once())
	require.Contains(t, b.out.String(), "skipped 2, failed 0")
	require.NoFileExists(t, b.path("mnt/d/in"))
	require.NoFileExists(t, b.path("file"))
	hears(true)
	require.NoError(t, b.once())
	require.Contains(t, b.out.String(), "skipped 0, failed 0")
	require.Equal(t, "x", b.read("mnt/d/in"))
	require.Equal(t, "over", b.read("file"))
	hears(false)
	testtree.Make(t, s.path("mnt"), "d/in = changed", "d/more = x")
	s.change("a/f = two")
	require.NoError(t, b.once())
	require.Equal(t, "x", b.read("mnt/d/in"), "nobody vouches for it, and nobody deletes it")
	require.Equal(t, "two", b.read("a/f"))
	s.state(wire.Unwatched)
	require.NoError(t, b.once())
	require.Equal(t, "changed", b.read("mnt/d/in"), "where no stamp prunes everything is read anyway")
}
