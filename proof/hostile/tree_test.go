package hostile

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"tidemark/pkg/mtree"
)

// The versions of the tree: what is copied first, what the source has while it is attacked,
// and what an honest server has afterwards.
const (
	first = iota + 1
	second
	third
)

// treeID is the tree that the honest server publishes.
const treeID = "00112233445566778899aabbccddeeff"

// stampOf is the stamp of every changed directory of a version of the tree.
func stampOf(version int) mtree.Stamp {
	return mtree.Unix(1_700_000_000+int64(version)*1000, 123456789)
}

// tree is what a server has: entries by their paths. Directories have listings.
type tree map[string]*entry

// entry is one of them.
type entry struct {
	mtree.Entry
	data string // of a file
}

// honest is a version of the tree. From one to the next a file changes in each of the
// directories "", a, a/sub and b, and one comes; after the first one a/gone goes. "still" stays as it is.
func honest(version int) tree {
	t := tree{}
	now, old := stampOf(version), stampOf(0)
	for _, dir := range []string{"", "a", "a/sub", "b", "b/deep"} {
		t.dir(dir, now)
		t.file(mtree.JoinPath(dir, "changes"), fmt.Sprintf("version %d of %q", version, dir), now)
		t.file(mtree.JoinPath(dir, "stays"), "it stays", old)
		t.file(mtree.JoinPath(dir, fmt.Sprintf("new%d", version)), fmt.Sprintf("new in %d", version), now)
		for i := range version {
			t.file(mtree.JoinPath(dir, fmt.Sprintf("new%d", i)), fmt.Sprintf("new in %d", i), stampOf(i))
		}
	}
	t.dir("still", old)
	for i := range 10 {
		t.file(fmt.Sprintf("still/f%d", i), fmt.Sprint(i), old)
	}
	t.file("large", strings.Repeat("large", 300_000), old)
	t.link("a/link", "sub/stays", old)
	if version == first {
		t.file("a/gone", "it goes", old)
	}
	return t
}

func (t tree) dir(path string, stamp mtree.Stamp) {
	t[path] = &entry{Entry: mtree.Entry{Name: mtree.BaseName(path), Kind: mtree.Dir, Has: mtree.HasMode | mtree.HasCTime, Mode: 0o755, MTime: stamp, CTime: stamp}}
}

func (t tree) file(path, data string, at mtree.Stamp) {
	t[path] = &entry{data: data, Entry: mtree.Entry{
		Name: mtree.BaseName(path), Kind: mtree.File, Has: mtree.HasMode | mtree.HasCTime, Mode: 0o644, MTime: at, CTime: at, Size: int64(len(data)),
	}}
}

func (t tree) link(path, to string, at mtree.Stamp) {
	t[path] = &entry{Entry: mtree.Entry{Name: mtree.BaseName(path), Kind: mtree.Symlink, Has: mtree.HasMode, Mode: 0o777, MTime: at, Link: to}}
}

// paths are all paths but the root's, sorted.
func (t tree) paths() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(t)), func(path string) bool { return path == "" })
}

// listing is the listing of a directory.
func (t tree) listing(dir string) mtree.Listing {
	l := mtree.Listing{Stamp: t[dir].MTime, ID: fmt.Sprintf("%016x", len(dir)+1), Now: t["changes"].CTime.Add(time.Second), HasNow: true}
	for _, path := range t.paths() {
		if mtree.ParentPath(path) == dir {
			l.Entries = append(l.Entries, t[path].Entry)
		}
	}
	slices.SortFunc(l.Entries, func(a, b mtree.Entry) int { return strings.Compare(a.Name, b.Name) })
	return l
}

// clone copies the tree.
func (t tree) clone() tree {
	other := make(tree, len(t))
	for path, e := range t {
		copied := *e
		other[path] = &copied
	}
	return other
}
