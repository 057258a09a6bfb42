package disk

import (
	"errors"
	"strconv"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
)

// The changes to a directory's names that a copy needs. Each is one system call
// on a held descriptor and follows no symlink.

// MakeDir makes the subdirectory name with exactly these permission bits,
// whatever the umask, and opens it. The setgid bit is as it is inherited.
func (d *Dir) MakeDir(name string, mode uint32) (*Dir, error) {
	if err := checkComponent(name); err != nil {
		return nil, d.PathError("mkdir", name, err)
	}
	if err := unix.Mkdirat(d.fd, name, 0o700); err != nil {
		return nil, d.PathError("mkdir", name, err)
	}
	child, err := d.OpenDir(name)
	if err != nil {
		return nil, err
	}
	if mode != 0o700 {
		if err := child.ChmodKept(mode); err != nil {
			_ = child.Close()
			return nil, err
		}
	}
	return child, nil
}

// Chmod sets the directory's own permission bits.
func (d *Dir) Chmod(mode uint32) error {
	if err := unix.Fchmod(d.fd, mode); err != nil {
		return d.PathError("chmod", ".", err)
	}
	return nil
}

// ChmodKept sets the lower nine permission bits; setgid and its like stay. Cost: statx,
// fchmod.
func (d *Dir) ChmodKept(mode uint32) error {
	info, err := d.Self()
	if err != nil {
		return err
	}
	return d.Chmod(info.Mode&ownBits | mode&0o777)
}

// ChmodEntry sets the permission bits of the entry name, which must not be a
// symlink: statx, then fchmodat2(2), or before Linux 6.6 by way of an O_PATH
// descriptor. Where something is mounted it gives ErrMount.
func (d *Dir) ChmodEntry(name string, mode uint32) error {
	if err := d.notMounted(name); err != nil {
		return d.PathError("chmod", name, err)
	}
	err := unix.Fchmodat(d.fd, name, mode, unix.AT_SYMLINK_NOFOLLOW)
	if err != unix.EOPNOTSUPP {
		return wrap(d, "chmod", name, err)
	}
	fd, err := OpenAt(d.fd, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return d.PathError("chmod", name, err)
	}
	defer unix.Close(fd)
	info, err := StatFD(fd)
	if err == nil && info.Kind == mtree.Symlink {
		err = unix.EOPNOTSUPP
	}
	if err == nil {
		err = unix.Fchmodat(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(fd), mode, 0)
	}
	return wrap(d, "chmod", name, err)
}

// notMounted checks that name is one component, and that what it names is no
// mount's: a change would be written outside the tree, be it a directory or a
// file. Cost: statx.
func (d *Dir) notMounted(name string) error {
	if err := checkComponent(name); err != nil {
		return err
	}
	path, err := unix.BytePtrFromString(name)
	if err != nil {
		return err
	}
	info, err := statAt(d.fd, path, unix.AT_SYMLINK_NOFOLLOW)
	if err == nil && info.MountRoot {
		err = ErrMount
	}
	return err
}

// ChownEntry sets the owner of the entry name, of a symlink its own. Where
// something is mounted it gives ErrMount.
func (d *Dir) ChownEntry(name string, uid, gid uint32) error {
	if err := d.notMounted(name); err != nil {
		return d.PathError("chown", name, err)
	}
	return wrap(d, "chown", name, unix.Fchownat(d.fd, name, int(uid), int(gid), unix.AT_SYMLINK_NOFOLLOW))
}

// Rename moves the entry name of d to newName in to, replacing what a
// rename(2) replaces.
func (d *Dir) Rename(name string, to *Dir, newName string) error {
	if err := errors.Join(checkComponent(name), checkComponent(newName)); err != nil {
		return d.PathError("rename", name, err)
	}
	return wrap(d, "rename", name, unix.Renameat(d.fd, name, to.fd, newName))
}

// Link gives the entry name of d another name in to, which must be free.
func (d *Dir) Link(name string, to *Dir, newName string) error {
	if err := errors.Join(checkComponent(name), checkComponent(newName)); err != nil {
		return d.PathError("link", name, err)
	}
	return wrap(d, "link", name, unix.Linkat(d.fd, name, to.fd, newName, 0))
}

// Exchange swaps two names atomically, whatever their types. Where the file
// system cannot (EINVAL: NFS, some FUSE), what stands at to/newName is moved to
// a name of its own first; a crash between the two leaves it in the Aside.
func (a *Aside) Exchange(name string, to *Dir, newName string) error {
	if err := checkComponent(newName); err != nil {
		return to.PathError("exchange", newName, err)
	}
	err := unix.Renameat2(a.dir.fd, name, to.fd, newName, unix.RENAME_EXCHANGE)
	if err != unix.EINVAL && err != unix.ENOSYS {
		return wrap(to, "exchange", newName, err)
	}
	old := a.Name()
	if err := unix.Renameat(to.fd, newName, a.dir.fd, old); err != nil {
		return to.PathError("rename", newName, err)
	}
	if err := unix.Renameat(a.dir.fd, name, to.fd, newName); err != nil {
		_ = unix.Renameat(a.dir.fd, old, to.fd, newName)
		return to.PathError("rename", newName, err)
	}
	return wrap(a.dir, "rename", name, unix.Renameat(a.dir.fd, old, a.dir.fd, name))
}

// Unlink removes the entry name, which is no directory.
func (d *Dir) Unlink(name string) error {
	if err := checkComponent(name); err != nil {
		return d.PathError("unlink", name, err)
	}
	return wrap(d, "unlink", name, unix.Unlinkat(d.fd, name, 0))
}
