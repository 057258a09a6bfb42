package notify

import (
	"cmp"
	"slices"
)

// node is a directory with a watch. Its place is its parent and its name, so renaming a
// directory of any size changes one node. It takes about 170 bytes with both map entries;
// no path is kept.
type node struct {
	parent *node
	first  *node // children
	next   *node // siblings
	prev   *node
	name   string
	mount  uint64 // the mount whose root it is at that place; 0: what lies there, perhaps covered by mounts
	wd     int32
	scan   uint8 // the scan that armed it last
	dead   bool  // no longer in the tree
}

// nodeKey finds a node. Where parent is shown at several places, what lies there under the name is
// seen at one, and what is mounted over it at another. Events of parent mean what lies there, mount 0.
type nodeKey struct {
	parent *node
	name   string
	mount  uint64
}

func (n *node) key() nodeKey { return nodeKey{n.parent, n.name, n.mount} }

// nodes is the tree of watched directories.
type nodes struct {
	root  *node
	scan  uint8 // counts how often the root was armed, modulo 256
	byWD  map[int32]*node
	child map[nodeKey]*node
}

func newNodes() nodes {
	return nodes{byWD: map[int32]*node{}, child: map[nodeKey]*node{}}
}

// attach puts n, which is nowhere, at a place.
func (t *nodes) attach(n *node, at nodeKey) {
	parent := at.parent
	n.parent, n.name, n.mount = parent, at.name, at.mount
	if parent == nil {
		t.root = n
		return
	}
	n.prev, n.next = nil, parent.first
	if n.next != nil {
		n.next.prev = n
	}
	parent.first = n
	t.child[at] = n
}

// detach takes n from its place, with all below it.
func (t *nodes) detach(n *node) {
	parent := n.parent
	if parent == nil {
		return
	}
	if at := n.key(); t.child[at] == n {
		delete(t.child, at)
	}
	if n.prev != nil {
		n.prev.next = n.next
	} else {
		parent.first = n.next
	}
	if n.next != nil {
		n.next.prev = n.prev
	}
	n.parent, n.prev, n.next = nil, nil, nil
}

// drop removes n and all below it for good; forget is called with each watch
// that was still known.
func (t *nodes) drop(n *node, forget func(wd int32)) {
	t.detach(n)
	stack := []*node{n}
	for len(stack) > 0 {
		n := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		for c := n.first; c != nil; c = c.next {
			delete(t.child, c.key())
			stack = append(stack, c)
		}
		n.dead, n.first, n.parent = true, nil, nil
		if t.byWD[n.wd] == n {
			delete(t.byWD, n.wd)
			forget(n.wd)
		}
	}
}

// mounted returns what is the root of a mount at its place.
func (t *nodes) mounted() (all []*node) {
	for _, n := range t.byWD {
		if n.mount != 0 && n.parent != nil {
			all = append(all, n)
		}
	}
	return all
}

// unseen drops the directories that the current scan has not armed, inner ones first. A
// directory stays if something in it was armed.
func (t *nodes) unseen(forget func(wd int32)) {
	var left []*node
	for _, n := range t.byWD {
		if n.scan != t.scan {
			left = append(left, n)
		}
	}
	slices.SortFunc(left, func(a, b *node) int { return cmp.Compare(a.wd, b.wd) })
	for _, n := range left {
		for n != nil && n != t.root && !n.dead && n.scan != t.scan && n.first == nil {
			parent := n.parent
			t.drop(n, forget)
			n = parent
		}
	}
}

// path returns the path of n, false if n is nowhere in the tree.
func (t *nodes) path(n *node) (string, bool) {
	size := 0
	top := n
	for ; top.parent != nil; top = top.parent {
		size += len(top.name) + 1
	}
	if top != t.root || n.dead {
		return "", false
	}
	if n == top {
		return "", true
	}
	path := make([]byte, size-1)
	at := len(path)
	for ; n.parent != nil; n = n.parent {
		at -= len(n.name)
		copy(path[at:], n.name)
		if at > 0 {
			at--
			path[at] = '/'
		}
	}
	return string(path), true
}

// throughMount reports whether one of the directories from inner up to n, without n, is at its place by a mount.
// inner has other places, then, by which it need not be within n.
func throughMount(inner, n *node) bool {
	for ; inner != nil && inner != n; inner = inner.parent {
		if inner.mount != 0 {
			return true
		}
	}
	return false
}

// within reports whether n is inner or above it.
func within(inner, n *node) bool {
	for ; inner != nil; inner = inner.parent {
		if inner == n {
			return true
		}
	}
	return false
}
