package disk

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/sys/faultkernel"
)

// folding returns a machine with the directory /copy/d, which has README and takes names that
// differ in case for one, and a Staging beside it, which does not.
func folding(t *testing.T) (k *faultkernel.Kernel, d *Dir, a *Staging) {
	k = faultkernel.New(t, 0)
	k.Make(t, "/copy/d/README")
	require.NoError(t, k.Shell.Fold("/copy/d"))
	a, err := openStaging(rootAt(t, "/copy"), "aside")
	require.NoError(t, err)
	t.Cleanup(func() { _ = a.Close() })
	return k, rootAt(t, "/copy/d"), a
}

// A file, or a symlink, whose name is free as far as its maker knows replaces no other spelling of the
// name. It did in a directory that ignores case while its file system does not (chattr +F).
func TestAnotherSpellingIsNotReplaced(t *testing.T) {
	create := func(free bool) func(a *Staging, d *Dir) error {
		return func(a *Staging, d *Dir) error {
			f, err := a.Create(d, "readme", free, 0o644)
			require.NoError(t, err)
			return f.Place(d, "readme")
		}
	}
	for name, c := range map[string]struct {
		place    func(a *Staging, d *Dir) error
		named    bool // there is no O_TMPFILE
		old      bool // nor RENAME_NOREPLACE
		replaces bool
	}{
		"a file":                   {place: create(true)},
		"with a name":              {place: create(true), named: true},
		"with a name, by a rename": {place: create(true), named: true, old: true},
		"in the place of a file":   {place: create(false), replaces: true},
		"continued": {place: func(a *Staging, d *Dir) error {
			f, _, err := a.Continue("key", true)
			require.NoError(t, err)
			return f.Place(d, "readme")
		}},
		"a symlink": {place: func(a *Staging, d *Dir) error {
			name, err := a.Symlink("to")
			require.NoError(t, err)
			defer func() { _ = a.Dir().Unlink(name) }()
			return a.Place(name, d, "readme", true)
		}},
	} {
		k, d, a := folding(t)
		a.named.Store(c.named)
		if c.old {
			k.Refuse("rename readme", unix.EINVAL, 1)
		}
		err := c.place(a, d)
		text, readErr := k.Shell.Read("/copy/d/README")
		require.NoError(t, readErr, name)
		if c.replaces {
			require.NoError(t, err, name)
			require.Empty(t, text, name)
		} else {
			require.ErrorIs(t, err, ErrCollides, name)
			require.Equal(t, "x", text, name)
		}
		require.Equal(t, []string{"README"}, k.Shell.Names("/copy/d"), name)
		require.Empty(t, k.Shell.Names("/copy/aside"), name)
	}
}

// What has exactly the name is replaced all the same: somebody made it meanwhile. A name that is free
// is taken, also where the file system knows no RENAME_NOREPLACE.
func TestWhatPlaceReplaces(t *testing.T) {
	for _, name := range []string{"README", "other"} {
		for _, free := range []bool{false, true} {
			for _, old := range []bool{false, true} {
				k, d, a := folding(t)
				if old {
					k.Refuse("rename "+name, unix.EINVAL, 1)
				}
				link, err := a.Symlink("to")
				require.NoError(t, err)
				err = a.Place(link, d, name, free)
				if old && !free {
					require.ErrorIs(t, err, unix.EINVAL)
					continue
				}
				require.NoError(t, err)
				target, err := d.Readlink(name)
				require.NoError(t, err)
				require.Equal(t, "to", target)
			}
		}
	}
	_, d, a := folding(t)
	require.Error(t, a.Place("1", d, "../f", true))
	require.ErrorIs(t, a.Place("none", d, "f", true), unix.ENOENT)
}

// Which names a directory has, byte by byte.
func TestHasNames(t *testing.T) {
	k, d, _ := folding(t)
	k.Make(t, "/copy/d/f", "/copy/d/g")
	for _, c := range []struct {
		names []string
		has   bool
	}{
		{nil, true},
		{[]string{"README"}, true},
		{[]string{"g", "README", "f"}, true},
		{[]string{"readme"}, false},
		{[]string{"f", "h"}, false},
	} {
		has, err := d.HasNames(c.names)
		require.NoError(t, err)
		require.Equal(t, c.has, has, c.names)
	}
	k.Refuse("list d", unix.EIO, 1)
	_, err := d.HasNames([]string{"f"})
	require.ErrorIs(t, err, unix.EIO)
}
