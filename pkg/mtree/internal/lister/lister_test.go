package lister_test

import (
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/disk/disktest"
	"tidemark/pkg/mtree/internal/lister"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/state"
)

func TestListing(t *testing.T) {
	top := t.TempDir()
	for _, name := range []string{"b", "a b", "\xff", ".hidden", "x.tmp", ".tidemark/tree"} {
		disktest.Write(t, top+"/"+name, name)
	}
	require.NoError(t, os.Mkdir(top+"/d", 0o700))
	require.NoError(t, os.Symlink("d/x y", top+"/link"))
	require.NoError(t, syscall.Mkfifo(top+"/fifo", 0o644))
	d := disktest.OpenRoot(t, top)
	reader := lister.Lister{
		TreeID:  state.NewTreeID(),
		Exclude: func(path string, isDir bool) bool { return path == "x.tmp" && !isDir },
	}
	l, err := reader.Read(d, "")
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

// A directory that changes during every reading is listed as hot, with the earlier of
// its two times.
func TestChangingDirectoryIsHot(t *testing.T) {
	top := t.TempDir()
	disktest.Write(t, top+"/f", "")
	d := disktest.OpenRoot(t, top)
	tries := 0
	reader := lister.Lister{Exclude: func(string, bool) bool {
		tries++
		require.NoError(t, d.SetTime(mtree.Unix(int64(1000-tries), 0)))
		return false
	}}
	l, err := reader.Read(d, "")
	require.NoError(t, err)
	require.Equal(t, 3, tries)
	require.True(t, l.Hot)
	require.Equal(t, mtree.Unix(997, 0), l.Stamp)
}

func TestUnfinishedDirectoryOfACopyIsHot(t *testing.T) {
	top := t.TempDir()
	d := disktest.OpenRoot(t, top)
	reader := lister.Lister{Copy: true}
	hot := func() bool {
		l, err := reader.Read(d, "")
		require.NoError(t, err)
		return l.Hot
	}
	require.True(t, hot(), "no record")
	record := records.Record{Stamp: mtree.Unix(1000, 5), Now: mtree.Unix(2000, 0), ID: "00ff"}
	require.NoError(t, records.Set(d, record))
	require.True(t, hot(), "the time is another one")
	require.NoError(t, d.SetTime(record.Stamp))
	require.False(t, hot())
	got, ok := records.Of(d)
	require.True(t, ok)
	require.Equal(t, record, got)
	require.NoError(t, records.Drop(d))
	require.True(t, hot())
	require.NoError(t, records.Drop(d), "twice is no error")
}

// While nothing in a copy is trusted, all that it shows is hot, complete or not: it may come
// from options of the source that are gone. That counts before a directory is read and
// afterwards.
func TestACopyInDoubtIsHot(t *testing.T) {
	top := t.TempDir()
	disktest.Write(t, top+"/d/f", "x")
	root, d := disktest.OpenRoot(t, top), disktest.OpenRoot(t, top+"/d")
	record := records.Record{Stamp: mtree.Unix(1000, 5), Now: mtree.Unix(2000, 0), ID: "00ff"}
	require.NoError(t, records.Set(d, record))
	require.NoError(t, d.SetTime(record.Stamp))
	in, trusted := mtree.MinStamp.Add(2<<8|records.DoubtBelow), mtree.MinStamp.Add(2<<8)
	doubt := func(stamp mtree.Stamp) { require.NoError(t, records.Set(root, records.Record{Stamp: stamp})) }
	hot := func(reader lister.Lister, path string) bool {
		l, err := reader.Read(d, path)
		require.NoError(t, err)
		return l.Hot
	}
	for _, stamp := range []mtree.Stamp{trusted, record.Stamp, in} {
		doubt(stamp)
		require.Equal(t, stamp == in, hot(lister.Lister{Copy: true, MayBeCopy: true, Root: root}, "d"))
		require.Equal(t, stamp == in, hot(lister.Lister{MayBeCopy: true, Root: root}, "d"), "its marker may be lost")
		require.False(t, hot(lister.Lister{Copy: true}, "d"))
	}
	for _, change := range [][2]mtree.Stamp{{in, trusted}, {trusted, in}} { // meanwhile
		doubt(change[0])
		require.True(t, hot(lister.Lister{Copy: true, MayBeCopy: true, Root: root, Hidden: true, Exclude: func(string, bool) bool {
			doubt(change[1])
			return false
		}}, "d"))
	}

	unreadable, err := disk.OpenRoot(top)
	require.NoError(t, err)
	require.NoError(t, unreadable.Close())
	require.True(t, hot(lister.Lister{MayBeCopy: true, Root: unreadable}, ""), "nobody knows")
	require.NoError(t, records.Drop(root))
	require.False(t, hot(lister.Lister{MayBeCopy: true, Root: root}, "d"))
	m, err := state.CreateMarker(root, "")
	require.NoError(t, err)
	defer m.Close()
	log, err := records.OpenLog(m)
	require.NoError(t, err)
	defer log.Close()
	require.False(t, hot(lister.Lister{MayBeCopy: true, Root: root, Log: log}, "d"))
	require.NoError(t, log.Set("", records.Record{Stamp: in}))
	require.True(t, hot(lister.Lister{MayBeCopy: true, Root: root, Log: log}, "d"))
	require.NoError(t, log.Set("", records.Record{Stamp: trusted})) // one that an earlier file system needed
	doubt(in)
	require.True(t, hot(lister.Lister{MayBeCopy: true, Root: root, Log: log}, "d"))
}

func TestDirIDTellsDirectoriesApart(t *testing.T) {
	top := t.TempDir()
	require.NoError(t, os.Mkdir(top+"/a", 0o755))
	require.NoError(t, os.Mkdir(top+"/b", 0o755))
	d := disktest.OpenRoot(t, top)
	a, err := d.Stat("a")
	require.NoError(t, err)
	b, err := d.Stat("b")
	require.NoError(t, err)
	id, other := state.NewTreeID(), state.NewTreeID()
	require.NotEqual(t, lister.DirID(id, a), lister.DirID(id, b))
	require.NotEqual(t, lister.DirID(id, a), lister.DirID(other, a))
	require.NoError(t, os.Rename(top+"/a", top+"/c"))
	c, err := d.Stat("c")
	require.NoError(t, err)
	require.Equal(t, lister.DirID(id, a), lister.DirID(id, c), "a rename does not make another directory")
	require.Empty(t, lister.DirID("", a))
	for _, another := range []func(*disk.Info){ // an inode is used again, a device number too
		func(i *disk.Info) { i.Node.Dev++ },
		func(i *disk.Info) { i.Node.Ino++ },
		func(i *disk.Info) { i.BTime = i.BTime.Add(time.Second) },
		func(i *disk.Info) { i.BTime = i.BTime.Add(1) },
	} {
		other := a
		another(&other)
		require.NotEqual(t, lister.DirID(id, a), lister.DirID(id, other))
	}
}

// Listings are in the order of the bytes of their names.
func TestSortEntries(t *testing.T) {
	entries := []mtree.Entry{{Name: "b"}, {Name: "a/"}, {Name: "\xff"}, {Name: "B"}, {Name: "a"}}
	lister.SortEntries(entries)
	require.Equal(t, []mtree.Entry{{Name: "B"}, {Name: "a"}, {Name: "a/"}, {Name: "b"}, {Name: "\xff"}}, entries)
}

func TestSpecialFilesAreNotListed(t *testing.T) {
	top := t.TempDir()
	require.NoError(t, syscall.Mkfifo(top+"/fifo", 0o644))
	l, err := (&lister.Lister{Hidden: true, Owner: true}).Read(disktest.OpenRoot(t, top), "")
	require.NoError(t, err)
	require.Empty(t, l.Entries)
}

// Present returns what a listing leaves out: special files, dotfiles and mounts. Only
// what is excluded is missing.
func TestPresentIsEverything(t *testing.T) {
	top := t.TempDir()
	for _, name := range []string{"b", ".hidden", "x.tmp", ".tidemark/tree"} {
		disktest.Write(t, top+"/"+name, name)
	}
	require.NoError(t, syscall.Mkfifo(top+"/fifo", 0o644))
	require.NoError(t, os.Symlink("b", top+"/link"))
	require.NoError(t, os.Mkdir(top+"/d", 0o755))
	d := disktest.OpenRoot(t, top)
	have, err := lister.Present(d, "at", func(path string, isDir bool) bool { return path == "at/x.tmp" && !isDir })
	require.NoError(t, err)
	for i, want := range []struct {
		name string
		kind mtree.Kind
		size int64
		link string
	}{{".hidden", mtree.File, 7, ""}, {"b", mtree.File, 1, ""}, {"d", mtree.Dir, 0, ""}, {"fifo", mtree.Other, 0, ""}, {"link", mtree.Symlink, 0, "b"}} {
		e := have[i]
		require.Equal(t, want.name, e.Name)
		require.Equal(t, want.kind, e.Kind)
		require.Equal(t, want.size, e.Size)
		require.Equal(t, want.link, e.Link)
		require.NotZero(t, e.Has&mtree.HasOwner)
	}
	require.Len(t, have, 5)
}

// Names of one file have one `same`, others none, and it tells nobody the inode. A copy's own entries have
// their inodes.
func TestSameOfLinkedFiles(t *testing.T) {
	top := t.TempDir()
	for _, name := range []string{"a", "c", "single"} {
		disktest.Write(t, top+"/"+name, name)
	}
	require.NoError(t, os.Link(top+"/a", top+"/b"))
	require.NoError(t, os.Link(top+"/c", top+"/d"))
	require.NoError(t, os.Symlink("a", top+"/l"))
	require.NoError(t, os.Link(top+"/l", top+"/m"))
	d := disktest.OpenRoot(t, top)
	for _, reader := range []lister.Lister{{TreeID: state.NewTreeID()}, {SameKey: "key"}} {
		l, err := reader.Read(d, "")
		require.NoError(t, err)
		same := map[string]uint64{}
		for _, e := range l.Entries {
			if e.Has&mtree.HasSame != 0 {
				same[e.Name] = e.Same
			}
		}
		require.Len(t, same, 4)
		require.Equal(t, same["a"], same["b"])
		require.Equal(t, same["c"], same["d"])
		require.NotEqual(t, same["a"], same["c"])
		info, err := d.Stat("a")
		require.NoError(t, err)
		require.NotEqual(t, info.Node.Ino, same["a"])
		own, err := lister.Present(d, "", func(string, bool) bool { return false })
		require.NoError(t, err)
		require.Equal(t, info.Node.Ino, own[0].Same)
		require.NotZero(t, own[0].Has&mtree.HasSame)
		require.Equal(t, "single", own[6].Name)
		require.NotZero(t, own[6].Same)
		require.Zero(t, own[6].Has&mtree.HasSame)
		back, err := mtree.ParseListing(mtree.FormatListing(l))
		require.NoError(t, err)
		require.Equal(t, l, back)
	}
	l, err := (&lister.Lister{}).Read(d, "")
	require.NoError(t, err)
	require.NotContains(t, string(mtree.FormatListing(l)), "same=", "without an id of the tree")
}
