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

// rename checks what Linux checks, in its order.
func (p *Process) rename(from, to found, flags uint) error {
	exchange := flags&unix.RENAME_EXCHANGE != 0
	switch {
	case from.dir == nil || to.dir == nil:
		return unix.EBUSY
	case p.k.ReadOnly:
		return unix.EROFS
	case from.node == nil, exchange && to.node == nil:
		return unix.ENOENT
	case flags&unix.RENAME_NOREPLACE != 0 && to.node != nil:
		return unix.EEXIST
	case from.node.isDir() && isWithin(to.dir, from.node), exchange && to.node.isDir() && isWithin(from.dir, to.node):
		return unix.EINVAL
	case to.node != nil && to.node.isDir() && isWithin(from.dir, to.node):
		return unix.ENOTEMPTY
	case from.node == to.node:
		return nil
	}
	if err := p.mayMove(from, to, exchange); err != nil {
		return err
	}
	if exchange {
		p.k.exchange(from.at, to.at)
		return nil
	}
	if to.node != nil && len(to.node.names) > 0 {
		return unix.ENOTEMPTY
	}
	p.k.move(from.at, to)
	return nil
}

// mayMove returns why something cannot be renamed. A directory that gets another parent is
// written to itself: its "..".
func (p *Process) mayMove(from, to found, exchange bool) error {
	isDir := from.node.isDir()
	if err := p.mayRemove(from.dir, from.node, isDir); err != nil {
		return err
	}
	var err error
	switch {
	case to.node == nil:
		err = p.mayChange(to.dir, true)
	case exchange:
		err = p.mayRemove(to.dir, to.node, to.node.isDir())
	default:
		err = p.mayRemove(to.dir, to.node, isDir)
	}
	if err == nil && isDir && from.dir != to.dir {
		err = p.may(from.node, 0o2)
	}
	if err == nil && exchange && to.node.isDir() && from.dir != to.dir {
		err = p.may(to.node, 0o2)
	}
	return err
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
	if !k.XFS || aDir != bDir && (a.node.isDir() || b.node.isDir()) { // as xfs_cross_rename does
		k.changed(a.node, false)
		k.changed(b.node, false)
	}
	k.tellMoved(aDir, aName, bDir, bName, a.node)
	k.tellMoved(bDir, bName, aDir, aName, b.node)
}
