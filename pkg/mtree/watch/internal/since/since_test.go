package since

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk/disktest"
	"tidemark/pkg/mtree/internal/glob"
	"tidemark/pkg/mtree/internal/journal"
	"tidemark/pkg/mtree/internal/state"
)

// asked is a tree and what is told of it.
type asked struct {
	telling
	t    *testing.T
	top  string
	text bytes.Buffer
	logs bytes.Buffer
}

// newAsked makes a tree of files, and of directories, whose names end in a slash. Nothing was told
// of it since the stamp, and no stamp is later.
func newAsked(t *testing.T, paths ...string) *asked {
	a := &asked{t: t, top: t.TempDir()}
	for _, path := range paths {
		dir, isDir := strings.CutSuffix(path, "/")
		if !isDir {
			dir = mtree.ParentPath(path)
		}
		require.NoError(t, os.MkdirAll(a.top+"/"+dir, 0o755))
		if !isDir {
			require.NoError(t, os.WriteFile(a.top+"/"+path, nil, 0o644))
		}
	}
	root := disktest.OpenRoot(t, a.top)
	m, err := state.CreateMarker(root, "")
	require.NoError(t, err)
	t.Cleanup(func() { _ = m.Close() })
	a.Question = Question{Root: root, Marker: m, Since: mtree.Unix(1<<31, 0), NUL: true, Out: &a.text, Log: slog.New(slog.NewTextHandler(&a.logs, nil))}
	a.telling = telling{Question: a.Question, list: newList(a.Question), ctx: t.Context(), borders: map[string]bool{}}
	return a
}

// told returns what is told by do.
func (a *asked) told(do func() error) []string {
	a.text.Reset()
	a.list.told = nil
	require.NoError(a.t, do())
	require.NoError(a.t, a.end())
	paths := strings.Split(a.text.String(), "\x00")
	return paths[:len(paths)-1]
}

// by returns what is told by batches.
func (a *asked) by(lines ...journal.Line) []string {
	return a.told(func() error { return a.byName([]journal.Batch{{Number: 1, Lines: lines}}) })
}

// names is a line of a directory.
func names(path string, names ...string) journal.Line {
	return journal.Line{Path: path, Known: true, Names: names}
}

// A file was removed, and an excluded directory got its name. The directory is not told, and what was
// the file is to be looked at.
func TestToldWhereAFileBecameAnExcludedDirectory(t *testing.T) {
	a := newAsked(t, "a/cache/f", "a/g")
	var err error
	a.Exclude, err = glob.Excluding([]string{"cache/"})
	require.NoError(t, err)
	require.Equal(t, []string{"./a/", "./a/g"}, a.by(names("a", "cache/", "g")))
}

// A path is told once, whatever names it.
func TestToldOnce(t *testing.T) {
	a := newAsked(t, "a/b/f", "a/d/e/h")
	require.Equal(t, []string{"./x"}, a.by(names("", "x/"), names("x/y", "f"), names("x/z", "f")))
	a.Since = mtree.Unix(1, 0)
	require.ElementsMatch(t, []string{"./a/b/", "./a/b/f"}, a.by(names("a/b", "f"), journal.Line{Path: "a/b", Unknown: true}))
	require.ElementsMatch(t, []string{"./a/d/", "./a/d/e/", "./a/d/e/h"}, a.by(names("a/d", "e/"), journal.Line{Path: "a/d", Unknown: true, Below: true}))
}

// What the journal says, as paths.
func TestToldByName(t *testing.T) {
	a := newAsked(t, "a/b/f", "a/b/g", "a/d/e/h", "i")
	require.Empty(t, a.by())
	require.Equal(t, []string{"./a/b/f"}, a.by(names("", "a/"), names("a", "b/"), names("a/b", "f")), "what is stamped only is no change")
	require.Equal(t, []string{"./gone", "./i", "./a/b/f"}, a.by(names("", "i"), names("", "gone"), names("a/b", "f"), names("a/b", "f")), "each once")
	require.Equal(t, []string{"./a/d/"}, a.by(names("a", "d/")), "a directory that is named only")
	require.Equal(t, []string{"./a/b/f"}, a.by(names("a/b", "f/")), "it is a file by now")
	require.Equal(t, []string{"./a/b/"}, a.by(journal.Line{Path: "a/b", Unknown: true}), "no name has a time after the stamp")
	require.ElementsMatch(t, []string{"./a/d/", "./a/d/e/", "./a/d/e/h"}, a.by(journal.Line{Path: "a/d", Unknown: true, Below: true}, names("a/d/e", "h")))
	a.Since = mtree.Unix(1, 0)
	require.ElementsMatch(t, []string{"./a/b/", "./a/b/f", "./a/b/g"}, a.by(journal.Line{Path: "a/b", Unknown: true}))
	require.ElementsMatch(t, []string{"./", "./i"}, a.by(journal.Line{Path: "", Unknown: true}))

	var err error
	a.Exclude, err = glob.Excluding([]string{"f", "e/"})
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"./a/b/", "./a/b/g"}, a.by(journal.Line{Path: "a/b", Unknown: true}, names("a/b", "f"), names("a/d/e", "h")))
}

// A directory that is gone is told by the uppermost that is gone: rsync warns of names below it.
func TestToldIsGone(t *testing.T) {
	a := newAsked(t, "a/f", "link/")
	require.Equal(t, []string{"./a/x"}, a.by(names("a/x/y", "z")))
	require.Equal(t, []string{"./x"}, a.by(journal.Line{Path: "x/y", Unknown: true, Below: true}))
	require.Equal(t, []string{"./a/f"}, a.by(names("a/f", "z")), "a file took its place")
	require.NoError(t, os.Remove(a.top+"/link"))
	require.NoError(t, os.Symlink("a", a.top+"/link"))
	require.Equal(t, []string{"./link"}, a.by(names("link", "f")), "a symlink")
}

// By the stamps: the directories above the stamp, and in them what has times after it.
func TestToldByStamp(t *testing.T) {
	a := newAsked(t, "a/b/f", "a/c/g", "d/h", "i")
	byStamp := func() []string {
		return a.told(func() error {
			root, err := a.Root.Self()
			require.NoError(t, err)
			return a.byStamp(root)
		})
	}
	require.Empty(t, byStamp())
	later := a.Since.Add(1).Time()
	for _, path := range []string{"", "/a", "/a/b", "/i"} {
		require.NoError(t, os.Chtimes(a.top+path, later, later))
	}
	require.ElementsMatch(t, []string{"./", "./i", "./a/", "./a/b/"}, byStamp())
	near := a.Since.Add(1 - lookBack).Time()
	require.NoError(t, os.Chtimes(a.top+"/a/b/f", near, near))
	require.Contains(t, byStamp(), "./a/b/f")
	require.NoError(t, os.Chtimes(a.top+"/a/b/f", a.Since.Add(-lookBack).Time(), a.Since.Add(-lookBack).Time()))
	require.NotContains(t, byStamp(), "./a/b/f")
	require.NoError(t, os.Chtimes(a.top+"/a/c/g", later, later))
	require.NotContains(t, byStamp(), "./a/c/g", "its directory has no such stamp")

	a.borders["a"] = true
	require.ElementsMatch(t, []string{"./", "./i"}, byStamp(), "another tree")
	delete(a.borders, "a")
	c, err := a.Root.StatPath("a/c", false)
	require.NoError(t, err)
	require.NoError(t, a.Marker.WriteStamps(map[string]state.Refusal{"a/c": {Inode: c.Node.Ino, Stamp: a.Since.Add(1)}}, 1, false))
	require.NoError(t, a.Marker.WriteUnread(map[string]state.Unread{"u": {}}, 1, false))
	require.Contains(t, byStamp(), "./a/c/g", "its stamp is in .tidemark/stamps")
	require.Contains(t, a.logs.String(), "may not read")
}

// What cannot be read is counted, unless it is gone.
func TestToldCannotBeRead(t *testing.T) {
	a := newAsked(t, "a/f")
	require.Equal(t, []string{"./a"}, a.told(func() error { a.cannotOpen("a", os.ErrPermission); return nil }), "its name can be told")
	require.Equal(t, 1, a.unreadable)
	require.Equal(t, []string{"./gone"}, a.by(journal.Line{Path: "gone", Unknown: true}))
	require.NoError(t, a.open("gone", all))
	require.Equal(t, 1, a.unreadable)
}

// A stamp that may have come twice counts if the root showed it in this run.
func TestStampsThatComeAgain(t *testing.T) {
	s := mtree.Unix(1000, 0)
	line := func(l journal.Line) []journal.Batch { return []journal.Batch{{Lines: []journal.Line{{Path: "a"}, l}}} }
	span := journal.Line{Known: true, From: s.Add(-5), To: s.Add(5)}
	require.True(t, hadStamp(line(span), s))
	require.False(t, hadStamp(line(span), s.Add(6)))
	below := span
	below.Path = "a"
	require.False(t, hadStamp(line(below), s), "not the root's")
	span.Known = false
	require.False(t, hadStamp(line(span), s))
}

// failing fails.
type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("no room") }

// What cannot be written ends it, and so does the end of its context.
func TestToldCannotBeWritten(t *testing.T) {
	a := newAsked(t, "a/f")
	root, err := a.Root.Self()
	require.NoError(t, err)
	require.NoError(t, a.Marker.WriteTree(state.Tree{ID: state.NewTreeID(), Epoch: 1, Role: state.Source}))
	q := a.Question
	q.Out = failing{}
	require.Equal(t, exit.Local, exit.Of(Tell(t.Context(), q)))
	q.Out = io.Discard
	require.NoError(t, Tell(t.Context(), q))
	require.Contains(t, a.logs.String(), "everything is told")
	require.NoError(t, a.Marker.WriteTree(state.Tree{ID: state.NewTreeID(), Epoch: 1, Role: state.Copy}))
	require.Equal(t, exit.Refused, exit.Of(Tell(t.Context(), q)))
	a.list = newList(Question{Out: failing{}})
	for range 5000 {
		a.name("x")
	}
	require.Error(t, a.everything(root))
}
