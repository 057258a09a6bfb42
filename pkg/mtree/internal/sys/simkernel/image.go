package simkernel

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// What is on the disk is an image of all inodes: names and attributes as they were when the
// journal was committed last, and of each file the data that were flushed. Like ext4 the
// kernel commits all that happened, in its order, at each fsync, and at other moments of
// its own: Commit. Data that were not flushed may be on the disk or not.

// flush writes the data of a file back.
func (n *inode) flush() {
	if n.dirty {
		n.durable, n.dirty = bytes.Clone(n.data), false
	}
}

func (k *Kernel) flushAll() {
	for _, n := range k.inodes() {
		n.flush()
	}
}

// inodes returns all that have a name, in the order of their numbers.
func (k *Kernel) inodes() []*inode {
	seen := map[*inode]bool{}
	var walk func(n *inode)
	walk = func(n *inode) {
		if !seen[n] {
			seen[n] = true
			for _, d := range n.names {
				walk(d.node)
			}
		}
	}
	walk(k.root)
	return slices.SortedFunc(maps.Keys(seen), func(a, b *inode) int { return int(a.ino) - int(b.ino) })
}

// Commit commits the journal, as the kernel does every few seconds.
func (k *Kernel) Commit() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.note("the journal is committed")
	k.commit()
}

func (k *Kernel) commit() { k.disk = copyTree(k.root) }

// copyTree copies a directory with all below it. Hard links stay links.
func copyTree(root *inode) *inode {
	made := map[*inode]*inode{}
	var dup func(n *inode) *inode
	dup = func(n *inode) *inode {
		if m := made[n]; m != nil {
			return m
		}
		m := &inode{
			ino: n.ino, mode: n.mode, nlink: n.nlink, uid: n.uid, gid: n.gid,
			atime: n.atime, mtime: n.mtime, ctime: n.ctime, btime: n.btime,
			data: bytes.Clone(n.data), durable: n.durable, dirty: n.dirty, xattrs: maps.Clone(n.xattrs), immutable: n.immutable, folds: n.folds,
		}
		made[n] = m
		if n.isDir() {
			m.names = make(map[string]*dentry, len(n.names))
			for name, d := range n.names {
				e := &dentry{parent: m, name: name, node: dup(d.node)}
				m.names[name] = e
				if e.node.isDir() {
					e.node.home = e
				}
			}
		}
		return m
	}
	return dup(root)
}

// Crash ends the machine as a power cut does, and boots it again after a while. All
// processes are killed. Files whose data were not flushed have lost them, or have zeros
// instead, or not, as rng says.
func (k *Kernel) Crash(rng *rand.Rand) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.note("the power is cut")
	for _, pid := range slices.Sorted(maps.Keys(k.procs)) {
		if p := k.procs[pid]; !p.killed {
			p.end()
		}
	}
	k.root = copyTree(k.disk)
	k.boot++
	k.began = time.Now()
	for _, n := range k.inodes() {
		if n.kind() != unix.S_IFREG || !n.dirty {
			n.durable = bytes.Clone(n.data)
			continue
		}
		switch rng.IntN(3) {
		case 0:
			n.data = bytes.Clone(n.durable)
		case 1:
			n.data = make([]byte, len(n.data))
		}
		n.durable, n.dirty = bytes.Clone(n.data), false
	}
}
