package ownwrites_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/watch/internal/ownwrites"
)

// A change of mode or time by somebody else is not taken for our own write.
func TestOwnWriteIsToldFromOthers(t *testing.T) {
	path, dir, _ := openDir(t)
	l := ownwrites.New(nil, nil, at(0))
	require.NoError(t, dir.SetTime(at(1_000_000_000)))
	info, err := dir.Self()
	require.NoError(t, err)
	l.Put(info, 0, ownwrites.Proven, true)
	require.True(t, l.Untouched(dir, info))
	for _, change := range []func() error{
		func() error { return os.Chtimes(path, time.Time{}, time.Unix(981_173_106, 789)) },
		func() error { return os.Chmod(path, 0o700) },
	} {
		require.NoError(t, change())
		now, err := dir.Self()
		require.NoError(t, err)
		require.False(t, l.Untouched(dir, now))
		l.Put(now, 0, ownwrites.Proven, true)
		require.True(t, l.Untouched(dir, now))
	}
	other := info
	other.Mode = 0o711
	l.Put(info, 0, ownwrites.Proven, true)
	require.False(t, l.Shows(other), "the same tick on a kernel with coarse times")
}

// Two directories were exchanged after both had got their stamps, in the tick of the writes: each
// showed what a write of ours had left. Without events no audit found it, and readers kept
// what they had of these names. A write proves something at its own place only.
func TestMovedInTheTickOfItsStamp(t *testing.T) {
	_, dir, shows := openDir(t)
	var parent disk.Info
	parent.Node.Ino = 7
	here, there := ownwrites.PlaceOf(parent, "a", shows), ownwrites.PlaceOf(parent, "b", shows)
	require.NotEqual(t, here, there)
	require.Equal(t, here, ownwrites.PlaceOf(parent, "a", shows))
	parent.Node.Ino = 8
	require.NotEqual(t, here, ownwrites.PlaceOf(parent, "a", shows))

	marker, log := openLog(t)
	l := ownwrites.New(log, nil, at(0))
	for range 2 {
		l.Put(shows, here, ownwrites.Proven, true)
		require.True(t, l.Stayed(dir, shows, here))
		require.False(t, l.Stayed(dir, shows, there))
		require.Equal(t, ownwrites.Unproven, l.ProofOf(shows, there))
		require.True(t, l.Untouched(dir, shows), "it is our write, wherever it is")
		require.NoError(t, saved(l))
		require.NoError(t, log.Close())
		next, known, err := marker.OpenOwnWrites() // the next start
		require.NoError(t, err)
		log = next
		l = ownwrites.New(log, known, at(0))
		require.True(t, l.Stayed(dir, shows, here))
		require.False(t, l.Stayed(dir, shows, there))
	}
	require.NoError(t, log.Close())

	mounted := shows
	mounted.MountRoot = true
	require.Zero(t, ownwrites.PlaceOf(parent, "a", mounted), "it may be mounted twice")
	l = ownwrites.New(nil, nil, at(0))
	l.Put(shows, 0, ownwrites.Proven, true)
	require.True(t, l.Stayed(dir, shows, there))
	l.Put(shows, here, ownwrites.Proven, true)
	require.True(t, l.Stayed(dir, shows, 0))
}

// What an audit has judged is no proof before that audit is done: the directory was stamped,
// but perhaps not yet what is below it and arrived with it.
func TestProofWaitsForTheAudit(t *testing.T) {
	_, dir, shows := openDir(t)
	for _, heard := range []bool{true, false} {
		l := ownwrites.New(nil, nil, at(0))
		l.Put(shows, 0, ownwrites.Judged, heard)
		require.True(t, l.Untouched(dir, shows))
		require.False(t, l.Stayed(dir, shows, 0))
		l.EndAudit(true)
		require.True(t, l.Stayed(dir, shows, 0))
		require.Equal(t, 1, l.Unsaved())

		l = ownwrites.New(nil, nil, at(0))
		l.Put(shows, 0, ownwrites.Judged, heard)
		l.EndAudit(false)
		l.EndAudit(true)
		require.True(t, l.Untouched(dir, shows))
		require.False(t, l.Stayed(dir, shows, 0), "another audit's")
		require.Zero(t, l.Unsaved())
	}
	l := ownwrites.New(nil, nil, at(0))
	l.Put(shows, 0, ownwrites.Unproven, true)
	l.BeginTake()
	l.EndTake(false)
	require.True(t, l.Untouched(dir, shows))
	require.False(t, l.Stayed(dir, shows, 0), "the Take heard only a part")
}

// A directory shows our write only with both times, and with mode and owner where they are
// known. Otherwise a change by somebody else in between would pass for ours, and be lost.
func TestOwnWriteShowsEverything(t *testing.T) {
	_, _, ours := openDir(t)
	l := ownwrites.New(nil, []state.OwnWrite{{Inode: 7, MTime: ours.MTime, CTime: ours.CTime}}, at(0))
	l.Put(ours, 0, ownwrites.Proven, true)
	require.True(t, l.Shows(ours))
	for what, change := range map[string]func(*disk.Info){
		"mtime": func(i *disk.Info) { i.MTime = i.MTime.Add(1) },
		"ctime": func(i *disk.Info) { i.CTime = i.CTime.Add(1) },
		"mode":  func(i *disk.Info) { i.Mode ^= 0o100 },
		"uid":   func(i *disk.Info) { i.UID++ },
		"gid":   func(i *disk.Info) { i.GID++ },
		"inode": func(i *disk.Info) { i.Node.Ino++ },
	} {
		other := ours
		change(&other)
		require.False(t, l.Shows(other), what)
	}
	logged := ours
	logged.Node.Ino, logged.Mode = 7, 0
	require.True(t, l.Shows(logged), "the log keeps no mode")
	logged.CTime = logged.CTime.Add(1)
	require.False(t, l.Shows(logged))
}

// Of two records of one directory in the log the later one counts, whichever is read
// first. A record that is out of date would make a start take the directory for arrived.
func TestTheLaterRecordCounts(t *testing.T) {
	_, _, shows := openDir(t)
	earlier := state.OwnWrite{Inode: shows.Node.Ino, MTime: shows.MTime, CTime: shows.CTime.Add(-time.Second)}
	later := state.OwnWrite{Inode: shows.Node.Ino, MTime: shows.MTime, CTime: shows.CTime}
	for _, known := range [][]state.OwnWrite{{earlier, later}, {later, earlier}} {
		require.True(t, ownwrites.New(nil, known, at(0)).Shows(shows))
	}
}

// Events were lost: what a Take was to prove is no longer known as ours, whether that Take
// has begun or not. What was proven stays.
func TestLostForgetsWhatWaits(t *testing.T) {
	_, dir, shows := openDir(t)
	for _, begun := range []bool{false, true} {
		l := ownwrites.New(nil, nil, at(0))
		l.Put(shows, 0, ownwrites.Unproven, true)
		if begun {
			l.BeginTake()
		}
		l.Lost()
		require.False(t, l.Untouched(dir, shows))
		l.EndTake(true)
		require.False(t, l.Stayed(dir, shows, 0))
	}
	l := ownwrites.New(nil, nil, at(0))
	l.Put(shows, 0, ownwrites.Proven, true)
	l.Lost()
	require.True(t, l.Stayed(dir, shows, 0))
}

// A later Take proves a write only if it was put before that Take began. Where something
// is not heard, no Take does.
func TestWhichTakeProves(t *testing.T) {
	_, dir, shows := openDir(t)
	l := ownwrites.New(nil, nil, at(0))
	l.BeginTake()
	l.Put(shows, 0, ownwrites.Unproven, true)
	require.True(t, l.EndTake(true), "it waits for the next")
	require.False(t, l.Stayed(dir, shows, 0))
	l.BeginTake()
	require.False(t, l.EndTake(true))
	require.True(t, l.Stayed(dir, shows, 0))
	require.Equal(t, 1, l.Unsaved())

	l = ownwrites.New(nil, nil, at(0))
	l.Put(shows, 0, ownwrites.Unproven, false)
	l.BeginTake()
	require.False(t, l.EndTake(true))
	require.True(t, l.Untouched(dir, shows))
	require.False(t, l.Stayed(dir, shows, 0))
}

// A directory that was stamped between a caller's fstat and its question shows our write
// now. One that only looks as before does not, nor does one that cannot be looked at.
func TestStampedAfterTheFstat(t *testing.T) {
	_, dir, shows := openDir(t)
	before := shows
	before.MTime = before.MTime.Add(-time.Second)
	l := ownwrites.New(nil, nil, at(0))
	require.False(t, l.Untouched(dir, before))
	l.Put(shows, 0, ownwrites.Unproven, false)
	require.True(t, l.Untouched(dir, before))
	require.False(t, l.Stayed(dir, before, 0), "it is not proven")
	l.Put(shows, 0, ownwrites.Proven, false)
	require.True(t, l.Stayed(dir, before, 0))
}

// A new log gets all that is proven, and nothing that is not: .tidemark was removed and
// put back, and the next start must not take every directory for arrived.
func TestANewLogGetsWhatIsProven(t *testing.T) {
	_, _, shows := openDir(t)
	_, before := openLog(t)
	marker, log := openLog(t)
	l := ownwrites.New(before, nil, at(0))
	other := shows
	other.Node.Ino++
	l.Put(shows, 0, ownwrites.Proven, true)
	l.Put(other, 0, ownwrites.Unproven, false)
	require.NoError(t, saved(l))
	require.Zero(t, l.Unsaved())
	l.SwitchLog(log)
	require.NoError(t, saved(l))
	require.Zero(t, l.Unsaved())
	require.NoError(t, log.Close())
	_, known, err := marker.OpenOwnWrites()
	require.NoError(t, err)
	require.NotEmpty(t, known)
	for _, k := range known {
		require.Equal(t, state.OwnWrite{Inode: shows.Node.Ino, MTime: shows.MTime, CTime: shows.CTime}, k)
	}
}

// Memory is bounded, and an own write is known for ten seconds at least, however many
// directories are written: its event may come that late.
func TestOwnWritesAge(t *testing.T) {
	_, _, first := openDir(t)
	l := ownwrites.New(nil, nil, at(0))
	l.Put(first, 0, ownwrites.Unproven, false)
	fill := func(from uint64, n int) {
		for i := range n {
			info := first
			info.Node.Ino = from + uint64(i)
			l.Put(info, 0, ownwrites.Proven, false)
		}
	}
	fill(1<<40, ownwrites.Size-2)
	l.Age(at(100))
	l.Age(at(200))
	require.True(t, l.Shows(first), "there is room")
	fill(1<<41, 1)
	l.Age(at(10))
	fill(1<<42, ownwrites.Size)
	l.Age(at(10))
	require.True(t, l.Shows(first), "it is ten seconds old")
	l.Age(at(11))
	require.True(t, l.Shows(first), "those of the last ten seconds stay")
	fill(1<<43, ownwrites.Size)
	l.Age(at(22))
	require.False(t, l.Shows(first))
	for i := range uint64(4) {
		fill((44+i)<<40, ownwrites.Size)
	}
	require.Less(t, l.Unsaved(), 2*ownwrites.Size+1)
}

// A file system is mounted in another one, and the roots of both have one inode number. Each write of
// one was taken for the last one of the other, so both were stamped for ever.
func TestOwnWritesOfTwoFileSystems(t *testing.T) {
	l := ownwrites.New(nil, nil, at(0))
	l.Device = 1
	outer := disk.Info{Node: disk.Node{Dev: 1, Ino: 2}, MTime: at(5), CTime: at(6)}
	inner := disk.Info{Node: disk.Node{Dev: 7, Ino: 2}, MTime: at(7), CTime: at(8)}
	other := disk.Info{Node: disk.Node{Dev: 8, Ino: 2}, MTime: at(9), CTime: at(9)}
	for _, info := range []disk.Info{outer, inner, other} {
		l.Put(info, 0, ownwrites.Proven, false)
	}
	for _, info := range []disk.Info{outer, inner, other} {
		require.True(t, l.Shows(info), info.Node)
		info.Node.Ino++
		require.False(t, l.Shows(info), info.Node)
	}
	l = ownwrites.New(nil, []state.OwnWrite{{Inode: 2, MTime: outer.MTime, CTime: outer.CTime}}, at(0))
	l.Device = 1
	require.True(t, l.Shows(outer), "the log has inodes only")
}

// Where nothing was proven, nothing is written: an idle tree sees no writes.
func TestSaveOfNothing(t *testing.T) {
	require.NoError(t, saved(ownwrites.New(nil, nil, at(0))))
}

// openLog makes a marker, with a log in it.
func openLog(t *testing.T) (*state.Marker, *state.OwnWriteLog) {
	t.Helper()
	root, err := disk.OpenRoot(t.TempDir())
	require.NoError(t, err)
	t.Cleanup(func() { _ = root.Close() })
	marker, err := state.CreateMarker(root, "")
	require.NoError(t, err)
	t.Cleanup(func() { _ = marker.Close() })
	log, _, err := marker.OpenOwnWrites()
	require.NoError(t, err)
	t.Cleanup(func() { _ = log.Close() })
	return marker, log
}

// openDir makes a directory and returns its path, the directory opened, and what it
// shows.
func openDir(t *testing.T) (string, *disk.Dir, disk.Info) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "d")
	require.NoError(t, os.Mkdir(path, 0o755))
	dir, err := disk.OpenRoot(path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = dir.Close() })
	info, err := dir.Self()
	require.NoError(t, err)
	return path, dir, info
}

// Save tells whether it wrote, and whether that failed.
func TestSaveTellsWhetherItWrote(t *testing.T) {
	_, _, shows := openDir(t)
	_, log := openLog(t)
	l := ownwrites.New(log, nil, at(0))
	for range 2 {
		tried, err := l.Save()
		require.NoError(t, err)
		require.False(t, tried, "there was nothing")
		l.Put(shows, 0, ownwrites.Proven, true)
		tried, err = l.Save()
		require.NoError(t, err)
		require.True(t, tried)
	}
	require.NoError(t, log.Close())
	l.Put(shows, 0, ownwrites.Proven, true)
	tried, err := l.Save()
	require.Error(t, err)
	require.True(t, tried)
}

func at(sec int64) mtree.Stamp { return mtree.Unix(sec, 0) }

func saved(l *ownwrites.Memory) error {
	_, err := l.Save()
	return err
}
