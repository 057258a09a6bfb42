package simkernel

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Statx implements sys.Kernel.
func (p *Process) Statx(dirfd int, path string, flags, mask int) (stx unix.Statx_t, err error) {
	p = p.owner(dirfd)
	err = p.call(func() error {
		f, err := p.itself(dirfd, path, flags, flags&unix.AT_SYMLINK_NOFOLLOW == 0)
		if err != nil {
			return err
		}
		stx = p.k.describe(f.node)
		return nil
	}, "statx(%d, %q)", dirfd, path)
	return stx, err
}

// describe returns what statx shows.
func (k *Kernel) describe(n *inode) unix.Statx_t {
	n.queried = true
	stx := unix.Statx_t{
		Mask: unix.STATX_BASIC_STATS | unix.STATX_BTIME | unix.STATX_MNT_ID,
		Mode: uint16(n.mode), Ino: n.ino, Nlink: uint32(n.nlink), Uid: n.uid, Gid: n.gid, Size: uint64(len(n.data)),
		Blksize: 4096, Dev_major: 8, Dev_minor: 1, Mnt_id: 1,
		Atime: statxTime(n.atime), Mtime: statxTime(n.mtime), Ctime: statxTime(n.ctime), Btime: statxTime(n.btime),
	}
	if n == k.root {
		stx.Attributes = unix.STATX_ATTR_MOUNT_ROOT
	}
	return stx
}

func statxTime(t unix.Timespec) unix.StatxTimestamp {
	return unix.StatxTimestamp{Sec: t.Sec, Nsec: uint32(t.Nsec)}
}

// Fstatfs implements sys.Kernel.
func (p *Process) Fstatfs(fd int) (st unix.Statfs_t, err error) {
	p = p.owner(fd)
	err = p.call(func() error {
		if _, err := p.handle(fd); err != nil {
			return err
		}
		st = unix.Statfs_t{Type: unix.EXT4_SUPER_MAGIC, Bsize: 4096, Blocks: 1 << 30, Bavail: 1 << 30, Namelen: 255}
		st.Fsid.Val = [2]int32{0x5150, 0x4d}
		if p.k.Full {
			st.Bavail = 0
		}
		return nil
	}, "fstatfs(%d)", fd)
	return st, err
}

// alter finds what an attribute is to be set of, and sets it.
func (p *Process) alter(dirfd int, path string, flags int, mask uint32, may func(n *inode) error, set func(n *inode, now unix.Timespec) error) error {
	f, err := p.itself(dirfd, path, flags, flags&unix.AT_SYMLINK_NOFOLLOW == 0)
	if err != nil {
		return err
	}
	if f.self != nil && f.self.flags&unix.O_PATH != 0 && path == "" {
		return unix.EBADF
	}
	if err := may(f.node); err != nil {
		return err
	}
	now := p.k.stamp(f.node)
	if err := set(f.node, now); err != nil {
		return err
	}
	f.node.ctime, f.node.queried = now, false
	p.k.tell(f.at, f.node, mask)
	return nil
}

// Fchmodat implements sys.Kernel.
func (p *Process) Fchmodat(dirfd int, path string, mode uint32, flags int) error {
	p = p.owner(dirfd)
	return p.call(func() error {
		return p.alter(dirfd, path, flags, unix.IN_ATTRIB, p.mayAlter, func(n *inode, _ unix.Timespec) error {
			if n.kind() == unix.S_IFLNK {
				return unix.EOPNOTSUPP
			}
			n.mode = n.mode&unix.S_IFMT | mode&0o7777
			return nil
		})
	}, "fchmodat(%d, %q, %o)", dirfd, path, mode)
}

// Fchownat implements sys.Kernel.
func (p *Process) Fchownat(dirfd int, path string, uid, gid, flags int) error {
	p = p.owner(dirfd)
	return p.call(func() error {
		return p.alter(dirfd, path, flags, unix.IN_ATTRIB, p.mayAlter, func(n *inode, _ unix.Timespec) error {
			if p.uid != 0 && uid >= 0 && uint32(uid) != n.uid {
				return unix.EPERM
			}
			if uid >= 0 {
				n.uid = uint32(uid)
			}
			if gid >= 0 {
				n.gid = uint32(gid)
			}
			return nil
		})
	}, "fchownat(%d, %q, %d, %d)", dirfd, path, uid, gid)
}

// Utimensat implements sys.Kernel.
func (p *Process) Utimensat(dirfd int, path string, times [2]unix.Timespec, flags int) error {
	p = p.owner(dirfd)
	return p.call(func() error {
		mask, may := uint32(unix.IN_ATTRIB), p.mayAlter
		switch a, m := times[0].Nsec, times[1].Nsec; {
		case a == unix.UTIME_OMIT && m == unix.UTIME_OMIT:
			return nil // not even the path is looked at
		case a == unix.UTIME_OMIT:
			mask = unix.IN_MODIFY
		case m == unix.UTIME_OMIT:
			mask = unix.IN_ACCESS
		case a == unix.UTIME_NOW && m == unix.UTIME_NOW:
			may = p.mayTouch
		}
		return p.alter(dirfd, path, flags, mask, may, func(n *inode, now unix.Timespec) error {
			for i, at := range []*unix.Timespec{&n.atime, &n.mtime} {
				switch times[i].Nsec {
				case unix.UTIME_OMIT:
				case unix.UTIME_NOW:
					*at = now
				default:
					*at = p.k.stored(times[i])
				}
			}
			return nil
		})
	}, "utimensat(%d, %q, %d.%09d)", dirfd, path, times[1].Sec, times[1].Nsec)
}

// attribute finds what an extended attribute belongs to.
func (p *Process) attribute(fd int, name string) (*handle, error) {
	h, err := p.usable(fd)
	if err == nil && (p.k.NoXattrs || !strings.HasPrefix(name, "user.")) {
		err = unix.ENOTSUP
	}
	return h, err
}

// setAttribute sets an extended attribute, or removes it.
func (p *Process) setAttribute(fd int, name string, set func(n *inode) error) error {
	h, err := p.attribute(fd, name)
	if err != nil {
		return err
	}
	n := h.node
	switch {
	case p.k.ReadOnly:
		return unix.EROFS
	case n.immutable:
		return unix.EPERM
	}
	if err := p.may(n, 0o2); err != nil {
		return err
	}
	if err := set(n); err != nil {
		return err
	}
	p.k.changed(n, false)
	p.k.tell(h.at, n, unix.IN_ATTRIB)
	return nil
}

// Fsetxattr implements sys.Kernel.
func (p *Process) Fsetxattr(fd int, name string, value []byte, flags int) error {
	p = p.owner(fd)
	return p.call(func() error {
		return p.setAttribute(fd, name, func(n *inode) error {
			if _, has := n.xattrs[name]; p.k.Full && !has {
				return unix.ENOSPC
			}
			if n.xattrs == nil {
				n.xattrs = map[string]string{}
			}
			n.xattrs[name] = string(value)
			return nil
		})
	}, "fsetxattr(%d, %s)", fd, name)
}

// Fgetxattr implements sys.Kernel.
func (p *Process) Fgetxattr(fd int, name string) (value string, err error) {
	p = p.owner(fd)
	err = p.call(func() error {
		h, err := p.attribute(fd, name)
		if err != nil {
			return err
		}
		text, ok := h.node.xattrs[name]
		if !ok {
			return unix.ENODATA
		}
		value = text
		return nil
	}, "fgetxattr(%d, %s)", fd, name)
	return value, err
}

// Flistxattr implements sys.Kernel.
func (p *Process) Flistxattr(fd int) (names string, err error) {
	p = p.owner(fd)
	err = p.call(func() error {
		h, err := p.attribute(fd, "user.")
		if err != nil {
			return err
		}
		var all []string
		for name := range h.node.xattrs {
			all = append(all, name)
		}
		slices.Sort(all)
		names = ""
		for _, name := range all {
			names += name + "\x00"
		}
		return nil
	}, "flistxattr(%d)", fd)
	return names, err
}

// Fremovexattr implements sys.Kernel.
func (p *Process) Fremovexattr(fd int, name string) error {
	p = p.owner(fd)
	return p.call(func() error {
		return p.setAttribute(fd, name, func(n *inode) error {
			if _, ok := n.xattrs[name]; !ok {
				return unix.ENODATA
			}
			delete(n.xattrs, name)
			return nil
		})
	}, "fremovexattr(%d, %s)", fd, name)
}
