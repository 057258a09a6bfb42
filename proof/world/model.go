package world

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"
)

// kind is what an entry is. FIFOs are in the tree and never published.
type kind byte

const (
	dir  kind = 'd'
	file kind = 'f'
	link kind = 'l'
	fifo kind = 'p'
)

// node is an entry of the model. A file with several names is one node under all of them.
type node struct {
	kind   kind
	mode   uint32
	mtime  time.Time // of files and symlinks; the times of directories are watch's
	data   []byte
	hash   digest // of the data
	target string
	kids   map[string]*node
}

type digest [sha256.Size]byte

// model is the tree as the changes left it, by what they mean and not by reading it back.
// Paths are relative, "" is the root.
type model struct{ root *node }

func newModel() *model { return &model{newDir()} }

func newDir() *node { return &node{kind: dir, mode: 0o755, kids: map[string]*node{}} }

func newFile(data []byte) *node {
	return &node{kind: file, mode: 0o644, data: data, hash: sha256.Sum256(data)}
}

func newLink(target string) *node { return &node{kind: link, mode: 0o777, target: target} }

// fill gives a file other bytes.
func (n *node) fill(data []byte) { n.data, n.hash = data, sha256.Sum256(data) }

// find is the entry of a path, nil if there is none.
func (m *model) find(p string) *node {
	n := m.root
	for name := range strings.SplitSeq(p, "/") {
		if p == "" {
			break
		}
		if n.kind != dir || n.kids[name] == nil {
			return nil
		}
		n = n.kids[name]
	}
	return n
}

// is finds an entry of that kind.
func (m *model) is(p string, k kind) (*node, error) {
	if n := m.find(p); n == nil {
		return nil, syscall.ENOENT
	} else if n.kind != k {
		return nil, syscall.EINVAL
	} else {
		return n, nil
	}
}

// split is the directory of a path, and the name in it.
func (m *model) split(p string) (*node, string, error) {
	up, err := m.is(above(p), dir)
	if err == nil && p == "" {
		err = syscall.EBUSY
	}
	return up, path.Base(p), err
}

func above(p string) string {
	if i := strings.LastIndexByte(p, '/'); i >= 0 {
		return p[:i]
	}
	return ""
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// within reports whether p is top or below it.
func within(p, top string) bool {
	return top == "" || p == top || strings.HasPrefix(p, top+"/")
}

// put gives an entry a name. Only a file or symlink may make way for it.
func (m *model) put(p string, n *node) error {
	up, name, err := m.split(p)
	if err != nil {
		return err
	}
	if was := up.kids[name]; was != nil && (was.kind == dir || n.kind == dir) {
		return syscall.EEXIST
	}
	up.kids[name] = n
	return nil
}

// remove takes an entry away, with all that is below it.
func (m *model) remove(p string) error {
	up, name, err := m.split(p)
	if err != nil {
		return err
	}
	if up.kids[name] == nil {
		return syscall.ENOENT
	}
	delete(up.kids, name)
	return nil
}

// move renames as rename(2) does.
func (m *model) move(a, b string) error {
	n, to := m.find(a), m.find(b)
	switch {
	case n == nil:
		return syscall.ENOENT
	case within(b, a) || within(a, b):
		return syscall.EINVAL
	case to != nil && to == n:
		return syscall.EEXIST // two names of one file: rename(2) does nothing
	case to != nil && to.kind == dir && (n.kind != dir || len(to.kids) > 0):
		return syscall.ENOTEMPTY
	case to != nil && to.kind != dir && n.kind == dir:
		return syscall.ENOTDIR
	}
	up, name, err := m.split(b)
	if err == nil {
		up.kids[name] = n
		err = m.remove(a)
	}
	return err
}

// exchange is RENAME_EXCHANGE.
func (m *model) exchange(a, b string) error {
	if within(a, b) || within(b, a) {
		return syscall.EINVAL
	}
	upA, nameA, errA := m.split(a)
	upB, nameB, errB := m.split(b)
	if errA != nil || errB != nil || upA.kids[nameA] == nil || upB.kids[nameB] == nil {
		return syscall.ENOENT
	}
	upA.kids[nameA], upB.kids[nameB] = upB.kids[nameB], upA.kids[nameA]
	return nil
}

// makeDirs is mkdir -p.
func (m *model) makeDirs(p string) error {
	if n := m.find(p); n != nil {
		if n.kind != dir {
			return syscall.ENOTDIR
		}
		return nil
	}
	if err := m.makeDirs(above(p)); err != nil {
		return err
	}
	return m.put(p, newDir())
}

// clone copies the model; files with several names stay such.
func (m *model) clone() *model { return &model{m.root.clone(map[*node]*node{})} }

func (n *node) clone(seen map[*node]*node) *node {
	if c := seen[n]; c != nil {
		return c
	}
	c := *n
	seen[n] = &c
	if n.kids != nil {
		c.kids = make(map[string]*node, len(n.kids))
		for name, kid := range n.kids {
			c.kids[name] = kid.clone(seen)
		}
	}
	return &c
}

// entries are all entries but the root, by path.
func (m *model) entries() map[string]*node {
	all := map[string]*node{}
	m.root.collect("", all)
	return all
}

func (n *node) collect(at string, all map[string]*node) {
	for name, kid := range n.kids {
		p := join(at, name)
		all[p] = kid
		kid.collect(p, all)
	}
}

// namesOf are all names of a file.
func (m *model) namesOf(n *node) (paths []string) {
	for p, other := range m.entries() {
		if other == n {
			paths = append(paths, p)
		}
	}
	return paths
}

// below are the paths of some kind at or below one, sorted; of any kind without one.
func (m *model) below(top string, kinds ...kind) (paths []string) {
	all := m.entries()
	for _, p := range slices.Sorted(maps.Keys(all)) {
		if within(p, top) && (len(kinds) == 0 || slices.Contains(kinds, all[p].kind)) {
			paths = append(paths, p)
		}
	}
	return paths
}

// content makes size bytes of a version. No two versions are equal from 12 bytes on.
func content(version, size int) []byte {
	line := fmt.Sprintf("v%d of %d bytes\n", version, size)
	return []byte(strings.Repeat(line, size/len(line)+1)[:size])
}

// leadsOut reports whether a symlink is absolute, or may lead out of the tree.
func leadsOut(p, target string) bool {
	parts := strings.Split(target, "/")
	ups := 0
	for ups < len(parts) && parts[ups] == ".." {
		ups++
	}
	return path.IsAbs(target) || slices.Contains(parts[ups:], "..") || ups > strings.Count(p, "/")
}
