package simkernel

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// Openat implements sys.Kernel.
func (p *Process) Openat(dirfd int, path string, flags int, mode uint32) (fd int, err error) {
	p = p.owner(dirfd)
	err = p.call(func() error {
		fd, err = p.open(dirfd, path, flags, mode, 0)
		return err
	}, "openat(%d, %q, %s)", dirfd, path, flagText(flags))
	return fd, err
}

// Openat2 implements sys.Kernel.
func (p *Process) Openat2(dirfd int, path string, how unix.OpenHow) (fd int, err error) {
	p = p.owner(dirfd)
	err = p.call(func() error {
		fd, err = p.open(dirfd, path, int(how.Flags), uint32(how.Mode), how.Resolve)
		return err
	}, "openat2(%d, %q, %s)", dirfd, path, flagText(int(how.Flags)))
	return fd, err
}

func flagText(flags int) string {
	text := [...]string{"r", "w", "rw", "?"}[flags&unix.O_ACCMODE]
	for _, f := range []struct {
		bit  int
		name string
	}{{unix.O_PATH, "|path"}, {unix.O_CREAT, "|create"}, {unix.O_EXCL, "|new"}, {unix.O_TRUNC, "|empty"}, {unix.O_APPEND, "|append"}, {unix.O_TMPFILE &^ unix.O_DIRECTORY, "|nameless"}} {
		if flags&f.bit != 0 {
			text += f.name
		}
	}
	return text
}

func (p *Process) open(dirfd int, path string, flags int, mode uint32, resolve uint64) (int, error) {
	if flags&unix.O_PATH != 0 {
		flags &= unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	}
	if flags&unix.O_TMPFILE == unix.O_TMPFILE {
		return p.openNameless(dirfd, path, flags, mode)
	}
	creates := flags&unix.O_CREAT != 0
	f, err := p.lookup(dirfd, path, flags&unix.O_NOFOLLOW == 0 && flags&unix.O_EXCL == 0, resolve)
	switch {
	case err != nil:
		return -1, err
	case f.node == nil && !creates:
		return -1, unix.ENOENT
	case f.node == nil:
		return p.create(f, flags, mode)
	case creates && flags&unix.O_EXCL != 0:
		return -1, unix.EEXIST
	}
	n := f.node
	if flags&unix.O_PATH == 0 {
		if err := p.mayOpen(n, flags); err != nil {
			return -1, err
		}
	} else if flags&unix.O_DIRECTORY != 0 && !n.isDir() {
		return -1, unix.ENOTDIR
	}
	fd, err := p.add(&handle{at: f.at, node: n, flags: flags})
	if err == nil && flags&unix.O_TRUNC != 0 && n.kind() == unix.S_IFREG {
		p.k.resize(f.at, n, 0)
	}
	return fd, err
}

func (p *Process) mayOpen(n *inode, flags int) error {
	writes := flags&unix.O_ACCMODE != unix.O_RDONLY || flags&unix.O_TRUNC != 0
	switch {
	case flags&unix.O_DIRECTORY != 0 && !n.isDir():
		return unix.ENOTDIR
	case n.kind() == unix.S_IFLNK:
		return unix.ELOOP
	case n.isDir() && (writes || flags&unix.O_CREAT != 0):
		return unix.EISDIR
	case writes && p.k.ReadOnly:
		return unix.EROFS
	case writes && n.immutable:
		return unix.EPERM
	}
	need := uint32(0)
	if flags&unix.O_ACCMODE != unix.O_WRONLY {
		need |= 0o4
	}
	if writes {
		need |= 0o2
	}
	return p.may(n, need)
}

func (p *Process) create(f found, flags int, mode uint32) (int, error) {
	if err := p.mayChange(f.dir, true); err != nil {
		return -1, err
	}
	n := p.k.make(unix.S_IFREG|mode&0o7777&^p.umask, p.uid)
	p.inherit(f.dir, n)
	d := p.k.enter(f.dir, f.name, n)
	fd, err := p.add(&handle{at: d, node: n, flags: flags})
	if err != nil {
		p.k.remove(d)
		return -1, err
	}
	p.k.tellOf(f.dir, f.name, false, unix.IN_CREATE, 0)
	return fd, nil
}

func (p *Process) inherit(dir, n *inode) {
	n.folds = n.isDir() && dir.folds
	if dir.mode&unix.S_ISGID != 0 {
		n.gid = dir.gid
		if n.isDir() {
			n.mode |= unix.S_ISGID
		}
	}
}

func (p *Process) openNameless(dirfd int, path string, flags int, mode uint32) (int, error) {
	f, err := p.lookup(dirfd, path, true, 0)
	switch {
	case err != nil:
		return -1, err
	case f.node == nil:
		return -1, unix.ENOENT
	case !f.node.isDir():
		return -1, unix.ENOTDIR
	}
	if err := p.mayChange(f.node, true); err != nil {
		return -1, err
	}
	n := p.k.make(unix.S_IFREG|mode&0o7777&^p.umask, p.uid)
	p.inherit(f.node, n)
	// Under this name, which nobody finds, the directory's watchers hear of it: also when it
	// has got another one.
	nameless := &dentry{parent: f.node, name: fmt.Sprintf("#%d", n.ino), node: n, gone: true}
	return p.add(&handle{at: nameless, node: n, flags: flags})
}

// Close implements sys.Kernel.
func (p *Process) Close(fd int) error {
	p = p.owner(fd)
	return p.call(func() error { return p.close(fd) }, "close(%d)", fd)
}

// Mkdirat implements sys.Kernel.
func (p *Process) Mkdirat(dirfd int, path string, mode uint32) error {
	p = p.owner(dirfd)
	return p.call(func() error {
		_, err := p.insert(dirfd, path, unix.S_IFDIR|mode&0o1777&^p.umask, "")
		return err
	}, "mkdirat(%d, %q, %o)", dirfd, path, mode)
}

// Symlinkat implements sys.Kernel.
func (p *Process) Symlinkat(target string, dirfd int, path string) error {
	p = p.owner(dirfd)
	return p.call(func() error {
		_, err := p.insert(dirfd, path, unix.S_IFLNK|0o777, target)
		return err
	}, "symlinkat(%q, %d, %q)", target, dirfd, path)
}

// insert makes a directory or symlink.
func (p *Process) insert(dirfd int, path string, mode uint32, target string) (*inode, error) {
	f, err := p.lookup(dirfd, path, false, 0)
	switch {
	case err != nil:
		return nil, err
	case f.node != nil:
		return nil, unix.EEXIST
	}
	if err := p.mayChange(f.dir, true); err != nil {
		return nil, err
	}
	n := p.k.make(mode, p.uid)
	n.data = []byte(target)
	p.inherit(f.dir, n)
	p.k.enter(f.dir, f.name, n)
	if n.isDir() {
		n.nlink++
		f.dir.nlink++
	}
	p.k.tellOf(f.dir, f.name, false, unix.IN_CREATE|n.kindBit(), 0)
	return n, nil
}

// Unlinkat implements sys.Kernel.
func (p *Process) Unlinkat(dirfd int, path string, flags int) error {
	p = p.owner(dirfd)
	return p.call(func() error {
		f, err := p.lookup(dirfd, path, false, 0)
		switch {
		case err != nil:
			return err
		case f.node == nil:
			return unix.ENOENT
		case f.dir == nil:
			return unix.EINVAL
		}
		if err := p.mayRemove(f.dir, f.node, flags&unix.AT_REMOVEDIR != 0); err != nil {
			return err
		}
		if len(f.node.names) > 0 {
			return unix.ENOTEMPTY
		}
		p.k.unlink(f.at)
		return nil
	}, "unlinkat(%d, %q, %#x)", dirfd, path, flags)
}

// unlink removes a name and tells of it.
func (k *Kernel) unlink(d *dentry) {
	n := d.node
	k.remove(d)
	if n.isDir() {
		n.nlink--
		d.parent.nlink--
	}
	k.tellOf(d.parent, d.name, false, unix.IN_DELETE|n.kindBit(), 0)
	if !n.isDir() {
		k.tellSelf(n, unix.IN_ATTRIB)
	}
	k.release(n)
}

// Linkat implements sys.Kernel.
func (p *Process) Linkat(olddirfd int, oldpath string, newdirfd int, newpath string, flags int) error {
	p = p.owner(olddirfd)
	return p.call(func() error {
		from, err := p.itself(olddirfd, oldpath, flags, flags&unix.AT_SYMLINK_FOLLOW != 0)
		if err != nil {
			return err
		}
		to, err := p.lookup(newdirfd, newpath, false, 0)
		n := from.node
		switch {
		case err != nil:
			return err
		case to.node != nil:
			return unix.EEXIST
		case n.isDir(), n.immutable:
			return unix.EPERM
		case n.nlink == 0 && (from.self == nil || from.self.flags&unix.O_TMPFILE != unix.O_TMPFILE || from.self.flags&unix.O_EXCL != 0):
			return unix.ENOENT
		}
		if err := p.mayChange(to.dir, true); err != nil {
			return err
		}
		p.k.enter(to.dir, to.name, n)
		p.k.changed(n, false)
		p.k.tellSelf(n, unix.IN_ATTRIB)
		p.k.tellOf(to.dir, to.name, false, unix.IN_CREATE, 0)
		return nil
	}, "linkat(%d, %q, %d, %q)", olddirfd, oldpath, newdirfd, newpath)
}

// Readlinkat implements sys.Kernel.
func (p *Process) Readlinkat(dirfd int, path string) (target string, err error) {
	p = p.owner(dirfd)
	err = p.call(func() error {
		f, err := p.itself(dirfd, path, unix.AT_EMPTY_PATH, false)
		switch {
		case err != nil:
			return err
		case f.node.kind() != unix.S_IFLNK && path == "":
			return unix.ENOENT
		case f.node.kind() != unix.S_IFLNK:
			return unix.EINVAL
		}
		target = string(f.node.data)
		return nil
	}, "readlinkat(%d, %q)", dirfd, path)
	return target, err
}

// Getdents implements sys.Kernel. The names come in order; what is made or removed between
// two calls is seen if it comes after the last one.
func (p *Process) Getdents(fd int, room int) (records []byte, err error) {
	p = p.owner(fd)
	err = p.call(func() error {
		h, err := p.usable(fd)
		switch {
		case err != nil:
			return err
		case !h.node.isDir():
			return unix.ENOTDIR
		case h.node.wasRemoved:
			return unix.ENOENT
		}
		records = nil
		for i, name := range h.node.sorted(h.last) {
			length := (19 + len(name) + 1 + 7) / 8 * 8
			if len(records)+length > room || p.k.Batch > 0 && i == p.k.Batch {
				break
			}
			n := h.node.names[name].node
			records = binary.NativeEndian.AppendUint64(records, n.ino)
			records = binary.NativeEndian.AppendUint64(records, 0)
			records = binary.NativeEndian.AppendUint16(records, uint16(length))
			records = append(append(records, byte(n.kind()>>12)), name...)
			records = append(records, make([]byte, length-19-len(name))...)
			h.last = name
		}
		return nil
	}, "getdents64(%d)", fd)
	return records, err
}
