package lister

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/disk/disktest"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/state"
)

// What is listed, and why not. An entry that is left out without a reason is deleted in
// the copies; one that is listed though it is not mirrored stays incomplete for ever.
func TestDispose(t *testing.T) {
	self := disk.Info{Kind: mtree.Dir, Node: disk.Node{Dev: 1, Ino: 1}}
	info := func(kind mtree.Kind, dev uint64, mountRoot bool) disk.Info {
		return disk.Info{Kind: kind, Node: disk.Node{Dev: dev, Ino: 2}, MountRoot: mountRoot}
	}
	onlyDir := func(want string) func(string, bool) bool {
		return func(path string, isDir bool) bool { return path == want && isDir }
	}
	for _, c := range []struct {
		lister Lister
		path   string
		name   string
		info   disk.Info
		want   disposition
		told   bool // as on another file system
	}{
		{Lister{}, "", "f", info(mtree.File, 1, false), listed, false},
		{Lister{}, "", "f", info(mtree.File, 9, false), listed, false}, // overlayfs shows its layers
		{Lister{}, "", "fifo", info(mtree.Other, 1, false), unlisted, false},
		{Lister{}, "", "fifo", info(mtree.Other, 1, true), covered, true}, // it hides a file
		{Lister{Mounts: true}, "", "fifo", info(mtree.Other, 1, true), unlisted, false},
		{Lister{special: true}, "", "fifo", info(mtree.Other, 1, false), listed, false},
		{Lister{}, "", ".f", info(mtree.File, 1, false), dotted, false},
		{Lister{Hidden: true}, "", ".f", info(mtree.File, 1, false), listed, false},
		{Lister{Copy: true}, "", LostFound, info(mtree.Dir, 1, false), unlisted, false},
		{Lister{Copy: true}, "", LostFound, info(mtree.File, 1, false), listed, false},
		{Lister{Copy: true}, "", "other", info(mtree.Dir, 1, false), listed, false},
		{Lister{Copy: true}, "d", LostFound, info(mtree.Dir, 1, false), listed, false},
		{Lister{}, "", LostFound, info(mtree.Dir, 1, false), listed, false},
		{Lister{Exclude: onlyDir("d/x")}, "d", "x", info(mtree.Dir, 1, false), excluded, false},
		{Lister{Exclude: onlyDir("d/x")}, "d", "x", info(mtree.File, 1, false), listed, false},
		{Lister{CopyFilter: onlyDir("d/x")}, "d", "x", info(mtree.Dir, 1, false), excluded, false},
		{Lister{CopyFilter: onlyDir("d/x")}, "d", "x", info(mtree.File, 1, false), listed, false},
		{Lister{CopyFilter: onlyDir("d/x")}, "d", "y", info(mtree.Dir, 1, false), listed, false},
		{Lister{}, "d", "m", info(mtree.Dir, 9, false), border, true},
		{Lister{}, "d", "m", info(mtree.Dir, 1, true), border, true},
		{Lister{}, "d", "m", info(mtree.File, 1, true), covered, true},
		{Lister{Mounts: true}, "d", "m", info(mtree.Dir, 9, false), listed, false},
	} {
		told := ""
		require.Equal(t, c.want, c.lister.dispose(c.path, c.name, self, c.info), "%+v without a function", c)
		c.lister.OtherFileSystem = func(path string) { told += path }
		require.Equal(t, c.want, c.lister.dispose(c.path, c.name, self, c.info), "%+v", c)
		if c.told {
			require.Equal(t, mtree.JoinPath(c.path, c.name), told)
		} else {
			require.Empty(t, told, "%+v", c)
		}
	}
}

// A symlink that vanishes between the two system calls that it takes is left out. It is
// no error: the directory has another stamp by then.
func TestASymlinkThatVanishes(t *testing.T) {
	top := t.TempDir()
	require.NoError(t, os.Symlink("x", top+"/link"))
	remove := func(path string, _ bool) bool {
		if path == "link" {
			require.NoError(t, os.Remove(top+"/link"))
		}
		return false
	}
	d := disktest.OpenRoot(t, top)
	listing, err := (&Lister{Exclude: remove}).Read(d, "")
	require.NoError(t, err)
	require.Empty(t, listing.Entries)
	require.False(t, listing.Hot)

	require.NoError(t, os.Symlink("x", top+"/link"))
	have, err := Present(d, "", remove)
	require.NoError(t, err)
	require.Empty(t, have)
}

// A name that cannot be looked at is an error, and not an entry that vanished.
func TestANameThatCannotBeLookedAt(t *testing.T) {
	top := t.TempDir()
	disktest.Write(t, top+"/f", "")
	d := disktest.OpenRoot(t, top)
	names, err := readNames(d, 0)
	require.NoError(t, err)
	disktest.Write(t, top+"/file", "")
	_, err = (&Lister{}).look(disk.NewDir(mustOpen(t, top+"/file"), ""), "", disk.Info{}, names)
	require.Error(t, err)
}

func mustOpen(t *testing.T, name string) int {
	f, err := os.Open(name)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	return int(f.Fd())
}

// Owners are listed only on request, and are no less known for it.
func TestOwnersOnRequest(t *testing.T) {
	top := t.TempDir()
	disktest.Write(t, top+"/f", "")
	d := disktest.OpenRoot(t, top)
	for _, owner := range []bool{false, true} {
		listing, err := (&Lister{Owner: owner}).Read(d, "")
		require.NoError(t, err)
		require.Equal(t, owner, listing.Entries[0].Has&mtree.HasOwner != 0)
	}
}

// Where times are whole seconds, two stamps may look alike, so that the recorded one
// counts: from the attribute, or else from the log; but not if the time says otherwise.
func TestRecorded(t *testing.T) {
	top := t.TempDir()
	disktest.Write(t, top+"/.tidemark/records", "")
	d := disktest.OpenRoot(t, top)
	marker, err := state.OpenMarker(d, "")
	require.NoError(t, err)
	defer marker.Close()
	log, err := records.OpenLog(marker)
	require.NoError(t, err)
	defer log.Close()
	stamp, stored, later := mtree.Unix(1000, 7), mtree.Unix(1000, 0), mtree.Unix(1001, 0)
	l := &Lister{Copy: true}
	require.Equal(t, stored, l.recorded(d, "", stored), "nothing is recorded")
	require.False(t, l.Finished(d, "", disk.Info{MTime: stored}), "nothing is recorded")
	l.Log = log
	require.Equal(t, stored, l.recorded(d, "", stored), "the log has nothing")
	require.False(t, l.Finished(d, "", disk.Info{MTime: stored}), "the log has nothing")
	require.False(t, l.Finished(d, "", disk.Info{}), "the log has nothing")
	require.NoError(t, log.Set("", records.Record{Stamp: stamp, Now: later, ID: "00ff"}))
	require.Equal(t, stamp, l.recorded(d, "", stored), "the log")
	require.True(t, l.Finished(d, "", disk.Info{MTime: stored}), "the log")
	require.Equal(t, later, l.recorded(d, "", later), "the log is out of date")
	require.False(t, l.Finished(d, "", disk.Info{MTime: later}), "the log is out of date")
	attribute := mtree.Unix(1000, 9)
	require.NoError(t, records.Set(d, records.Record{Stamp: attribute, Now: later, ID: "00ff"}))
	require.Equal(t, attribute, l.recorded(d, "", stored), "the attribute comes first")
	l.Log = nil
	require.Equal(t, attribute, l.recorded(d, "", stored), "the attribute")
	require.Equal(t, later, l.recorded(d, "", later), "the attribute is out of date")
}

// Elsewhere a time that differs from the record by less than a second is another time.
func TestNothingIsCoarseHere(t *testing.T) {
	top := t.TempDir()
	require.NoError(t, os.Mkdir(top+"/d", 0o755))
	d := disktest.OpenRoot(t, top)
	sub, err := d.OpenDir("d")
	require.NoError(t, err)
	defer sub.Close()
	require.NoError(t, records.Set(sub, records.Record{Stamp: mtree.Unix(1000, 7), Now: mtree.Unix(2000, 0), ID: "00ff"}))
	require.NoError(t, sub.SetTime(mtree.Unix(1000, 0)))
	l := &Lister{Copy: true}
	info, err := l.Self(sub, "d")
	require.NoError(t, err)
	require.Equal(t, mtree.Unix(1000, 0), info.MTime)
	listing, err := l.Read(d, "")
	require.NoError(t, err)
	require.Equal(t, mtree.Unix(1000, 0), listing.Entries[0].MTime)
}

// A file system has whole seconds only if both times look like it.
func TestIsCoarse(t *testing.T) {
	whole, part := mtree.Unix(1000, 0), mtree.Unix(1000, 1)
	require.True(t, isCoarse(disk.Info{MTime: whole, CTime: whole}))
	require.False(t, isCoarse(disk.Info{MTime: whole, CTime: part}))
	require.False(t, isCoarse(disk.Info{MTime: part, CTime: whole}))
}

// A directory that refuses its time is listed with the stamp that watch keeps for it, if
// it is that directory.
func TestSetExceptions(t *testing.T) {
	top := t.TempDir()
	require.NoError(t, os.Mkdir(top+"/d", 0o755))
	require.NoError(t, os.Mkdir(top+"/e", 0o755))
	disktest.Write(t, top+"/f", "")
	d := disktest.OpenRoot(t, top)
	inode := func(name string) uint64 {
		info, err := d.Stat(name)
		require.NoError(t, err)
		return info.Node.Ino
	}
	stamp := mtree.Unix(5, 5)
	for _, c := range []struct {
		path    string
		refusal state.Refusal
		want    string // whose stamp it is
	}{
		{"at/d", state.Refusal{Inode: inode("d"), Stamp: stamp}, "d"},
		{"at/e", state.Refusal{Inode: inode("e"), Stamp: stamp}, "e"},
		{"at/d", state.Refusal{Inode: inode("e"), Stamp: stamp}, ""}, // another directory has the name
		{"at/f", state.Refusal{Inode: inode("f"), Stamp: stamp}, ""}, // a file has it
		{"d", state.Refusal{Inode: inode("d"), Stamp: stamp}, ""},
	} {
		l := Lister{Exceptions: func() (*state.Exceptions, error) {
			return &state.Exceptions{Stamps: map[string]state.Refusal{c.path: c.refusal}}, nil
		}}
		l.Now = func() mtree.Stamp { return mtree.Unix(77, 7) }
		listing, err := l.Read(d, "at")
		require.NoError(t, err)
		require.Equal(t, mtree.Unix(77, 7), listing.Now)
		for _, e := range listing.Entries {
			require.Equal(t, e.Name == c.want, e.MTime == stamp, "%s of %+v", e.Name, c)
		}
		listing.Entries = append(listing.Entries, mtree.Entry{Name: "gone", Kind: mtree.Dir})
		setExceptions(listing.Entries, d, "at", &state.Exceptions{Stamps: map[string]state.Refusal{"at/gone": {Stamp: stamp}}})
		require.Zero(t, listing.Entries[3].MTime, "it is gone")
	}
}

// So is the directory itself.
func TestSelfThatRefusesItsTime(t *testing.T) {
	d := disktest.OpenRoot(t, t.TempDir())
	before, err := d.Self()
	require.NoError(t, err)
	for inode, stamp := range map[uint64]mtree.Stamp{before.Node.Ino: mtree.Unix(5, 5), 1: before.MTime} {
		l := Lister{Exceptions: func() (*state.Exceptions, error) {
			return &state.Exceptions{Stamps: map[string]state.Refusal{"at": {Inode: inode, Stamp: mtree.Unix(5, 5)}}}, nil
		}}
		info, err := l.Self(d, "at")
		require.NoError(t, err)
		require.Equal(t, stamp, info.MTime)
	}
}
