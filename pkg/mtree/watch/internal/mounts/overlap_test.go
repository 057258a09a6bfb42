package mounts

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/internal/machine"
)

// A bind mount shows a directory of the tree at a second place: each path in it has
// another one, unless a third mount covers that.
func TestOthers(t *testing.T) {
	twice := table{
		"":    {Shown: machine.Shown{Dev: "8:1", Root: "/srv"}},
		"a":   {Shown: machine.Shown{Dev: "8:1", Root: "/srv/b"}},
		"mnt": {Shown: machine.Shown{Dev: "8:2", Root: "/"}},
	}
	require.True(t, twice.overlap())
	require.Equal(t, []string{"a/f"}, twice.others("b/f"))
	require.Equal(t, []string{"b/f"}, twice.others("a/f"))
	require.Equal(t, []string{"a"}, twice.others("b"))
	require.Empty(t, twice.others("c/f"))
	require.Empty(t, twice.others("mnt/f"), "another file system")

	twice["a/d"] = machine.Mounted{Shown: machine.Shown{Dev: "8:3", Root: "/"}}
	require.Equal(t, []string{"a/d/f"}, twice.others("b/d/f"), "inotify may mean what covers it")
	twice["far"] = machine.Mounted{Shown: machine.Shown{Dev: "8:3", Root: "/d"}}
	require.ElementsMatch(t, []string{"a/d/d/f", "far/f"}, twice.others("b/d/d/f"), "and that is shown elsewhere, too")
	delete(twice, "far")
	require.Equal(t, []string{"a/f"}, twice.others("b/f"))

	require.Equal(t, []string{"b/d/f"}, twice.others("a/d/f"), "by the path that it had before it was covered")
	twice["b"] = machine.Mounted{Shown: machine.Shown{Dev: "8:4", Root: "/"}}
	require.Equal(t, []string{"a/f"}, twice.others("b/f"), "by the path that it had before it was covered")

	require.Empty(t, table{"": {Shown: machine.Shown{Dev: "8:1", Root: "/srv"}}, "a": {Shown: machine.Shown{Dev: "8:1", Root: "/srv/a"}}}.others("a/f"), "mounted over itself")

	require.False(t, table{"": {Shown: machine.Shown{Dev: "8:1", Root: "/srv"}}, "mnt": {Shown: machine.Shown{Dev: "8:2", Root: "/srv"}}}.overlap())
	require.True(t, table{"": {Shown: machine.Shown{Dev: "8:1", Root: "/"}}, "mnt": {Shown: machine.Shown{Dev: "8:1", Root: "/x"}}}.overlap())
	require.False(t, table{"": {Shown: machine.Shown{Dev: "8:1", Root: "/srv"}}, "mnt": {Shown: machine.Shown{Dev: "8:1", Root: "/srvother"}}}.overlap(), "a name that begins the same")
}

// A directory may still be known by a mount that another one covers by now.
func TestOthersOfWhatIsCovered(t *testing.T) {
	covered := machine.Shown{Dev: "8:1", Root: "/srv/b"}
	over := table{
		"":  {Shown: machine.Shown{Dev: "8:1", Root: "/srv"}},
		"a": {Shown: machine.Shown{Dev: "8:2", Root: "/"}, Covered: []machine.Shown{covered}},
	}
	require.True(t, over.overlap())
	require.Equal(t, []string{"b/f"}, over.others("a/f"))
	over["a"] = machine.Mounted{Shown: machine.Shown{Dev: "8:1", Root: "/srv/b/d"}, Covered: []machine.Shown{covered}}
	require.ElementsMatch(t, []string{"b/d/d/f", "b/d/f", "a/f"}, over.others("a/d/f"))
	require.False(t, table{"": {Shown: covered}, "a": {Shown: machine.Shown{Dev: "8:2"}, Covered: []machine.Shown{{Dev: "8:3"}}}}.overlap())
}

// A mount showed a directory that had been removed, and another one the directory above: an audit looked at a path that ends in
// "//deleted". Its name is empty, so no reader could read .tidemark/unread, and serve said unwatched from then on.
func TestOthersOfWhatWasRemoved(t *testing.T) {
	gone := machine.Mounted{Shown: machine.Shown{Dev: "8:1", Root: "/srv/b/d//deleted"}}
	for _, root := range []string{"/srv", "/srv/b", "/srv/b/d", "/"} {
		removed := table{
			"":  {Shown: machine.Shown{Dev: "8:1", Root: root}},
			"a": gone,
			"c": {Shown: machine.Shown{Dev: "8:1", Root: "/srv/b"}},
			"e": {Shown: machine.Shown{Dev: "8:1", Root: "/srv/b/d"}},
		}
		require.NotContains(t, strings.Join(append(removed.others("a"), removed.shownToo("a")...), " "), "deleted", root)
		removed["also"] = gone
		require.Contains(t, removed.others("a"), "also", "a file that was removed may be written")
	}
	require.False(t, table{"": {Shown: machine.Shown{Dev: "8:1", Root: "/srv"}}, "a": gone}.overlap())
}

// What a path shows, or what is mounted below it shows, may be seen at other places: those of the
// same directory, and those of directories in it.
func TestShownToo(t *testing.T) {
	places := table{
		"":      {Shown: machine.Shown{Dev: "8:1", Root: "/srv"}},
		"z/dst": {Shown: machine.Shown{Dev: "8:1", Root: "/srv/a/src"}},
		"x/far": {Shown: machine.Shown{Dev: "8:1", Root: "/srv/a/src/sub"}},
		"mnt":   {Shown: machine.Shown{Dev: "8:2", Root: "/"}},
		"mnt/2": {Shown: machine.Shown{Dev: "8:2", Root: "/"}},
	}
	for path, want := range map[string][]string{
		"z/dst":     {"a/src", "x/far"},
		"z":         {"a/src", "x/far"},
		"x/far":     {"a/src/sub", "z/dst/sub"},
		"a/src":     {"x/far", "z/dst"},
		"a":         {"x/far", "z/dst"},
		"a/src/sub": {"x/far", "z/dst/sub"},
		"a/other":   nil,
		"mnt/2":     {"mnt"},
		"mnt":       nil, // it has the other one in it
		"new":       nil,
	} {
		require.Equal(t, want, places.shownToo(path), path)
	}
	for _, above := range []string{"/", "/srv"} {
		require.Empty(t, table{"": {Shown: machine.Shown{Dev: "8:1", Root: "/srv"}}, "z": {Shown: machine.Shown{Dev: "8:1", Root: above}}}.shownToo("z"), above)
	}
}
