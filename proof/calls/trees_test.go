package calls_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/testtree"
)

// plant makes the tree of the scenarios.
func plant(t *testing.T, root string) {
	t.Helper()
	lines := []string{
		"a/f1 = first @1700000000.5", "a/f2 = second @1700000001", "a/mode = m mode=0600", "a/b/f = f", "a/b/c/deep = deep",
		"a/to-dir = x", "a/to-file/in = x", "a/to-file/in2 = x", "a/to-link = x", "a/from-link -> f1", "l -> a/f1", "l2 -> a/f2",
		"moved/f1 = m1", "moved/f2 = m2", "gone/f1 = g1", "gone/d/f2 = g2", "gone-file = g", "empty/", "renamed = some text that stays",
	}
	for i := range 12 {
		lines = append(lines, fmt.Sprintf("many/%d = number %d", i, i))
	}
	testtree.Make(t, root, lines...)
	require.NoError(t, os.WriteFile(filepath.Join(root, "big"), []byte(strings.Repeat("0123456789abcdef", 20_000)), 0o644))
}

// change changes it in all the ways that a mirror must follow.
func change(t *testing.T, root string) {
	t.Helper()
	at := func(name string) string { return filepath.Join(root, name) }
	for _, name := range []string{"a/to-dir", "a/to-file", "a/to-link", "a/from-link", "l2", "gone", "gone-file", "many/3", "many/4"} {
		require.NoError(t, os.RemoveAll(at(name)))
	}
	require.NoError(t, os.Rename(at("moved"), at("a/moved")))
	require.NoError(t, os.Rename(at("renamed"), at("a/renamed")))
	require.NoError(t, os.Chmod(at("a/mode"), 0o640))
	require.NoError(t, os.Chmod(at("empty"), 0o700))
	testtree.Make(t, root, "a/f2 = longer than before", "a/b/c/deep = DEEP", "a/to-dir/in = y", "a/to-dir/d/in = y", "a/to-file = y", "a/to-link -> f2",
		"a/from-link = y", "l2 -> a/f1", "new = new", "fresh/f1 = n1", "fresh/f2 = n2 mode=0600", "fresh/d/e/f = n3", "fresh/l -> f1", "many/1 = NUMBER 1")
	require.NoError(t, os.WriteFile(at("big"), []byte(strings.Repeat("0123456789ABCDEF", 22_000)), 0o644))
}

// plantLinks makes files with several names.
func plantLinks(t *testing.T, root string) {
	t.Helper()
	testtree.Make(t, root, "links/one/w = written @1700000000", "links/one/b = broken @1700000001", "links/one/m = moved", "links/one/mode = mode", "links/two/", "links/three/own = own")
	for _, name := range []string{"w", "b", "m", "mode"} {
		link(t, root, "links/one/"+name, "links/two/"+name)
		link(t, root, "links/one/"+name, "links/three/"+name)
	}
}

func link(t *testing.T, root, from, to string) {
	t.Helper()
	require.NoError(t, os.Link(filepath.Join(root, from), filepath.Join(root, to)))
}

// changeLinks writes by one name, which is heard there only, takes a name apart, moves one and makes another.
func changeLinks(t *testing.T, root string) {
	t.Helper()
	at := func(name string) string { return filepath.Join(root, "links", name) }
	testtree.Make(t, root, "links/one/w = written by one of its names")
	require.NoError(t, os.Chmod(at("two/mode"), 0o600))
	require.NoError(t, os.Remove(at("two/b")))
	testtree.Make(t, root, "links/two/b = by itself")
	require.NoError(t, os.Rename(at("three/m"), at("one/moved")))
	link(t, root, "links/three/own", "links/two/owned")
	for _, dir := range []string{"links/three", "links/two", "links/one", "links", "."} {
		if dir != "links/three" { // the moment in which watch has not heard it all
			require.NoError(t, os.Chtimes(filepath.Join(root, dir), time.Time{}, time.Now()))
		}
	}
}

// plantLarge makes large files, and changeLarge changes them in places.
func plantLarge(t *testing.T, root string) {
	t.Helper()
	text := make([]byte, 5<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(text)
	clear(text[1<<20 : 2<<20])
	testtree.Make(t, root, "large/")
	for _, name := range []string{"large/grows", "large/changes"} {
		require.NoError(t, os.WriteFile(filepath.Join(root, name), text, 0o644))
	}
}

func changeLarge(t *testing.T, root string) {
	t.Helper()
	for name, change := range map[string]func(text []byte) []byte{
		"large/grows":   func(text []byte) []byte { return append(text, "and so on"...) },
		"large/changes": func(text []byte) []byte { copy(text[3<<20:], "otherwise"); clear(text[4<<20:][:100_000]); return text },
	} {
		text, err := os.ReadFile(filepath.Join(root, name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(root, name), change(text), 0o644))
	}
	must(t, 0, "watch", "--once", root)
}

// filesIn are the inode numbers of the files below root, by name.
func filesIn(t *testing.T, root string) map[string]uint64 {
	t.Helper()
	files := map[string]uint64{}
	if _, err := os.Lstat(root); err != nil {
		return files
	}
	require.NoError(t, testtree.Each(root, func(name, path string) error {
		info, err := os.Lstat(path)
		if err == nil && info.Mode().IsRegular() {
			files[name] = info.Sys().(*syscall.Stat_t).Ino
		}
		return err
	}))
	return files
}

// linksOf are the names of each file that has several, as one text each.
func linksOf(files map[string]uint64) (all []string) {
	names := map[uint64][]string{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		names[files[name]] = append(names[files[name]], name)
	}
	for _, some := range names {
		if len(some) > 1 {
			all = append(all, strings.Join(some, "="))
		}
	}
	slices.Sort(all)
	return all
}

// checkLinks fails if names of the copy are one file that are not in any of these trees.
func checkLinks(t *testing.T, copy, log string, trees ...map[string]uint64) {
	t.Helper()
	for _, group := range linksOf(filesIn(t, copy)) {
		names := strings.Split(group, "=")
		for _, name := range names[1:] {
			require.True(t, slices.ContainsFunc(trees, func(files map[string]uint64) bool {
				return files[name] != 0 && files[name] == files[names[0]]
			}), "linked wrongly: %s and %s\n%s", names[0], name, log)
		}
	}
}

// snapshot is what testtree.Snapshot shows.
type snapshot map[string]string

func look(t *testing.T, root string) snapshot {
	t.Helper()
	tree, err := testtree.Snapshot(root)
	require.NoError(t, err)
	return tree
}

// same fails unless the trees are equal.
func same(t *testing.T, a, b, log string) {
	t.Helper()
	differences, err := testtree.Differences(a, b)
	require.NoError(t, err)
	require.Empty(t, differences, "%s and %s differ\n%s", a, b, log)
}

// contents is the part of a description that tells what is in a file or symlink.
func contents(text string) string {
	words := strings.Fields(text)
	return strings.Join(append([]string{text[:1]}, words[2:]...), " ")
}

// stampIn is the part of a description of a directory that is its time.
func stampIn(text string) string { return strings.Fields(text)[1] }

func isDir(text string) bool { return strings.HasPrefix(text, "d") }

// checkCopy fails if the copy, which was old and is being made equal to source, shows what
// neither of them had, lacks what both have, or is stamped above what is not there, unless
// it was so before.
func checkCopy(t *testing.T, source, old, copy snapshot, broken bool, log string) {
	t.Helper()
	for path, text := range copy {
		if isDir(text) {
			continue
		}
		was, had := old[path]
		is, has := source[path]
		known := had && contents(was) == contents(text) || has && contents(is) == contents(text)
		require.True(t, known, "torn: %q is %s; was %s, should be %s\n%s", path, text, was, is, log)
	}
	for path, was := range old {
		if is, has := source[path]; has && is[0] == was[0] {
			require.Contains(t, copy, path, "deleted wrongly\n%s", log)
		}
	}
	for path, text := range copy {
		if is, has := source[path]; !broken && has && isDir(is) && isDir(text) && stampIn(is) == stampIn(text) {
			checkStamped(t, source, copy, path, log)
		}
	}
}

// checkStamped fails unless the directory at path, which carries the stamp of the source,
// has the same entries.
func checkStamped(t *testing.T, source, copy snapshot, path, log string) {
	t.Helper()
	in := func(tree snapshot) map[string]string {
		entries := map[string]string{}
		for name, text := range tree {
			if name != "." && filepath.Dir(name) == path {
				entries[name] = text
			}
		}
		return entries
	}
	require.Equal(t, in(source), in(copy), "false stamp of %q\n%s", path, log)
}
