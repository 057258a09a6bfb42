package published

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
)

// leads are symlinks in the directory d, where they lead, and what stands for them: the
// kind of what is there, and the href. Where nothing published is, there is no href.
var leads = []struct {
	name, target string
	kind         mtree.Kind
	href         string
}{
	{"to file", "../f", mtree.File, "to%20file"},
	{"to dir", "../a/b", mtree.Dir, "../a/b/"},
	{"to itself", ".", mtree.Dir, "./"},
	{"by a link", "to file", mtree.File, "by%20a%20link"},
	{"through a link", "to dir/g", mtree.File, "through%20a%20link"},
	{"to the root", "..", mtree.Other, ""}, // each directory would have itself below it
	{"outside", "../../secret", mtree.Other, ""},
	{"absolute", "/tree/f", mtree.Other, ""},
	{"nowhere", "none", mtree.Other, ""},
	{"loop", "loop", mtree.Other, ""},
	{"hidden", "../.h", mtree.Other, ""},
	{"in hidden", "../.hid/f", mtree.Other, ""},
	{"excluded", "../x.tmp", mtree.Other, ""},
	{"excluded dir", "../only", mtree.Other, ""},
	{"no dir", "../a/only", mtree.File, "no%20dir"}, // only directories of that name are excluded
	{"unread", "../u", mtree.Dir, "../u/"},          // shown as its directory shows it
	{"in unread", "../u/f", mtree.Other, ""},
	{"fifo", "../fifo", mtree.Other, ""},
	{"marker", "../.tidemark/tree", mtree.Other, ""},
}

// fillLeads makes the symlinks, and what they lead to.
func (w *world) fillLeads() {
	w.fill("f", "a/", "a/b/", "a/b/g", "a/only", "only/", "x.tmp", ".h", ".hid/", ".hid/f", "u/", "u/f", "fifo", "d/")
	require.NoError(w.t, w.Shell.Write("/secret", "secret"))
	require.NoError(w.t, w.Shell.Chmod("/tree/f", 0o640))
	for _, l := range leads {
		w.fill("d/" + l.name + " -> " + l.target)
	}
	w.Show = func(call string, stx *unix.Statx_t) {
		if call == "statx fifo" && stx.Mode&unix.S_IFMT == unix.S_IFREG {
			stx.Mode = unix.S_IFIFO | 0o644
		}
	}
	w.unread("u")
}

// For a symlink stands what it leads to, if that is published: nothing outside the root,
// nothing hidden, nothing that watch may not read, no other types.
func TestShowLink(t *testing.T) {
	simulated(t, 0, func(t *testing.T, w *world) {
		w.fillLeads()
		tree := w.open(Config{Exclude: excluding(t, "*.tmp", "only/")})
		for _, l := range leads {
			e := mtree.Entry{Name: l.name, Kind: mtree.Symlink, Size: 77}
			shown, href, err := tree.ShowLink("d", e)
			require.NoError(t, err, l.name)
			require.Equal(t, l.name, shown.Name)
			require.Equal(t, l.kind, shown.Kind, l.name)
			require.Equal(t, l.href, string(href), l.name)
		}
		shown, _, err := tree.ShowLink("d", mtree.Entry{Name: "to file", Kind: mtree.Symlink, Size: 77})
		require.NoError(t, err)
		f, err := tree.Root().Stat("f")
		require.NoError(t, err)
		require.Equal(t, []any{f.Size, f.Mode, f.MTime, f.CTime}, []any{shown.Size, shown.Mode, shown.MTime, shown.CTime}, "those of the file")
		require.Equal(t, uint32(0o640), shown.Mode)
	})
}

// Hidden names are followed if they are published. The marker never is.
func TestResolveHidden(t *testing.T) {
	simulated(t, 0, func(t *testing.T, w *world) {
		w.fillLeads()
		tree := w.open(Config{Hidden: true})
		for path, want := range map[string]string{
			"d/hidden": ".h", "d/in hidden": ".hid/f", "d/marker": "", "d/excluded": "x.tmp", "f": "f", "d/to the root/f": "f",
		} {
			real, kind, err := tree.Resolve(path)
			require.NoError(t, err)
			require.Equal(t, want, real, path)
			require.Equal(t, want != "", kind == mtree.File, path)
		}
		real, kind, err := tree.Resolve("d/to the root")
		require.NoError(t, err)
		require.Equal(t, "", real)
		require.Equal(t, mtree.Dir, kind)
	})
}

// Where permissions keep serve from looking, nothing is published.
func TestResolveDenied(t *testing.T) {
	simulated(t, 1000, func(t *testing.T, w *world) {
		w.fill("closed/", "closed/f", "l -> closed/f")
		require.NoError(t, w.Shell.Chmod("/tree/closed", 0o700))
		tree := w.open(Config{})
		real, kind, err := tree.Resolve("l")
		require.NoError(t, err)
		require.Equal(t, "", real)
		require.Equal(t, mtree.Other, kind)
	})
}

// What a disk that fails leaves open is told as open, and not as missing: whoever lists it
// as missing lets mirrors delete it. ESTALE, of an NFS server that lost its handles, was taken
// for that.
func TestLinksOnADiskThatFails(t *testing.T) {
	for _, c := range []struct {
		call  string
		errno unix.Errno
	}{
		{"open l", unix.EIO}, {"open f", unix.EIO}, {"statx f", unix.EIO}, {"open l", unix.EPERM}, {"open l", unix.ESTALE}, {"statx f", unix.ESTALE},
	} {
		call, errno := c.call, c.errno
		simulated(t, 0, func(t *testing.T, w *world) {
			w.fill("f", "l -> f")
			tree := w.open(Config{})
			w.Refuse(call, errno, -1)
			real, kind, err := tree.Resolve("l")
			require.ErrorIs(t, err, errno, call)
			require.Equal(t, "", real)
			require.Equal(t, mtree.Other, kind)
			shown, href, err := tree.ShowLink("", mtree.Entry{Name: "l", Kind: mtree.Symlink})
			require.ErrorIs(t, err, errno, call)
			require.Equal(t, mtree.Other, shown.Kind)
			require.Nil(t, href)
		})
	}
}

// meanwhile lets others do something just before the n-th of these calls.
func (w *world) meanwhile(call string, n int, do func()) {
	w.Fail = func(made string) error {
		if made == call {
			if n--; n == 0 {
				do()
			}
		}
		return nil
	}
}

// A path is followed again if what is at its end was removed, or became a symlink, after it
// was followed and before it was looked at.
func TestReplacedWhileFollowed(t *testing.T) {
	for _, c := range []struct{ was, puts string }{
		{"f", "f -> g"},  // the file becomes a symlink
		{"f", "l -> g"},  // the file is gone
		{".f", "l -> g"}, // so is what was hidden
	} {
		simulated(t, 0, func(t *testing.T, w *world) {
			w.fill(c.was, "g", "l -> "+c.was)
			tree := w.open(Config{})
			w.meanwhile("open "+c.was, 2, func() { // it is followed, and then looked at
				require.NoError(t, w.Shell.Remove("/tree/"+c.was))
				w.put(c.puts)
			})
			real, kind, err := tree.Resolve("l")
			require.NoError(t, err, c)
			require.Equal(t, "g", real, c)
			require.Equal(t, mtree.File, kind, c)
		})
	}
}

// A symlink that leads nowhere is followed once more: it may have been replaced. One that
// leads somewhere is followed once.
func TestShowLinkThatIsReplaced(t *testing.T) {
	simulated(t, 0, func(t *testing.T, w *world) {
		w.fill("f", "l -> none")
		tree := w.open(Config{})
		link := mtree.Entry{Name: "l", Kind: mtree.Symlink}
		w.meanwhile("open none", 1, func() { w.put("l -> f") })
		shown, _, err := tree.ShowLink("", link)
		require.NoError(t, err)
		require.Equal(t, mtree.File, shown.Kind)
		w.Made("")
		_, _, err = tree.ShowLink("", link)
		require.NoError(t, err)
		require.Equal(t, 1, w.Made("open l"))
	})
}

// The href of a directory is the way from one page to another.
func TestRelativeOfNamesThatBeginAlike(t *testing.T) {
	for _, test := range [][3]string{
		{"a", "ab", "../ab/"}, {"ab/c", "a/c", "../../a/c/"}, {"a/bc", "a/b", "../b/"}, {"a/b", "a/bc/d", "../bc/d/"},
	} {
		require.Equal(t, test[2], string(Relative(test[0], test[1])), strings.Join(test[:], " "))
	}
}

// Who could not read what watch says of directories, for want of descriptors or because the
// disk failed, took all symlinks for such that lead nowhere: a listing left their names out,
// under 200. Who copies by such listings deleted the files.
func TestLinksWhileExceptionsCannotBeRead(t *testing.T) {
	for _, why := range []error{unix.EMFILE, unix.EIO, unix.ENOENT, unix.EACCES, unix.ESTALE} {
		simulated(t, 0, func(t *testing.T, w *world) {
			w.fillLeads()
			tree := w.open(Config{})
			w.Refuse("open unread", why, -1)
			if why == unix.ENOENT { // a file that is missing is empty, but without all of .tidemark nothing is known
				w.Refuse("open .tidemark", why, -1)
			}
			_, _, err := tree.ShowLink("d", mtree.Entry{Name: "to file", Kind: mtree.Symlink})
			require.Error(t, err, why)
			_, _, err = tree.Resolve("d/to file")
			require.Error(t, err, why)
		})
	}
}
