package simkernel

import (
	"golang.org/x/sys/unix"
)

// Renameat2 implements sys.Kernel.
func (p *Process) Renameat2(olddirfd int, oldpath string, newdirfd int, newpath string, flags uint) error {
	p = p.owner(olddirfd)
	return p.call(func() error {
		from, err := p.lookup(olddirfd, oldpath, false, 0)
		if err != nil {
			return err
		}
		to, err := p.lookup(newdirfd, newpath, false, 0)
		if err != nil {
			return err
		}
		return p.rename(from, to, flags)
	}, "renameat2(%d, %q, %d, %q, %d)", olddirfd, oldpath, newdirfd, newpath, flags)
}

func (p *Process) rename(from, to found, flags uint) error {
	switch {
	case from.node == nil, flags&unix.RENAME_EXCHANGE != 0 && to.node == nil:
		return unix.ENOENT
	case from.dir == nil || to.dir == nil:
		return unix.EBUSY
	case flags&unix.RENAME_NOREPLACE != 0 && to.node != nil:
		return unix.EEXIST
	}
	if err := p.mayChange(from.dir, false); err != nil {
		return err
	}
	if err := p.mayChange(to.dir, to.node == nil); err != nil {
		return err
	}
	exchange := flags&unix.RENAME_EXCHANGE != 0
	switch {
	case from.node.immutable, to.node != nil && to.node.immutable:
		return unix.EPERM
	case from.node.isDir() && isWithin(to.dir, from.node), exchange && to.node.isDir() && isWithin(from.dir, to.node):
		return unix.EINVAL
	case from.node == to.node:
		return nil
	case exchange:
		p.k.exchange(from.at, to.at)
		return nil
	case to.node == nil:
	case to.node.isDir() && !from.node.isDir():
		return unix.EISDIR
	case !to.node.isDir() && from.node.isDir():
		return unix.ENOTDIR
	case to.node.isDir() && len(to.node.names) > 0:
		return unix.ENOTEMPTY
	}
	p.k.move(from.at, to)
	return nil
}

// isWithin reports whether dir is top or below it.
func isWithin(dir, top *inode) bool {
	for ; dir != top; dir = dir.home.parent {
		if dir.home == nil {
			return false
		}
	}
	return true
}

// move renames d.
func (k *Kernel) move(d *dentry, to found) {
	oldDir, oldName, n := d.parent, d.name, d.node
	if to.at != nil {
		delete(to.dir.names, to.name)
		to.at.gone = true
		k.unlinked(to.node)
		if to.node.isDir() {
			to.node.nlink--
			to.dir.nlink--
		}
	}
	k.detach(d)
	d.parent, d.name = to.dir, to.name
	k.attach(d)
	if n.isDir() && oldDir != to.dir {
		oldDir.nlink--
		to.dir.nlink++
	}
	k.changed(n, false)
	k.tellMoved(oldDir, oldName, to.dir, to.name, n)
	if to.at != nil {
		k.tellSelf(to.node, unix.IN_ATTRIB)
		k.release(to.node)
	}
}

func (k *Kernel) detach(d *dentry) {
	delete(d.parent.names, d.name)
	k.changed(d.parent, true)
}

// exchange swaps two names.
func (k *Kernel) exchange(a, b *dentry) {
	k.detach(a)
	k.detach(b)
	aDir, aName, bDir, bName := a.parent, a.name, b.parent, b.name
	a.parent, a.name, b.parent, b.name = bDir, bName, aDir, aName
	k.attach(a)
	k.attach(b)
	if aDir != bDir {
		for _, m := range []struct {
			n        *inode
			from, to *inode
		}{{a.node, aDir, bDir}, {b.node, bDir, aDir}} {
			if m.n.isDir() {
				m.from.nlink--
				m.to.nlink++
			}
		}
	}
	k.changed(a.node, false)
	k.changed(b.node, false)
	k.tellMoved(aDir, aName, bDir, bName, a.node)
	k.tellMoved(bDir, bName, aDir, aName, b.node)
}
