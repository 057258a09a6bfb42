package replica

import (
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/internal/sys"
	"tidemark/pkg/mtree/internal/sys/faultkernel"
	"tidemark/pkg/mtree/internal/sys/simkernel"
	"tidemark/pkg/mtree/wire"
)

// A copy is opened, or an error says why not, with the disk's own reason and nothing left
// open, whichever call fails. The next time it is opened.
func TestEveryCallThatFails(t *testing.T) {
	for name, change := range map[string]func(k *faulty, o *Options){
		"a new copy":         func(*faulty, *Options) {},
		"without attributes": func(k *faulty, _ *Options) { k.Machine.NoXattrs = true },
		"a dry run":          func(_ *faulty, o *Options) { o.ReadOnly = true },
		"a state directory":  func(_ *faulty, o *Options) { o.StateDir = "/state" },
	} {
		for n, failed := 0, "none"; failed != ""; n++ {
			k := newFaulty(t, simkernel.Options{}, 0)
			o := k.options()
			change(k, o)
			first, err := Open(&Options{Path: o.Path, StateDir: o.StateDir, Log: o.Log, Now: o.Now})
			require.NoError(t, err)
			tree := k.claimed(first)
			require.NoError(t, first.SetRecord(first.Root, "", listed))
			require.NoError(t, first.UpdateStatus(func(s *state.Status) bool { s.State = wire.Mirrored; return true }))
			first.Close()
			require.Empty(t, k.Open, name)
			made := 0
			failed = "" // the last time none fails
			k.Fail = func(call string) error {
				if made++; made != n+1 {
					return nil
				}
				failed = call
				return unix.EIO
			}
			r, err := Open(o)
			k.Fail = nil
			if err != nil {
				require.ErrorIs(t, err, unix.EIO, "%s: %s", name, failed)
				require.Equal(t, exit.Local, exit.Of(err))
				require.Nil(t, r, "%s: %s", name, failed)
				require.Empty(t, k.Open, "%s: %s", name, failed)
				continue
			}
			require.True(t, mayFail(failed), "%s: %s", name, failed)
			require.Equal(t, tree.ID, r.Tree().ID, "%s: %s", name, failed)
			r.Close()
			require.Empty(t, k.Open, "%s: %s", name, failed)
		}
	}
}

// mayFail reports whether a call may fail without a word, when a copy is opened: what only
// looks whether something can be done better, or tidies, or reads what is made anew.
func mayFail(call string) bool {
	what, name, _ := strings.Cut(call, " ")
	switch what {
	case "close", "getxattr", "proc", "statfs", "flock", "symlink", "":
		return true
	}
	return slices.Contains(strings.Fields(map[string]string{
		"mkdir":  "copy", // it is there
		"open":   "status.json confirmed stamps unread state .. 2\u00e9",
		"read":   "status.json stamps unread",
		"statx":  ".gitignore .GITIGNORE probe lock status.json confirmed records copy state .. 2e\u0301",
		"utimes": "probe", "unlink": "probe 1 2\u00e9", "chmod": "lock confirmed",
	}[what]), name)
}

// A copy is made where it is missing, with all that a pass needs.
func TestANewCopy(t *testing.T) {
	k := newFaulty(t, simkernel.Options{Granule: 2 * time.Second}, 0)
	o := k.options()
	o.Path = "/new"
	r, err := Open(o)
	require.NoError(t, err)
	require.Equal(t, 1, k.Made("mkdir .tidemark"))
	t.Cleanup(r.Close)
	require.Equal(t, []any{"/new", "new", false, false}, []any{r.Path, r.Name, r.ReadOnly, r.NoLinks})
	require.Equal(t, 2*time.Second, r.Times.Granule)
	require.Equal(t, stayOf(presentStay(r.Root)), r.stay)
	require.NotZero(t, r.stay)
	require.False(t, r.Staging.Folds)
	require.NoError(t, r.Flush())
	require.Empty(t, r.Tree().ID)
	require.NoError(t, r.StillAt())
	r.Confirm(mtree.Unix(5, 0))
	told, err := r.marker.Announced()
	require.NoError(t, err)
	require.EqualValues(t, 5, told)
	require.Empty(t, k.log.String())
}

// What an earlier mirror left is taken over; what of it cannot be read is done without.
func TestACopyAgain(t *testing.T) {
	k, r := simulated(t)
	tree := k.claimed(r)
	require.NoError(t, r.UpdateStatus(func(s *state.Status) bool { s.State = wire.Mirrored; return true }))
	require.NoError(t, r.UpdateUncopied(Uncopied{"d": 3}, nil, true))
	r.unread.deny("u", 7)
	require.NoError(t, r.WriteUnread())
	k.tree("f", ".tidemark/tmp/left/", ".tidemark/.GITIGNORE", ".tidemark/tmp/left/.tidemark/")
	r.Close()
	k.Refuse("symlink 1", unix.EPERM, -1)
	r = k.replica()
	require.Equal(t, tree.ID, r.Tree().ID)
	require.Equal(t, wire.Mirrored, r.Status().State)
	require.Equal(t, Uncopied{"d": 3}, r.Uncopied())
	require.Equal(t, map[string]state.Unread{"u": {Inode: 7}}, r.unread.lines)
	require.True(t, r.Staging.Folds, "it has that name, so it takes it for the other one")
	require.True(t, r.NoLinks)
	require.Contains(t, k.log.String(), "what an earlier run was to delete")
	require.NoError(t, k.Shell.Write("/copy/.tidemark/status.json", "damaged"))
	r.Close()
	k.Fail = nil
	r = k.replica()
	require.Empty(t, r.Status().State)
	require.False(t, r.NoLinks)
}

// With a state directory, files are staged on the copy's own file system all the same.
func TestAStateDirectory(t *testing.T) {
	k := newFaulty(t, simkernel.Options{}, 0)
	o := k.options()
	o.StateDir = "/state"
	r, err := Open(o)
	require.NoError(t, err)
	t.Cleanup(r.Close)
	require.Contains(t, k.Shell.Names("/copy/.tidemark"), "tmp")
	require.NotContains(t, k.Shell.Names("/copy/.tidemark"), "lock")
	require.Contains(t, k.Shell.Names("/state"), "lock")
	require.NotContains(t, k.Shell.Names("/state"), "tmp")
	for _, dir := range []string{"/copy/state", "/copy"} {
		o := k.options()
		o.StateDir = dir
		_, err := Open(o)
		require.Equal(t, exit.Usage, exit.Of(err))
		require.ErrorContains(t, err, "give a --state-dir outside")
	}
}

// A copy that cannot be opened says why, and what to do about it.
func TestWhyItIsNotOpened(t *testing.T) {
	for name, c := range map[string]struct {
		call  string
		errno unix.Errno
		code  exit.Code
		says  string
	}{
		"the directory above is missing": {"mkdir copy", unix.ENOENT, exit.Local, "make the directory above DEST first"},
		"it may not be made":             {"mkdir copy", unix.EACCES, exit.Local, "mkdir /copy: permission denied"},
		"it may not be opened":           {"open copy", unix.EACCES, exit.Local, "run mirror as a user"},
		"a full disk":                    {"mkdir .tidemark", unix.ENOSPC, exit.Local, MakeRoom},
		"it may not be read":             {"read tree", unix.EACCES, exit.Local, "run mirror as a user"},
		"the probe fails":                {"getxattr copy", unix.EIO, exit.Local, "look at the kernel's log"},
		"the staging fails":              {"mkdir tmp", unix.EROFS, exit.Local, "mounted read-only"},
		"the list fails":                 {"read uncopied", unix.EIO, exit.Local, "look at the kernel's log"},
	} {
		k, r := simulated(t)
		k.claimed(r)
		require.NoError(t, r.UpdateUncopied(Uncopied{"d": 3}, nil, true))
		r.Close()
		if name == "the staging fails" {
			require.NoError(t, k.Shell.Remove("/copy/.tidemark/tmp"))
		}
		k.Refuse(c.call, c.errno, -1)
		_, err := Open(k.options())
		require.ErrorIs(t, err, c.errno, name)
		require.Equal(t, c.code, exit.Of(err), name)
		require.ErrorContains(t, err, c.says, name)
		require.Empty(t, k.Open, name)
	}
	for call, code := range map[string]exit.Code{"mkdir copy": exit.Refused, "mkdir .tidemark": exit.Local} {
		k := newFaulty(t, simkernel.Options{}, 0)
		k.Fail = func(made string) error {
			if made == call {
				_ = k.Shell.Write("/copy/.tidemark", "mine")
			}
			return nil
		}
		_, err := Open(k.options())
		require.ErrorIs(t, err, state.ErrInTheWay)
		require.Equal(t, code, exit.Of(err))
		require.NotContains(t, err.Error(), "DEST must be writable", "the error says enough")
	}
}

// Somebody removes the marker while it is made: it is made anew. Another mirror that comes
// at that time has the copy.
func TestWhileItIsOpened(t *testing.T) {
	k := newFaulty(t, simkernel.Options{}, 0)
	o := k.options()
	times := 0
	o.Meanwhile = func() {
		if times++; times < 3 {
			require.NoError(t, k.Shell.Remove("/copy/.tidemark"))
		}
	}
	r, err := Open(o)
	require.NoError(t, err)
	require.Equal(t, 3, times)
	require.NoError(t, r.StillAt())
	_, err = Open(k.options())
	require.ErrorIs(t, err, state.ErrLocked)
	require.Equal(t, exit.Refused, exit.Of(err))
	require.ErrorContains(t, err, "one mirror per destination")
	r.Close()

	o.Meanwhile = func() { _ = k.Shell.Remove("/copy/.tidemark") }
	_, err = Open(o)
	require.ErrorIs(t, err, fs.ErrNotExist, "it does not try for ever")

	o.Meanwhile = func() { // another mirror starts and ends
		require.NoError(t, k.Shell.Write("/copy/.tidemark/tree", `{"format":99}`))
	}
	_, err = Open(o)
	require.ErrorIs(t, err, state.ErrNewerFormat)
	require.Equal(t, exit.Refused, exit.Of(err))
	require.Empty(t, k.Open)
}

// A dry run opens what is there, and changes nothing. What is missing is taken for empty.
func TestADryRun(t *testing.T) {
	k, r := simulated(t)
	tree := k.claimed(r)
	require.NoError(t, r.SetRecord(r.Root, "", listed))
	require.NoError(t, r.UpdateStatus(func(s *state.Status) bool {
		s.State, s.Counters = wire.Mirrored, Counters{NoLinks: true}.fields()
		return true
	}))
	o := k.options()
	o.ReadOnly = true
	k.Made("")
	dry, err := Open(o)
	require.NoError(t, err, "also while a mirror keeps it")
	for _, call := range []string{"mkdir", "write", "setxattr", "chmod", "utimes", "flock", "rename", "unlink"} {
		require.Zero(t, k.Made(call), call)
	}
	require.Equal(t, tree.ID, dry.Tree().ID)
	require.Equal(t, wire.Mirrored, dry.Status().State)
	require.True(t, dry.NoLinks)
	require.True(t, dry.ReadOnly)
	require.Equal(t, r.stay, dry.stay)
	require.Equal(t, r.Self.Node, dry.Self.Node)
	require.Equal(t, mtree.MaxStamp, dry.Times.Stored(mtree.MaxStamp))
	record, known, _ := dry.Record(dry.Root, "")
	require.True(t, known)
	require.Equal(t, listed, record)
	require.NotEmpty(t, dry.TreeFile())
	dry.Deny("x")
	dry.Deny("")
	require.NoError(t, dry.WriteUnread())
	dry.Close()
	r.Close()
	require.Empty(t, k.Open)

	o.Path = "/nothing"
	dry, err = Open(o)
	require.NoError(t, err)
	require.Nil(t, dry.Root)
	_, err = dry.Dir("a")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.Nil(t, dry.TreeFile())
	dry.Close()
	k.Refuse("open copy", unix.EACCES, 1)
	o.Path = "/copy"
	_, err = Open(o)
	require.ErrorContains(t, err, "run mirror as a user")
	require.Equal(t, exit.Local, exit.Of(err))

	k = newFaulty(t, simkernel.Options{NoXattrs: true}, 0)
	r = k.replica()
	k.claimed(r)
	require.NoError(t, r.SetRecord(r.Root, "", listed))
	o = k.options()
	o.ReadOnly = true
	dry, err = Open(o)
	require.NoError(t, err)
	record, known, _ = dry.Record(dry.Root, "")
	require.True(t, known)
	require.Equal(t, listed, record)
	dry.Close()
}

// Without extended attributes nothing proved that a directory was a copy when its .tidemark was removed
// under a running mirror. That ended, with 4. It knows what it kept, but not what is there instead.
func TestAMarkerIsLostWhereNoAttributeProvesTheCopy(t *testing.T) {
	k, r := bare(t)
	tree := k.claimed(r)
	k.tree("f")
	require.NoError(t, k.Shell.Remove("/copy/.tidemark"))
	require.ErrorIs(t, r.StillAt(), ErrUnmarked)
	r.Close()
	_, err := Open(k.options())
	require.Equal(t, exit.Refused, exit.Of(err), "%v", err)
	o := k.options()
	o.Before = r
	again, err := Open(o)
	require.NoError(t, err)
	require.Equal(t, []any{tree.ID, state.Copy}, []any{again.Tree().ID, again.Tree().Role})
	_, known := k.record(again, "")
	require.False(t, known)
	require.True(t, again.MayBeLost(records.Record{}), "its files are compared by their sums")
	again.Close()

	require.NoError(t, k.Shell.Rename("/copy", "/away", 0))
	require.NoError(t, k.Shell.Mkdir("/copy", 0o755))
	k.tree("g")
	_, err = Open(o)
	require.Equal(t, exit.Refused, exit.Of(err), "%v", err)
}

// The .tidemark of a copy, or its tree file alone, was put back from a backup. What had come in between under
// other options of serve or mirror was taken for what the present ones show: old files stayed under
// stamps that were complete, in copies of the copy, too. The attribute of the root knows better.
func TestAnEarlierMarkerIsPutBack(t *testing.T) {
	for name, c := range map[string]struct {
		change  func(t *state.Tree)
		earlier bool
	}{
		"the same":   {func(*state.Tree) {}, false},
		"no filters": {func(t *state.Tree) { t.Filters = []string{} }, false},
		"other runs": {func(t *state.Tree) { t.BeginRun(mtree.Unix(5, 0)) }, false},
		"options":    {func(t *state.Tree) { t.Fingerprint = "bbbbbb" }, true},
		"filters":    {func(t *state.Tree) { t.Filters = []string{"-x"} }, true},
	} {
		k, r := simulated(t)
		tree := k.claimed(r)
		tree.Fingerprint, tree.Epoch, tree.Copy = "aaaaaa", 5, "0123456789abcdef"
		require.NoError(t, r.SetTree(tree))
		backup := r.TreeFile()
		c.change(&tree)
		require.NoError(t, r.SetTree(tree))
		require.NotContains(t, string(r.TreeFile()), `"made"`)
		r.Close()
		r = k.replica()
		require.Equal(t, tree.Fingerprint, r.Tree().Fingerprint, name)
		require.NoError(t, state.WriteFile(r.marker.Dir(), "tree", backup))
		r.Close()
		k.log.Reset()
		k.Refuse("getxattr copy", unix.EIO, 2)
		r = k.replica()
		require.Equal(t, "aaaaaa", r.Tree().Fingerprint, "what cannot be read says nothing")
		k.Fail = nil
		r.Close()
		r = k.replica()
		require.Equal(t, tree.ID, r.Tree().ID)
		require.Equal(t, state.Copy, r.Tree().Role)
		require.Equal(t, c.earlier, k.log.Len() > 0, name)
		if c.earlier {
			require.Equal(t, earlier, r.Tree().Fingerprint, name)
			require.Empty(t, r.Tree().Copy, "copies of it must not take it for what it was")
		} else {
			require.Equal(t, "aaaaaa", r.Tree().Fingerprint, name)
		}
	}
}

// The directory that a copy was is known by its inode, its birth and its file system, all of them.
func TestIsAt(t *testing.T) {
	_, r := simulated(t)
	require.True(t, r.isAt(r.Self))
	for _, change := range []func(self *state.Root){
		func(self *state.Root) { self.Node.Ino++ },
		func(self *state.Root) { self.BTime = self.BTime.Add(1) },
		func(self *state.Root) { self.FS += "x" },
	} {
		self := r.Self
		change(&self)
		require.False(t, r.isAt(self))
	}
}

// A copy lost its marker under a running mirror, and somebody let watch keep the directory, which lost that
// marker, too. The attribute proves a source: it is no copy again.
func TestACopyThatBecameASource(t *testing.T) {
	k, r := simulated(t)
	k.claimed(r)
	r.Close()
	root, err := disk.OpenRoot("/copy")
	require.NoError(t, err)
	f := &found{faulty: k, root: root}
	f.tree("f")
	f.lose()
	f.writes("", state.Source, bound)
	f.lose()
	require.NoError(t, root.Close())
	o := k.options()
	o.Before = r
	_, err = Open(o)
	require.ErrorIs(t, err, errSource)
}

// The attribute of another directory, as a copy of that brings it along, says nothing of this one.
func TestAnAttributeOfAnotherDirectory(t *testing.T) {
	k, r := simulated(t)
	tree := k.claimed(r)
	tree.Fingerprint = "aaaaaa"
	require.NoError(t, r.SetTree(tree))
	backup := r.TreeFile()
	f := &found{faulty: k, root: r.Root}
	f.writes("", state.Copy, func(t *state.Tree) { t.Inode++; t.Fingerprint = "bbbbbb" })
	require.NoError(t, state.WriteFile(r.marker.Dir(), "tree", backup))
	r.Close()
	require.Equal(t, "aaaaaa", k.replica().Tree().Fingerprint)
}

// composing is a file system that takes two ways to compose a letter for one, as ZFS does with
// normalization.
type composing struct{ *faultkernel.Kernel }

func (c composing) Statx(dirfd int, path string, flags, mask int) (unix.Statx_t, error) {
	return c.Kernel.Statx(dirfd, strings.ReplaceAll(path, "e\u0301", "\u00e9"), flags, mask)
}

// Whether a file system composes names is known from the start: else a part deleted what it did not name.
func TestAFileSystemThatComposesNames(t *testing.T) {
	k := newFaulty(t, simkernel.Options{}, 0)
	require.False(t, k.replica().Staging.Composes)
	k = newFaulty(t, simkernel.Options{}, 0)
	defer sys.Simulate(composing{k.Kernel})()
	require.True(t, k.replica().Staging.Composes)
}
