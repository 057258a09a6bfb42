package lister_test

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/disk/disktest"
	"tidemark/pkg/mtree/internal/lister"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/state"
)

// readPart reads a part of these names.
func readPart(t *testing.T, l *lister.Lister, d *disk.Dir, path string, names ...string) (mtree.Listing, error) {
	t.Helper()
	reading, err := l.BeginPart(d, path)
	require.NoError(t, err)
	return reading.Read(names)
}

// A part says of its names what a whole listing says of them.
func TestPart(t *testing.T) {
	top := t.TempDir()
	for _, name := range []string{"b", "a b", "\xff", "c"} {
		disktest.Write(t, top+"/"+name, name)
	}
	require.NoError(t, os.Mkdir(top+"/d", 0o700))
	require.NoError(t, os.Symlink("d/x y", top+"/link"))
	d := disktest.OpenRoot(t, top)
	l := lister.Lister{TreeID: state.NewTreeID(), Owner: true, Now: func() mtree.Stamp { return mtree.Unix(7, 0) }}
	whole, err := l.Read(d, "")
	require.NoError(t, err)
	part, err := readPart(t, &l, d, "", "a b", "aa", "d", "link", "zz", "\xff")
	require.NoError(t, err)
	require.False(t, part.Hot)
	want := whole
	want.Gone = []string{"aa", "zz"}
	want.Entries = append(append([]mtree.Entry(nil), whole.Entries[0]), whole.Entries[3:]...)
	require.Equal(t, want, part)

	part, err = readPart(t, &l, d, "")
	require.NoError(t, err)
	require.False(t, part.Hot)
	require.Empty(t, part.Entries, "no names, no entries")
}

// Whatever an option keeps out of listings by the name alone is in no part, there or gone.
func TestPartTellsNoHiddenName(t *testing.T) {
	top := t.TempDir()
	disktest.Write(t, top+"/.dot", "")
	disktest.Write(t, top+"/.tidemark/tree", "")
	disktest.Write(t, top+"/plain", "")
	d := disktest.OpenRoot(t, top)
	l := lister.Lister{}
	part, err := readPart(t, &l, d, "", ".dot", ".gone", ".tidemark", "gone", "plain")
	require.NoError(t, err)
	require.Equal(t, []string{"gone"}, part.Gone)
	require.Len(t, part.Entries, 1)

	l.Hidden = true
	part, err = readPart(t, &l, d, "", ".dot", ".gone", ".tidemark", "gone", "plain")
	require.NoError(t, err)
	require.Equal(t, []string{".gone", "gone"}, part.Gone)
	require.Len(t, part.Entries, 2, "but never the marker")
}

func TestPartsTellNoExcludedName(t *testing.T) {
	top := t.TempDir()
	disktest.Write(t, top+"/d/x.tmp", "")
	d := disktest.OpenRoot(t, top+"/d")
	excludes := func(path string, _ bool) bool { return strings.HasPrefix(path, "d/x.") }
	for _, l := range []lister.Lister{{Exclude: excludes}, {CopyFilter: excludes}} {
		part, err := readPart(t, &l, d, "d", "gone", "x.gone", "x.tmp")
		require.NoError(t, err)
		require.Equal(t, []string{"gone"}, part.Gone)
		require.Empty(t, part.Entries)
	}
}

// A reader may have what had such a name before, and a whole listing would take it away: a FIFO,
// what is on another file system, what a rule for directories alone excludes, or one for all else.
func TestPartOfWhatIsNotPublished(t *testing.T) {
	top := t.TempDir()
	require.NoError(t, syscall.Mkfifo(top+"/fifo", 0o644))
	disktest.Write(t, top+"/x", "")
	d := disktest.OpenRoot(t, top)
	l := lister.Lister{}
	_, err := readPart(t, &l, d, "", "fifo")
	require.ErrorIs(t, err, lister.ErrWhole)
	_, err = readPart(t, &l, disktest.OpenRoot(t, "/"), "", "proc")
	require.ErrorIs(t, err, lister.ErrWhole)

	dirs := func(_ string, isDir bool) bool { return isDir }
	files := func(_ string, isDir bool) bool { return !isDir }
	none := func(string, bool) bool { return false }
	for _, l := range []lister.Lister{{Exclude: dirs}, {Exclude: files}, {CopyFilter: dirs}, {Exclude: files, CopyFilter: none}} {
		for _, name := range []string{"x", "gone"} {
			_, err = readPart(t, &l, d, "", name)
			require.ErrorIs(t, err, lister.ErrWhole, name)
		}
	}
}

// What an exception says of a directory is told by whole listings.
func TestPartWithExceptions(t *testing.T) {
	top := t.TempDir()
	disktest.Write(t, top+"/d/refuses/x", "")
	disktest.Write(t, top+"/d/unread/x", "")
	disktest.Write(t, top+"/d/x", "")
	d := disktest.OpenRoot(t, top+"/d")
	exceptions := &state.Exceptions{
		Stamps: map[string]state.Refusal{"d/refuses": {}}, Unread: map[string]state.Unread{"d/unread": {}},
	}
	l := lister.Lister{Exceptions: func() (*state.Exceptions, error) { return exceptions, nil }}
	for _, name := range []string{"refuses", "unread"} {
		_, err := readPart(t, &l, d, "d", name)
		require.ErrorIs(t, err, lister.ErrWhole, name)
	}
	part, err := readPart(t, &l, d, "d", "x")
	require.NoError(t, err)
	require.Len(t, part.Entries, 1)
	_, err = l.BeginPart(disktest.OpenRoot(t, top+"/d/refuses"), "d/refuses")
	require.ErrorIs(t, err, lister.ErrWhole)
}

func TestPartOfADirectoryThatIsStamped(t *testing.T) {
	top := t.TempDir()
	disktest.Write(t, top+"/f", "")
	d := disktest.OpenRoot(t, top)
	for _, later := range []int64{1001, 999} {
		require.NoError(t, d.SetTime(mtree.Unix(1000, 0)))
		l := lister.Lister{Exclude: func(string, bool) bool {
			require.NoError(t, d.SetTime(mtree.Unix(later, 0)))
			return false
		}}
		part, err := readPart(t, &l, d, "", "f")
		require.NoError(t, err)
		require.True(t, part.Hot)
		require.Equal(t, mtree.Unix(min(later, 1000), 0), part.Stamp)
	}
}

func TestPartOfADirectoryThatMovedAway(t *testing.T) {
	top := t.TempDir()
	disktest.Write(t, top+"/d/f", "")
	root, d := disktest.OpenRoot(t, top), disktest.OpenRoot(t, top+"/d")
	l := lister.Lister{Root: root}
	reading, err := l.BeginPart(d, "d")
	require.NoError(t, err)
	_, err = reading.Read([]string{"f"})
	require.NoError(t, err)
	require.NoError(t, os.Rename(top+"/d", top+"/e"))
	_, err = reading.Read([]string{"f"})
	require.ErrorIs(t, err, lister.ErrWhole)
}

func TestNoPartOfAnUnfinishedDirectory(t *testing.T) {
	top := t.TempDir()
	disktest.Write(t, top+"/f", "")
	d := disktest.OpenRoot(t, top)
	l := lister.Lister{Copy: true}
	reading, err := l.BeginPart(d, "")
	require.NoError(t, err)
	_, err = reading.Read([]string{"f"})
	require.ErrorIs(t, err, lister.ErrWhole)
	require.NoError(t, d.SetTime(mtree.Unix(1000, 0)))
	_, err = l.BeginPart(d, "")
	require.NoError(t, err, "its ctime is no whole second")

	require.NoError(t, records.Set(d, records.Record{Stamp: mtree.Unix(1000, 0), Now: mtree.Unix(2000, 0)}))
	part, err := readPart(t, &l, d, "", "f")
	require.NoError(t, err, "it is complete")
	require.Len(t, part.Entries, 1)
}

// While nothing in a copy is trusted, it has no parts: that counts before the names are read, and
// afterwards.
func TestPartOfACopyInDoubt(t *testing.T) {
	top := t.TempDir()
	disktest.Write(t, top+"/d/f", "x")
	root, d := disktest.OpenRoot(t, top), disktest.OpenRoot(t, top+"/d")
	doubt := func(in bool) {
		stamp := mtree.MinStamp.Add(2 << 8)
		if in {
			stamp = stamp.Add(records.DoubtBelow)
		}
		require.NoError(t, records.Set(root, records.Record{Stamp: stamp}))
	}
	l := lister.Lister{MayBeCopy: true, Root: root}
	read := func(before, after bool) error {
		doubt(before)
		reading, err := l.BeginPart(d, "d")
		if err != nil {
			return err
		}
		doubt(after)
		_, err = reading.Read([]string{"f"})
		return err
	}
	require.NoError(t, read(false, false))
	require.ErrorIs(t, read(true, false), lister.ErrWhole)
	require.ErrorIs(t, read(false, true), lister.ErrWhole)
}

// Names tells what may be told, and leaves out what may not. It says if that was told before, perhaps.
func TestNames(t *testing.T) {
	top := t.TempDir()
	require.NoError(t, syscall.Mkfifo(top+"/fifo", 0o644))
	disktest.Write(t, top+"/.dot", "")
	disktest.Write(t, top+"/x", "")
	require.NoError(t, os.Mkdir(top+"/dir", 0o755))
	l := lister.Lister{Exclude: func(path string, isDir bool) bool { return isDir && path == "dir" }}
	root := disktest.OpenRoot(t, top)
	got, left, err := l.Names(root, "", []string{".dot", "dir", "fifo", "gone", "x"})
	require.NoError(t, err)
	require.True(t, left)
	for name, want := range map[string]bool{".dot": false, "gone": false, "x": false, "dir": true, "fifo": true} {
		_, left, err := l.Names(root, "", []string{name})
		require.NoError(t, err)
		require.Equal(t, want, left, name)
	}
	require.Equal(t, []string{"gone"}, got.Gone)
	require.Len(t, got.Entries, 1)
	require.Equal(t, "x", got.Entries[0].Name)
}
