package replica

import (
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/mirror/internal/backup"
)

// kept returns a copy with a backup directory. Without hard links, entries exchange their names with what
// was there.
func kept(t *testing.T, links bool) (*faulty, *Replica) {
	k, r := simulated(t)
	k.NoLinks = !links
	b, err := backup.Open(&backup.Options{
		Dir: backup.Inside, Dest: "/copy", Root: r.Root, Staging: r.Staging, Log: slog.New(slog.DiscardHandler), Now: machine.Now, Kept: new(atomic.Int64),
	})
	require.NoError(t, err)
	r.Backup = b
	require.NoError(t, b.Begin(machine.Now()))
	return k, r
}

// keptOrNot runs a test on a copy without a backup directory, and with one by each way to write it.
func keptOrNot(t *testing.T, test func(t *testing.T, k *faulty, r *Replica)) {
	t.Run("gone", func(t *testing.T) {
		k, r := simulated(t)
		test(t, k, r)
	})
	for name, links := range map[string]bool{"linked": true, "exchanged": false} {
		t.Run(name, func(t *testing.T) {
			k, r := kept(t, links)
			test(t, k, r)
		})
	}
}

// inBackup returns the paths in the backup directory of the copy, below the directories of its passes.
func (k *faulty) inBackup() (all []string) {
	const dir = "/" + backup.Inside
	for _, pass := range k.Shell.Names("/copy" + dir) {
		for _, path := range k.names(dir + "/" + pass) {
			all = append(all, strings.TrimPrefix(path, dir+"/"+pass))
		}
	}
	return all
}

// requireKept requires that the backup has what went, or nothing without one.
func (k *faulty) requireKept(r *Replica, gone []string) {
	k.t.Helper()
	if r.Backup == nil {
		gone = nil
	}
	require.Subset(k.t, k.inBackup(), gone)
	require.Equal(k.t, len(gone) > 0, len(k.inBackup()) > 0)
}

// read returns the text of a file of the copy.
func (k *faulty) read(path string) string {
	k.t.Helper()
	text, err := k.Shell.Read("/copy/" + path)
	require.NoError(k.t, err)
	return text
}

// A file or symlink whose name is expected to be free takes the place of no other spelling of it. That would
// leave the backup for the copy's only name of another file.
func TestAnotherSpellingIsNotExchanged(t *testing.T) {
	k, r := kept(t, false)
	k.tree("d/")
	require.NoError(t, k.Shell.Fold("/copy/d"))
	k.tree("d/README")
	dir := k.dir(r, "d")
	file := func(name string, free bool) error {
		temp, err := r.Staging.Create(dir, name, free, 0o644)
		require.NoError(t, err)
		defer temp.Discard()
		_, err = temp.Write([]byte(name))
		require.NoError(t, err)
		return r.Place(temp, dir, "d/"+name)
	}
	link := func(name string, free bool) error {
		staged, err := r.Staging.Symlink("to")
		require.NoError(t, err)
		return r.PlaceStaged(staged, dir, "d/"+name, free)
	}
	for _, place := range []func(name string, free bool) error{file, link} {
		require.ErrorIs(t, place("readme", true), disk.ErrCollides)
		require.Equal(t, []string{"/d/README"}, k.names("/d"))
		require.Equal(t, "d/README", k.read("d/README"))
		require.NoError(t, place("new", true))
		require.Contains(t, k.names("/d"), "/d/new")
		require.NoError(t, k.Shell.Remove("/copy/d/new"))
	}
	require.NoError(t, file("README", true), "somebody else made it meanwhile")
	require.Equal(t, "README", k.read("d/README"))
	require.NoError(t, file("readme", false), "that spelling was there when the directory was read")
	require.Equal(t, "readme", k.read("d/README"))
	require.NoError(t, link("README", true))
	require.NoError(t, link("readme", false))
}

// placing is each way to put an entry into the place of another one.
var placing = map[string]func(k *faulty, r *Replica, dir *disk.Dir, path string) error{
	"a file": func(k *faulty, r *Replica, dir *disk.Dir, path string) error {
		temp, err := r.Staging.Create(dir, mtree.BaseName(path), false, 0o644)
		require.NoError(k.t, err)
		defer temp.Discard()
		_, err = temp.Write([]byte("new"))
		require.NoError(k.t, err)
		return r.Place(temp, dir, path)
	},
	"a symlink": func(k *faulty, r *Replica, dir *disk.Dir, path string) error {
		staged, err := r.Staging.Symlink("new")
		require.NoError(k.t, err)
		return r.PlaceStaged(staged, dir, path, false)
	},
	"a directory": func(k *faulty, r *Replica, dir *disk.Dir, path string) error {
		staged := r.Staging.Name()
		made, err := r.Staging.Dir().MakeDir(staged, 0o755)
		require.NoError(k.t, err)
		require.NoError(k.t, made.Close())
		return r.PlaceDir(staged, dir, path)
	},
}

// What is put into the place of an entry has its name, and the other one is in the backup, or gone. What
// fails leaves that where it was, and is told.
func TestAnEntryInThePlaceOfAnother(t *testing.T) {
	kinds := map[string]mtree.Kind{"a file": mtree.File, "a symlink": mtree.Symlink, "a directory": mtree.Dir}
	for name, place := range placing {
		keptOrNot(t, func(t *testing.T, k *faulty, r *Replica) {
			k.tree("d/", "d/a", "d/e/", "d/e/f")
			dir := k.dir(r, "d")
			require.NoError(t, place(k, r, dir, "d/a"), name)
			require.Equal(t, kinds[name], k.entry(dir, "a").Kind, name)
			require.Equal(t, []string{"/d", "/d/a", "/d/e", "/d/e/f"}, k.names(""))
			k.requireKept(r, []string{"/d", "/d/a"})
			require.Empty(t, k.Shell.Names("/copy/.tidemark/tmp"))

			if name != "a directory" {
				require.ErrorIs(t, place(k, r, dir, "d/e"), unix.EISDIR, name)
				require.NoError(t, place(k, r, dir, "d/new"), name)
				require.Equal(t, kinds[name], k.entry(dir, "new").Kind, name)
			}
			for _, call := range []string{"rename b", "link b", "statx b"} {
				_ = k.Shell.Remove("/copy/d/b")
				k.tree("d/b")
				k.Made("")
				k.Refuse(call, unix.EIO, -1)
				err := place(k, r, dir, "d/b")
				if k.Made(call) > 0 {
					require.ErrorIs(t, err, unix.EIO, "%s: %s", name, call)
					require.Equal(t, "d/b", k.read("d/b"))
				}
			}
		})
	}
}

// What a directory replaced, and cannot be removed, is told.
func TestWhatADirectoryReplacedStays(t *testing.T) {
	k, r := simulated(t)
	k.tree("f")
	k.Fail = func(call string) error {
		if isStaged(call, "unlink ") {
			return unix.EIO
		}
		return nil
	}
	require.ErrorIs(t, placing["a directory"](k, r, r.Root, "f"), unix.EIO)
}

// isStaged reports whether a call concerns an entry in Staging: those have numbers.
func isStaged(call, what string) bool {
	name, is := strings.CutPrefix(call, what)
	return is && strings.Trim(name, "0123456789") == ""
}

// A file that fails when it is closed may not have all its bytes: some file systems tell that then.
func TestAFileThatCannotBeClosed(t *testing.T) {
	k, r := kept(t, false)
	k.tree("f")
	k.Fail = func(call string) error {
		if isStaged(call, "close ") {
			return unix.EDQUOT
		}
		return nil
	}
	require.ErrorIs(t, placing["a file"](k, r, r.Root, "f"), unix.EDQUOT)
}

// A file whose name it has already, in a directory that is filled aside, replaces nothing.
func TestAFileThatHasItsName(t *testing.T) {
	k, r := kept(t, true)
	k.tree("d/")
	made, err := r.Staging.CreateDir(0o755)
	require.NoError(t, err)
	defer made.Discard()
	temp, err := r.Staging.Create(made.Dir, "f", true, 0o644)
	require.NoError(t, err)
	require.NoError(t, r.Place(temp, made.Dir, "new/f"))
	require.Empty(t, k.inBackup())
}

// What others need of the options of the mirror that ran last is in a file; the default is in none.
func TestWhatIsNoted(t *testing.T) {
	k, r := simulated(t)
	k.claimed(r)
	l := k.look()
	for name, n := range map[string]struct {
		set func(string) error
		get []func() (string, error)
	}{
		backupName: {r.NoteBackup, []func() (string, error){r.NotedBackup, l.NotedBackup}},
		limitName:  {r.NoteLimit, []func() (string, error){l.NotedLimit}},
	} {
		for _, text := range []string{"", "/srv/a b", backup.Inside, backup.Inside, ""} {
			k.Made("")
			was, _ := n.get[0]()
			require.NoError(t, n.set(text))
			require.Equal(t, was != text && text != "", k.Made("write") > 0, "%s: %q", name, text)
			require.Equal(t, text != "", r.marker.Has(name))
			for _, get := range n.get {
				is, err := get()
				require.NoError(t, err)
				require.Equal(t, text, is, name)
			}
		}
		k.Refuse("rename "+name, unix.EIO, 1)
		require.ErrorIs(t, n.set("/a"), unix.EIO)
		require.NoError(t, n.set("/a"))
		k.Refuse("unlink "+name, unix.EIO, 1)
		require.ErrorIs(t, n.set(""), unix.EIO)
		for _, get := range n.get {
			k.Refuse("open "+name, unix.EIO, 1)
			_, err := get()
			require.ErrorIs(t, err, unix.EIO)
		}
	}
	require.NoError(t, r.NoteBackup("from somewhere"))
	_, err := r.NotedBackup()
	require.ErrorContains(t, err, "no absolute path")
}
