package disk_test

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
	"tidemark/pkg/mtree/internal/lister"
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

func TestNothingFollowsASymlinkBelowTheRoot(t *testing.T) {
	top, outside := t.TempDir(), t.TempDir()
	write(t, outside+"/secret", "s")
	require.NoError(t, os.Symlink(outside, top+"/dir"))
	require.NoError(t, os.Symlink(outside+"/secret", top+"/file"))
	d := openRoot(t, top)

	_, err := d.OpenDir("dir")
	require.ErrorIs(t, err, syscall.ENOTDIR)
	_, err = d.OpenDirPath("dir", false)
	require.ErrorIs(t, err, syscall.ENOTDIR)
	_, err = d.OpenDirPath("../"+filepath.Base(outside), false)
	require.ErrorIs(t, err, syscall.EXDEV)
	_, _, err = d.OpenFile("file")
	require.ErrorIs(t, err, syscall.ELOOP)
	for _, bad := range []string{"", ".", "..", "a/b", "/etc"} {
		_, err := d.OpenDir(bad)
		require.ErrorIs(t, err, mtree.ErrName, "%q", bad)
		_, err = d.Stat(bad)
		require.ErrorIs(t, err, mtree.ErrName, "%q", bad)
	}

	before, err := os.Stat(outside + "/secret")
	require.NoError(t, err)
	require.NoError(t, d.SetEntryTime("file", mtree.Unix(5, 5)))
	after, err := os.Stat(outside + "/secret")
	require.NoError(t, err)
	require.Equal(t, before.ModTime(), after.ModTime(), "the link's own time was set")
	info, err := d.Stat("file")
	require.NoError(t, err)
	require.Equal(t, mtree.Unix(5, 5), info.MTime)
}

func TestSpecialFilesAreNeverOpened(t *testing.T) {
	top := t.TempDir()
	require.NoError(t, syscall.Mkfifo(top+"/fifo", 0o644))
	d := openRoot(t, top)
	_, _, err := d.OpenFile("fifo") // a blocking open would hang here
	require.ErrorIs(t, err, disk.ErrNotRegular)
	l, err := (&disk.Lister{Hidden: true, Owner: true}).Read(d, "")
	entries := l.Entries
	require.NoError(t, err)
	require.Empty(t, entries)
}

func TestTimesBeyondInt64Nanoseconds(t *testing.T) {
	top := t.TempDir()
	d := openRoot(t, top)
	for _, want := range []mtree.Stamp{
		mtree.Unix(-2147483647, 1), mtree.Unix(-1, 999_999_999), mtree.Unix(0, 0),
		mtree.Unix(1707019506, 123456789), mtree.Unix(9_300_000_000, 7), // the year 2264, past int64 nanoseconds
	} {
		require.NoError(t, d.SetTime(want))
		info, err := d.Self()
		require.NoError(t, err)
		require.Equal(t, want, info.MTime)
	}
}

func TestListing(t *testing.T) {
	top := t.TempDir()
	for _, name := range []string{"b", "a b", "\xff", ".hidden", "x.tmp", ".tidemark/tree"} {
		write(t, top+"/"+name, name)
	}
	require.NoError(t, os.Mkdir(top+"/d", 0o700))
	require.NoError(t, os.Symlink("d/x y", top+"/link"))
	require.NoError(t, syscall.Mkfifo(top+"/fifo", 0o644))
	d := openRoot(t, top)
	lister := disk.Lister{
		TreeID:  disk.NewTreeID(),
		Exclude: func(path string, isDir bool) bool { return path == "x.tmp" && !isDir },
	}
	l, err := lister.Read(d, "")
	require.NoError(t, err)
	var names []string
	for _, e := range l.Entries {
		names = append(names, e.Name)
	}
	require.Equal(t, []string{"a b", "b", "d", "link", "\xff"}, names)
	require.EqualValues(t, 2, l.Hidden)
	require.EqualValues(t, 1, l.Excluded)
	require.Len(t, l.ID, 16)
	require.False(t, l.Hot)
	require.Equal(t, "d/x y", l.Entries[3].Link)
	require.EqualValues(t, 0o700, l.Entries[2].Mode)
	info, err := d.Self()
	require.NoError(t, err)
	require.Equal(t, info.MTime, l.Stamp)
	text := mtree.FormatListing(l)
	back, err := mtree.ParseListing(text)
	require.NoError(t, err)
	require.Equal(t, l, back)
}

// A directory that changes during every reading is given out as hot, with the
// older of its two times.
func TestChangingDirectoryIsHot(t *testing.T) {
	top := t.TempDir()
	write(t, top+"/f", "")
	d := openRoot(t, top)
	tries := 0
	lister := disk.Lister{Exclude: func(string, bool) bool {
		tries++
		require.NoError(t, d.SetTime(mtree.Unix(int64(1000-tries), 0)))
		return false
	}}
	l, err := lister.Read(d, "")
	require.NoError(t, err)
	require.Equal(t, 3, tries)
	require.True(t, l.Hot)
	require.Equal(t, mtree.Unix(997, 0), l.Stamp)
}

func TestUnfinishedDirectoryOfACopyIsHot(t *testing.T) {
	top := t.TempDir()
	d := openRoot(t, top)
	lister := disk.Lister{Copy: true}
	hot := func() bool {
		l, err := lister.Read(d, "")
		require.NoError(t, err)
		return l.Hot
	}
	require.True(t, hot(), "no record")
	record := disk.Record{Stamp: mtree.Unix(1000, 5), Now: mtree.Unix(2000, 0), ID: "00ff"}
	require.NoError(t, d.SetRecord(record))
	require.True(t, hot(), "the time is another one")
	require.NoError(t, d.SetTime(record.Stamp))
	require.False(t, hot())
	got, ok := d.Record()
	require.True(t, ok)
	require.Equal(t, record, got)
	require.NoError(t, d.DropRecord())
	require.True(t, hot())
	require.NoError(t, d.DropRecord(), "twice is no error")
}

func TestRecordText(t *testing.T) {
	for _, bad := range []string{"", "1.0 2.0", "1.0 2.0 a b", "x 2.0 a", "1.0 x a"} {
		_, ok := disk.ParseRecord(bad)
		require.False(t, ok, "%q", bad)
	}
	none := disk.Record{Stamp: mtree.Unix(-1, 5), Now: mtree.Unix(3, 0)}
	got, ok := disk.ParseRecord(none.String())
	require.True(t, ok)
	require.Equal(t, none, got)
}

func TestDirIDTellsDirectoriesApart(t *testing.T) {
	top := t.TempDir()
	require.NoError(t, os.Mkdir(top+"/a", 0o755))
	require.NoError(t, os.Mkdir(top+"/b", 0o755))
	d := openRoot(t, top)
	a, err := d.Stat("a")
	require.NoError(t, err)
	b, err := d.Stat("b")
	require.NoError(t, err)
	id, other := disk.NewTreeID(), disk.NewTreeID()
	require.NotEqual(t, disk.DirID(id, a), disk.DirID(id, b))
	require.NotEqual(t, disk.DirID(id, a), disk.DirID(other, a))
	require.NoError(t, os.Rename(top+"/a", top+"/c"))
	c, err := d.Stat("c")
	require.NoError(t, err)
	require.Equal(t, disk.DirID(id, a), disk.DirID(id, c), "a rename does not make another directory")
	require.Empty(t, disk.DirID("", a))
}

func TestMarker(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	top := t.TempDir()
	d := openRoot(t, top)
	_, err := disk.OpenMarker(d, "")
	require.ErrorIs(t, err, fs.ErrNotExist)
	m, err := disk.CreateMarker(d, "")
	require.NoError(t, err)
	defer m.Close()
	_, err = m.ReadTree()
	require.ErrorIs(t, err, disk.ErrNoTree)

	root, err := d.Root()
	require.NoError(t, err)
	tree := disk.Tree{Format: disk.Format, ID: disk.NewTreeID(), Epoch: 1, Role: disk.Source}
	tree.Bind(root)
	require.NoError(t, m.WriteTree(tree))
	got, err := m.ReadTree()
	require.NoError(t, err)
	require.Equal(t, tree, got)
	noted, proven := d.Noted()
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
	require.ErrorIs(t, err, disk.ErrNewerFormat)
}

func TestLock(t *testing.T) {
	top := t.TempDir()
	d := openRoot(t, top)
	m, err := disk.CreateMarker(d, "")
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
	require.ErrorIs(t, err, disk.ErrLocked)
	require.True(t, lock.Standing(m))
	require.NoError(t, os.Remove(top+"/.tidemark/lock"))
	require.False(t, lock.Standing(m))
	require.NoError(t, lock.Unlock())
	require.False(t, locked())
}

// A child process that was forked and has not begun its program yet has a copy of
// the descriptor: it must not keep what was unlocked. Tests that start programs
// found watch "already running" when it had just ended.
func TestUnlockBesideAFork(t *testing.T) {
	top := t.TempDir()
	m, err := disk.CreateMarker(openRoot(t, top), "")
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
	m, err := disk.CreateMarker(d, "")
	require.NoError(t, err)
	defer m.Close()
	file, err := m.CreateStatus()
	require.NoError(t, err)
	defer file.Close()
	stamp := mtree.Unix(1_700_000_000, 1)
	for _, status := range []disk.Status{
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
	require.NoError(t, file.Write(disk.Status{State: wire.Watched, Error: string(make([]byte, 8192))}), "too long an error is dropped")
}

func TestPublishedState(t *testing.T) {
	top := t.TempDir()
	d := openRoot(t, top)
	state := func() wire.State {
		p, err := d.Published("")
		require.NoError(t, err)
		return p.State
	}
	require.Equal(t, wire.Unwatched, state(), "no marker")
	m, err := disk.CreateMarker(d, "")
	require.NoError(t, err)
	defer m.Close()
	require.Equal(t, wire.Unwatched, state(), "no tree")
	root, err := d.Root()
	require.NoError(t, err)
	tree := disk.Tree{ID: disk.NewTreeID(), Role: disk.Source}
	tree.Bind(root)
	require.NoError(t, m.WriteTree(tree))
	require.Equal(t, wire.Unwatched, state(), "no status")

	file, err := m.CreateStatus()
	require.NoError(t, err)
	defer file.Close()
	set := func(s disk.Status) { require.NoError(t, file.Write(s)) }
	lock, err := m.Lock()
	require.NoError(t, err)
	for _, s := range []wire.State{wire.Auditing, wire.Watched, wire.Degraded} {
		set(disk.Status{State: s})
		require.Equal(t, s, state())
	}
	require.NoError(t, lock.Unlock())
	checkpoint := disk.Now()
	// A degraded watcher that ended was published as audited, and mirrors pruned
	// what nobody vouched for.
	require.Equal(t, wire.Degraded, state(), "dead, but it was degraded")
	set(disk.Status{State: wire.Degraded, Checkpoint: &checkpoint, Boot: disk.BootID(), Clean: true})
	require.Equal(t, wire.Degraded, state())
	set(disk.Status{State: wire.Auditing})
	require.Equal(t, wire.Unwatched, state(), "dead, without a checkpoint")
	set(disk.Status{State: wire.Auditing, Checkpoint: &checkpoint, Boot: disk.BootID()})
	require.Equal(t, wire.Audited, state(), "killed while it made up for a loss: stamps hold up to the checkpoint")
	set(disk.Status{State: wire.Unwatched, Checkpoint: &checkpoint, Boot: disk.BootID()})
	require.Equal(t, wire.Unwatched, state(), "killed in the first audit of all")
	set(disk.Status{State: wire.Watched, Checkpoint: &checkpoint, Boot: disk.BootID()})
	require.Equal(t, wire.Audited, state())
	set(disk.Status{State: wire.Watched, Checkpoint: &checkpoint, Boot: "another"})
	require.Equal(t, wire.Unwatched, state(), "after a power cut the stamps may be older than the checkpoint")
	set(disk.Status{State: wire.Watched, Checkpoint: &checkpoint, Boot: "another", Clean: true})
	require.Equal(t, wire.Audited, state())

	tree.Role = disk.Copy
	require.NoError(t, m.WriteTree(tree))
	require.Equal(t, wire.Filling, state())
	set(disk.Status{State: wire.Mirrored})
	require.Equal(t, wire.Stale, state())
	lock, err = m.Lock()
	require.NoError(t, err)
	require.Equal(t, wire.Mirrored, state())
	require.NoError(t, lock.Unlock())
}

func TestGranule(t *testing.T) {
	top := t.TempDir()
	d := openRoot(t, top)
	m, err := disk.CreateMarker(d, "")
	require.NoError(t, err)
	defer m.Close()
	g, err := m.Granule()
	require.NoError(t, err)
	require.Equal(t, time.Duration(1), g)
	_, err = os.Stat(top + "/.tidemark/probe")
	require.True(t, errors.Is(err, fs.ErrNotExist), "the scratch file is gone")
}

func TestErrorsNameThePath(t *testing.T) {
	_, err := disk.OpenRoot(t.TempDir() + "/missing")
	var pathError *fs.PathError
	require.ErrorAs(t, err, &pathError)
	require.True(t, disk.IsGone(err))
	require.False(t, disk.IsDenied(err) || disk.IsFull(err))
}
