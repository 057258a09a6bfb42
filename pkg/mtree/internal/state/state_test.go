package state_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/filetime"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/wire"
)

func openRoot(t *testing.T, path string) *disk.Dir {
	t.Helper()
	d, err := disk.OpenRoot(path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return d
}

func write(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
}

func TestMarker(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	top := t.TempDir()
	d := openRoot(t, top)
	_, err := state.OpenMarker(d, "")
	require.ErrorIs(t, err, fs.ErrNotExist)
	m, err := state.CreateMarker(d, "")
	require.NoError(t, err)
	defer m.Close()
	_, err = m.ReadTree()
	require.ErrorIs(t, err, state.ErrNoTree)

	root, err := state.RootOf(d)
	require.NoError(t, err)
	tree := state.Tree{Format: 1, ID: state.NewTreeID(), Epoch: 1, Role: state.Source}
	tree.Bind(root)
	require.NoError(t, m.WriteTree(tree))
	got, err := m.ReadTree()
	require.NoError(t, err)
	require.Equal(t, tree, got)
	noted, proven := state.Noted(d)
	require.True(t, proven, "the id is kept a second time")
	require.Equal(t, tree.ID, noted.ID)
	require.True(t, got.BoundTo(root))
	other := root
	other.Node.Ino++
	require.False(t, got.BoundTo(other))
	other = root
	other.BTime = other.BTime.Add(1)
	require.False(t, got.BoundTo(other), "the same inode number of another life")

	for name, mode := range map[string]os.FileMode{".tidemark": os.ModeDir | 0o755, ".tidemark/tree": 0o644, ".tidemark/.gitignore": 0o644} {
		info, err := os.Stat(top + "/" + name)
		require.NoError(t, err)
		require.Equal(t, mode, info.Mode(), "%s whatever the umask", name)
	}

	write(t, top+"/.tidemark/tree", `{"format": 99, "id": "`+tree.ID+`"}`)
	_, err = m.ReadTree()
	require.ErrorIs(t, err, state.ErrNewerFormat)
}

func TestLock(t *testing.T) {
	top := t.TempDir()
	d := openRoot(t, top)
	m, err := state.CreateMarker(d, "")
	require.NoError(t, err)
	defer m.Close()
	locked := func() bool {
		held, err := m.Locked()
		require.NoError(t, err)
		return held
	}
	require.False(t, locked())
	lock, err := m.Lock()
	require.NoError(t, err)
	require.True(t, locked())
	_, err = m.Lock()
	require.ErrorIs(t, err, state.ErrLocked)
	require.True(t, lock.StillIn(m))
	require.NoError(t, os.Remove(top+"/.tidemark/lock"))
	require.False(t, lock.StillIn(m))
	require.NoError(t, lock.Unlock())
	require.False(t, locked())
}

// A child process that was forked and has not begun its program yet has a copy of
// the descriptor: it must not keep what was unlocked. Tests that start programs
// found watch "already running" when it had just ended.
func TestUnlockBesideAFork(t *testing.T) {
	top := t.TempDir()
	m, err := state.CreateMarker(openRoot(t, top), "")
	require.NoError(t, err)
	defer m.Close()
	lock, err := m.Lock()
	require.NoError(t, err)
	copies := 0
	fds, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	for _, fd := range fds {
		if target, _ := os.Readlink("/proc/self/fd/" + fd.Name()); target == top+"/.tidemark/lock" {
			number, err := strconv.Atoi(fd.Name())
			require.NoError(t, err)
			child, err := syscall.Dup(number)
			require.NoError(t, err)
			defer syscall.Close(child)
			copies++
			break
		}
	}
	require.Equal(t, 1, copies)
	require.NoError(t, lock.Unlock())
	again, err := m.Lock()
	require.NoError(t, err)
	require.NoError(t, again.Unlock())
}

func TestStatusIsOneWriteOfFixedLength(t *testing.T) {
	top := t.TempDir()
	d := openRoot(t, top)
	m, err := state.CreateMarker(d, "")
	require.NoError(t, err)
	defer m.Close()
	file, err := m.CreateStatus()
	require.NoError(t, err)
	defer file.Close()
	stamp := mtree.Unix(1_700_000_000, 1)
	for _, status := range []state.Status{
		{State: wire.Watched, Checkpoint: &stamp, Counters: map[string]int64{"batches": 12345}, Error: "a long one"},
		{State: wire.Degraded},
	} {
		require.NoError(t, file.Write(status))
		got, err := m.ReadStatus()
		require.NoError(t, err)
		require.Equal(t, status, got)
		info, err := os.Stat(top + "/.tidemark/status.json")
		require.NoError(t, err)
		require.EqualValues(t, 4096, info.Size())
	}
	require.NoError(t, file.Write(state.Status{State: wire.Watched, Error: string(make([]byte, 8192))}), "too long an error is dropped")
}

func TestPublishedState(t *testing.T) {
	top := t.TempDir()
	d := openRoot(t, top)
	st := func() wire.State {
		p, err := state.ReadPublished(d, "")
		require.NoError(t, err)
		return p.State
	}
	require.Equal(t, wire.Unwatched, st(), "no marker")
	m, err := state.CreateMarker(d, "")
	require.NoError(t, err)
	defer m.Close()
	require.Equal(t, wire.Unwatched, st(), "no tree")
	root, err := state.RootOf(d)
	require.NoError(t, err)
	tree := state.Tree{ID: state.NewTreeID(), Role: state.Source}
	tree.Bind(root)
	require.NoError(t, m.WriteTree(tree))
	require.Equal(t, wire.Unwatched, st(), "no status")

	file, err := m.CreateStatus()
	require.NoError(t, err)
	defer file.Close()
	set := func(s state.Status) { require.NoError(t, file.Write(s)) }
	lock, err := m.Lock()
	require.NoError(t, err)
	for _, s := range []wire.State{wire.Auditing, wire.Watched, wire.Degraded} {
		set(state.Status{State: s})
		require.Equal(t, s, st())
	}
	require.NoError(t, lock.Unlock())
	checkpoint := machine.Now()
	// A degraded watcher that ended was published as audited, and mirrors pruned
	// what nobody vouched for.
	require.Equal(t, wire.Degraded, st(), "dead, but it was degraded")
	set(state.Status{State: wire.Degraded, Checkpoint: &checkpoint, Boot: machine.BootID(), Clean: true})
	require.Equal(t, wire.Degraded, st())
	set(state.Status{State: wire.Auditing})
	require.Equal(t, wire.Unwatched, st(), "dead, without a checkpoint")
	set(state.Status{State: wire.Auditing, Checkpoint: &checkpoint, Boot: machine.BootID()})
	require.Equal(t, wire.Audited, st(), "killed while it made up for a loss: stamps hold up to the checkpoint")
	set(state.Status{State: wire.Unwatched, Checkpoint: &checkpoint, Boot: machine.BootID()})
	require.Equal(t, wire.Unwatched, st(), "killed in the first audit of all")
	set(state.Status{State: wire.Watched, Checkpoint: &checkpoint, Boot: machine.BootID()})
	require.Equal(t, wire.Audited, st())
	set(state.Status{State: wire.Watched, Checkpoint: &checkpoint, Boot: "another"})
	require.Equal(t, wire.Unwatched, st(), "after a power cut the stamps may be older than the checkpoint")
	set(state.Status{State: wire.Watched, Checkpoint: &checkpoint, Boot: "another", Clean: true})
	require.Equal(t, wire.Audited, st())

	tree.Role = state.Copy
	require.NoError(t, m.WriteTree(tree))
	require.Equal(t, wire.Filling, st())
	set(state.Status{State: wire.Mirrored})
	require.Equal(t, wire.Stale, st())
	lock, err = m.Lock()
	require.NoError(t, err)
	require.Equal(t, wire.Mirrored, st())
	require.NoError(t, lock.Unlock())
}

func TestGranule(t *testing.T) {
	top := t.TempDir()
	d := openRoot(t, top)
	m, err := state.CreateMarker(d, "")
	require.NoError(t, err)
	defer m.Close()
	g, err := m.Granule()
	require.NoError(t, err)
	require.Equal(t, time.Duration(1), g)
	_, err = os.Stat(top + "/.tidemark/probe")
	require.True(t, errors.Is(err, fs.ErrNotExist), "the scratch file is gone")
}

// Times are stored as TimeRange says, at both ends and between.
func TestTimeRange(t *testing.T) {
	d := openRoot(t, t.TempDir())
	m, err := state.CreateMarker(d, "")
	require.NoError(t, err)
	defer m.Close()
	r, err := m.TimeRange()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(d.Path(), "f"), nil, 0o644))
	for _, want := range []mtree.Stamp{
		mtree.Unix(0, 1), mtree.Unix(-1, 999_999_999), mtree.Unix(1<<40, 7), mtree.Unix(-1<<40, 7), mtree.Unix(253402300799, 0),
	} {
		require.NoError(t, d.SetEntryTime("f", want))
		info, err := d.Stat("f")
		require.NoError(t, err)
		require.Equal(t, r.Stored(want), info.MTime, "%s", want)
	}
	coarse := filetime.Range{Granule: 2 * time.Second, Min: mtree.Unix(0, 0), Max: mtree.Unix(100, 0)}
	require.Equal(t, mtree.Unix(4, 0), coarse.Stored(mtree.Unix(5, 9)))
	require.Equal(t, mtree.Unix(100, 0), coarse.Stored(mtree.Unix(101, 0)))
	require.Equal(t, mtree.Unix(0, 0), coarse.Stored(mtree.Unix(-5, 0)))
}
