package lister

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/sys"
	"tidemark/pkg/mtree/internal/sys/simkernel"
)

// retyping is a machine on which readlinkat fails as often as this.
type retyping struct {
	sys.Kernel
	times    int
	err      error
	calls    int
	unlisted error  // that of getdents64
	huge     bool   // directories say that they are of a size that cannot be
	mounted  string // mounts begin at these names
	again    bool   // getdents64 tells everything twice
	told     []byte
}

func (k *retyping) Getdents(fd, room int) ([]byte, error) {
	if k.unlisted != nil {
		return nil, k.unlisted
	}
	names, err := k.Kernel.Getdents(fd, room)
	if k.again && len(names) == 0 {
		names, k.told = k.told, nil
	} else {
		k.told = names
	}
	return names, err
}

func (k *retyping) Statx(dirfd int, path string, flags, mask int) (unix.Statx_t, error) {
	st, err := k.Kernel.Statx(dirfd, path, flags, mask)
	if k.huge {
		st.Size = 1 << 60
	}
	if st.Attributes_mask |= unix.STATX_ATTR_MOUNT_ROOT; slices.Contains(strings.Fields(k.mounted), path) {
		st.Attributes |= unix.STATX_ATTR_MOUNT_ROOT
	}
	return st, err
}

func (k *retyping) Readlinkat(dirfd int, path string) (string, error) {
	if k.calls++; k.calls <= k.times {
		return "", k.err
	}
	return k.Kernel.Readlinkat(dirfd, path)
}

// simulated returns the root of a machine that has these times.
func simulated(t *testing.T, o simkernel.Options, fill func(s simkernel.Shell)) *retyping {
	kernel := simkernel.New(o)
	fill(kernel.Shell(0))
	k := &retyping{Kernel: kernel.Start("lister", 0)}
	t.Cleanup(sys.Simulate(k))
	return k
}

func openRoot(t *testing.T) *disk.Dir {
	d, err := disk.OpenRoot("/")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return d
}

// xfs and others may tell a name twice that is made anew while they are read: mirrors refused the
// listing.
func TestANameThatIsReadTwice(t *testing.T) {
	k := simulated(t, simkernel.Options{}, func(s simkernel.Shell) {
		require.NoError(t, s.Write("/a", ""))
		require.NoError(t, s.Write("/z", ""))
	})
	d := openRoot(t)
	for _, k.again = range []bool{false, true} {
		l, err := (&Lister{}).Read(d, "")
		require.NoError(t, err)
		require.Len(t, l.Entries, 2)
	}
}

// A name whose type changes is looked at again. If that never ends it is left out, and
// then the listing is hot: it would be deleted in the copies. Another error is an error.
func TestRetyped(t *testing.T) {
	k := simulated(t, simkernel.Options{}, func(s simkernel.Shell) {
		require.NoError(t, s.Symlink("x", "/link"))
		require.NoError(t, s.Write("/z", ""))
	})
	d := openRoot(t)
	for _, c := range []struct {
		times  int
		err    error
		failed bool
		listed int
	}{
		{0, nil, false, 2},
		{1, unix.EINVAL, false, 2},
		{1, unix.ENOENT, false, 2},
		{lookTries - 1, unix.EINVAL, false, 2},
		{lookTries, unix.EINVAL, false, 2}, // the listing is read again
		{2*lookTries + 1, unix.ENOENT, false, 2},
		{3 * lookTries, unix.EINVAL, false, 1},
		{1, unix.EIO, true, 0},
	} {
		k.times, k.err, k.calls = c.times, c.err, 0
		l, err := (&Lister{}).Read(d, "")
		require.Equal(t, c.failed, err != nil, "%+v: %v", c, err)
		require.Len(t, l.Entries, c.listed, "%+v", c)
		require.Equal(t, c.listed == 1, l.Hot, "%+v", c)

		k.calls = 0
		have, err := Present(d, "", nil)
		require.Equal(t, c.failed || c.times >= lookTries, err != nil, "%+v: %v", c, err)
		if c.failed {
			require.ErrorIs(t, err, c.err)
		} else if err == nil {
			require.Len(t, have, 2)
		}
	}
}

// A link that is left out is not read: nothing depends on whether that works.
func TestALinkThatIsLeftOut(t *testing.T) {
	k := simulated(t, simkernel.Options{}, func(s simkernel.Shell) { require.NoError(t, s.Symlink("x", "/link")) })
	k.times, k.err = 1, unix.EIO
	l, err := (&Lister{Exclude: func(path string, _ bool) bool { return path == "link" }}).Read(openRoot(t), "")
	require.NoError(t, err)
	require.Empty(t, l.Entries)
	require.Zero(t, k.calls)
}

// Names that cannot be read are an error, and that one.
func TestNamesThatCannotBeRead(t *testing.T) {
	k := simulated(t, simkernel.Options{}, func(simkernel.Shell) {})
	k.unlisted = unix.EIO
	d := openRoot(t)
	_, err := (&Lister{}).Read(d, "")
	require.ErrorIs(t, err, unix.EIO)
	_, err = Present(d, "", nil)
	require.ErrorIs(t, err, unix.EIO)
}

// The size of a directory is only a hint: some file systems make one up.
func TestASizeThatCannotBe(t *testing.T) {
	k := simulated(t, simkernel.Options{}, func(s simkernel.Shell) { require.NoError(t, s.Write("/f", "")) })
	k.huge = true
	l, err := (&Lister{}).Read(openRoot(t), "")
	require.NoError(t, err)
	require.Len(t, l.Entries, 1)
}

// A file that is covered by a mount is there all the same: the listing says so, and its
// copies keep what they have.
func TestCoveredFilesAreCounted(t *testing.T) {
	k := simulated(t, simkernel.Options{}, func(s simkernel.Shell) {
		require.NoError(t, s.Write("/f", ""))
		require.NoError(t, s.Write("/g", ""))
		require.NoError(t, s.Mkdir("/d", 0o755))
	})
	d := openRoot(t)
	for name, want := range map[string][3]uint64{"": {0, 0, 0}, "f": {1, 1, 1}, "d": {0, 1, 1}} {
		k.mounted = name
		l, err := (&Lister{}).Read(d, "")
		require.NoError(t, err)
		require.EqualValues(t, want, [3]uint64{uint64(l.Covered), uint64(l.Excluded), uint64(l.Hidden)}, name)
	}
}

// A listing tells which of the names that it leaves out are mount points: others, another
// text.
func TestWhichNamesAreMountPoints(t *testing.T) {
	k := simulated(t, simkernel.Options{}, func(s simkernel.Shell) {
		for _, name := range []string{"/f", "/g", "/fg", "/x", "/gg"} {
			require.NoError(t, s.Write(name, ""))
		}
		require.NoError(t, s.Mkdir("/d", 0o755))
	})
	d := openRoot(t)
	seen := map[string]string{}
	for _, name := range []string{"", "f", "g", "d", "f", "f gg", "fg g"} {
		k.mounted = name
		l, err := (&Lister{Exclude: func(path string, _ bool) bool { return path == "x" }}).Read(d, "")
		require.NoError(t, err)
		require.Equal(t, name != "", l.Mounts != "", name)
		if was, ok := seen[l.Mounts]; ok {
			require.Equal(t, was, name)
		}
		seen[l.Mounts] = name
	}
	require.Len(t, seen, 6)
}

// On a file system with whole seconds the entry of a directory in a copy has the recorded
// stamp. Its time alone would make a mirror of the copy take two stamps for one.
func TestEntriesOfACoarseCopy(t *testing.T) {
	simulated(t, simkernel.Options{Granule: time.Second}, func(s simkernel.Shell) {
		require.NoError(t, s.Mkdir("/d", 0o755))
		require.NoError(t, s.Write("/f", ""))
	})
	d := openRoot(t)
	sub, err := d.OpenDir("d")
	require.NoError(t, err)
	defer sub.Close()
	record := records.Record{Stamp: mtree.Unix(1000, 7), Now: mtree.Unix(2000, 0), ID: "00ff"}
	require.NoError(t, records.Set(sub, record))
	require.NoError(t, sub.SetTime(record.Stamp))
	for _, isCopy := range []bool{true, false} {
		l, err := (&Lister{Copy: isCopy}).Read(d, "")
		require.NoError(t, err)
		require.Equal(t, isCopy, l.Entries[0].MTime == record.Stamp)
		self, err := (&Lister{Copy: isCopy}).Self(sub, "d")
		require.NoError(t, err)
		require.Equal(t, isCopy, self.MTime == record.Stamp)
	}
}

// In such a copy the time of a directory is not its stamp: there are no parts.
func TestPartOfACoarseCopy(t *testing.T) {
	for _, granule := range []time.Duration{time.Second, 1} {
		simulated(t, simkernel.Options{Granule: granule}, func(s simkernel.Shell) {
			require.NoError(t, s.Write("/f", ""))
		})
		d := openRoot(t)
		record := records.Record{Stamp: mtree.Unix(1000, 7), Now: mtree.Unix(2000, 0), ID: "00ff"}
		require.NoError(t, records.Set(d, record))
		require.NoError(t, d.SetTime(record.Stamp))
		_, err := (&Lister{}).BeginPart(d, "")
		require.NoError(t, err)
		_, err = (&Lister{Copy: true}).BeginPart(d, "")
		if granule == time.Second {
			require.ErrorIs(t, err, ErrWhole)
		} else {
			require.NoError(t, err)
		}
	}
}
