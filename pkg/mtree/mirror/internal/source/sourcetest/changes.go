package sourcetest

import (
	"maps"
	"strings"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/wire"
)

// Each change is one that a process can make at once. It reports whether it was possible:
// a change that is not does nothing.

// up returns the directory that path is in, nil if there is none, and its name there.
func (t *Tree) up(path string) (*node, string) {
	dir := t.at(mtree.ParentPath(path))
	if path == "" || dir == nil || dir.kind != mtree.Dir {
		return nil, ""
	}
	return dir, mtree.BaseName(path)
}

// changed notes a change of names in a directory: the kernel moves its time.
func (t *Tree) changed(dir *node, names ...string) {
	dir.mtime = t.kernelTime()
	dir.ctime, dir.stamped = dir.mtime, false
	t.heard(dir, names...)
}

// heard notes that watch must publish a change of these names in a directory. What changes while
// no watch runs, the next one finds without its name.
func (t *Tree) heard(dir *node, names ...string) {
	c := t.waiting(dir)
	c.found = c.found || t.State != wire.Watched
	for _, name := range names {
		if n := dir.below[name]; n != nil && t.hasNames(n) {
			c.found = true // it may have others here
		}
		c.names[name] = true
	}
}

// arrived notes that watch must publish a directory with everything below it.
func (t *Tree) arrived(dir *node) { t.waiting(dir).arrived = true }

// waiting returns what waits to be published of a directory.
func (t *Tree) waiting(dir *node) *change {
	if t.pending[dir] == nil {
		t.pending[dir] = &change{names: map[string]bool{}}
	}
	return t.pending[dir]
}

// place gives a node a name. What had the name is gone.
func (t *Tree) place(path string, n *node) bool {
	dir, name := t.up(path)
	if dir == nil {
		return false
	}
	dir.below[name] = n
	t.changed(dir, name)
	if n.kind == mtree.Dir {
		t.arrived(n)
	}
	t.record()
	return true
}

// Write gives a file other bytes, in place, or makes it. The length differs from time to
// time.
func (t *Tree) Write(path string) bool {
	text := t.serial()
	if t.made%3 == 0 {
		text += "+"
	}
	return t.write(path, text, nil)
}

// Rewrite gives a file other bytes of the same length under the same mtime.
func (t *Tree) Rewrite(path string) bool {
	n := t.at(path)
	if n == nil || n.kind != mtree.File {
		return false
	}
	text, mtime := t.serial()+strings.Repeat("+", max(len(n.text)-8, 0)), n.mtime
	return t.write(path, text, &mtime)
}

// WriteOld gives a file other bytes and a date of long ago, always the same one, as cp -p
// does.
func (t *Tree) WriteOld(path string) bool {
	old := mtree.Unix(900_000_000, 5)
	return t.write(path, t.serial(), &old)
}

// Enlarge makes a file that large, in place.
func (t *Tree) Enlarge(path string, size int) bool {
	n := t.at(path)
	if n == nil || n.kind != mtree.File || len(n.text) > size {
		return false
	}
	return t.write(path, t.serial()+strings.Repeat("+", size-8), nil)
}

// Replace moves a new file into the place of what has the name.
func (t *Tree) Replace(path string) bool {
	if n := t.at(path); n != nil && n.kind == mtree.Dir {
		return false
	}
	return t.place(path, t.newFile(t.serial()))
}

// Hardlink gives a file another name. Both directories are published: who adds a name with link(2) changes
// the file, and the test wants to know what comes of it.
func (t *Tree) Hardlink(from, to string) bool {
	n := t.at(from)
	if n == nil || n.kind != mtree.File || n.mounted || t.at(to) != nil {
		return false
	}
	if up, _ := t.up(to); up == nil {
		return false
	}
	n.ctime, n.named = t.kernelTime(), true
	dir, name := t.up(from)
	t.heard(dir, name)
	return t.place(to, n)
}

// Hole gives a file bytes with a long run of zeros in their midst.
func (t *Tree) Hole(path string) bool {
	return t.write(path, t.serial()+strings.Repeat("\x00", 70_000)+t.serial(), nil)
}

func (t *Tree) write(path, text string, mtime *mtree.Stamp) bool {
	n := t.at(path)
	switch {
	case n == nil:
		n = t.newFile(text)
		if mtime != nil {
			n.mtime = *mtime
		}
		return t.place(path, n)
	case n.kind != mtree.File:
		return false
	}
	n.text, n.ctime = text, t.kernelTime()
	n.mtime = n.ctime
	if mtime != nil {
		n.mtime = *mtime
	}
	dir, name := t.up(path)
	t.heard(dir, name)
	t.record()
	return true
}

// WriteUnheard is Write, and no event tells of it: watch finds it in an audit.
func (t *Tree) WriteUnheard(path string) bool {
	dir, _ := t.up(path)
	if dir == nil || t.at(path) == nil {
		return false
	}
	had := t.pending[dir]
	delete(t.pending, dir)
	ok := t.Write(path)
	if t.pending[dir] = had; had == nil {
		delete(t.pending, dir)
	}
	if ok {
		t.waiting(dir).found = true
	}
	return ok
}

// WriteOn goes on with a write: the bytes change, length and times stay.
func (t *Tree) WriteOn(path string) bool {
	n := t.at(path)
	if n == nil || n.kind != mtree.File {
		return false
	}
	if since := t.now().Sub(n.ctime); since < 0 || since > 5e9 {
		return false // a kernel moves the times of a write at its start
	}
	n.text = t.serial() + strings.Repeat("+", max(len(n.text)-8, 0))
	dir, name := t.up(path)
	t.heard(dir, name)
	t.record()
	return true
}

// Mkdir makes a directory.
func (t *Tree) Mkdir(path string) bool {
	if t.at(path) != nil {
		return false
	}
	return t.place(path, t.newDir())
}

// Link makes a symlink to a name that may not exist.
func (t *Tree) Link(path string) bool {
	if t.at(path) != nil {
		return false
	}
	at := t.kernelTime()
	return t.place(path, &node{kind: mtree.Symlink, mode: 0o777, mtime: at, ctime: at, text: "to" + t.serial()})
}

// Remove removes what is at path, with everything below it.
func (t *Tree) Remove(path string) bool {
	dir, name := t.up(path)
	if dir == nil || dir.below[name] == nil {
		return false
	}
	if n := dir.below[name]; n.kind == mtree.Dir {
		for _, below := range n.names() {
			t.Remove(mtree.JoinPath(path, below)) // a reader that has it open finds that it changed
		}
	}
	delete(dir.below, name)
	t.changed(dir, name)
	t.record()
	return true
}

// Move renames from to to, over a file if there is one.
func (t *Tree) Move(from, to string) bool {
	old, oldName := t.up(from)
	dir, name := t.up(to)
	if old == nil || dir == nil || old.below[oldName] == nil || from == to || strings.HasPrefix(to+"/", from+"/") {
		return false
	}
	n, over := old.below[oldName], dir.below[name]
	if over == n {
		return false // rename(2) does nothing
	}
	if over != nil && (over.kind == mtree.Dir || n.kind == mtree.Dir) {
		return false
	}
	delete(old.below, oldName)
	n.ctime = t.kernelTime()
	t.changed(old, oldName)
	return t.place(to, n)
}

// Swap exchanges two names.
func (t *Tree) Swap(a, b string) bool {
	dirA, nameA := t.up(a)
	dirB, nameB := t.up(b)
	if dirA == nil || dirB == nil || dirA.below[nameA] == nil || dirB.below[nameB] == nil ||
		strings.HasPrefix(b+"/", a+"/") || strings.HasPrefix(a+"/", b+"/") {
		return false
	}
	dirA.below[nameA], dirB.below[nameB] = dirB.below[nameB], dirA.below[nameA]
	for _, n := range []*node{dirA.below[nameA], dirB.below[nameB]} {
		n.ctime = t.kernelTime()
		if n.kind == mtree.Dir {
			t.arrived(n)
		}
	}
	t.changed(dirA, nameA)
	t.changed(dirB, nameB)
	t.record()
	return true
}

// Chmod alternates between two modes.
func (t *Tree) Chmod(path string) bool {
	return t.touch(path, func(n *node) bool { n.mode ^= 0o020; return n.kind != mtree.Symlink })
}

// Deny takes the right to read a file or directory from serve, Allow gives it back.
func (t *Tree) Deny(path string) bool {
	return t.touch(path, func(n *node) bool { was := n.denied; n.denied = n.kind != mtree.Symlink; return !was && n.denied })
}

// Allow is the inverse of Deny.
func (t *Tree) Allow(path string) bool {
	return t.touch(path, func(n *node) bool { was := n.denied; n.denied = false; return was })
}

// Mount mounts something on a file or directory: it is not listed any more. Unmount is
// its inverse.
func (t *Tree) Mount(path string) bool {
	return t.touch(path, func(n *node) bool {
		was := n.mounted
		n.mounted = n.kind != mtree.Symlink && !t.hasNames(n) // or its other names would not be listed either
		return !was && n.mounted
	})
}

// Unmount is the inverse of Mount. Everything below comes into view: it arrives.
func (t *Tree) Unmount(path string) bool {
	return t.touch(path, func(n *node) bool { was := n.mounted; n.mounted = false; return was })
}

// touch changes an entry below the root: its ctime moves, and the directory above is
// published. A directory arrives.
func (t *Tree) touch(path string, change func(n *node) bool) bool {
	dir, name := t.up(path)
	if dir == nil || dir.below[name] == nil || !change(dir.below[name]) {
		return false
	}
	n := dir.below[name]
	n.ctime = t.kernelTime()
	t.heard(dir, name)
	if n.kind == mtree.Dir {
		t.arrived(n)
	}
	t.record()
	return true
}

// Exclude restarts serve with another set of excluded names: name is added or, if it was
// excluded, taken out.
func (t *Tree) Exclude(name string) bool {
	next := maps.Clone(t.excluded)
	if next[name] {
		delete(next, name)
	} else {
		next[name] = true
	}
	t.excluded = next
	t.record()
	return true
}

// Trust restarts serve as a user who may read everything, or again as the other one.
func (t *Tree) Trust() {
	t.trusted = !t.trusted
	t.record()
}

// ListAll ends all that keeps entries from being listed or read.
func (t *Tree) ListAll() {
	if len(t.excluded) > 0 {
		t.excluded = map[string]bool{}
	}
	var paths []string
	t.root.walk("", func(path string, _ *node) { paths = append(paths, path) })
	for _, path := range paths {
		t.Unmount(path)
		t.Allow(path)
	}
	t.record()
}
