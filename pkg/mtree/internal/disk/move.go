package disk

import (
	"io/fs"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/sys"
)

// What moves entries out of a copy, and back: see package backup of mirror.

// MoveTo moves the entry name of d to newName in to, which must be free, else EEXIST. Where the
// file system cannot see to that (EINVAL), it is looked at before. System calls:
//
//	renameat2(RENAME_NOREPLACE), else statx, renameat
func (d *Dir) MoveTo(name string, to *Dir, newName string) error {
	if err := checkBoth(name, newName); err != nil {
		return d.PathError("rename", name, err)
	}
	err := sys.Renameat2(d.fd, name, to.fd, newName, unix.RENAME_NOREPLACE)
	if err == unix.EINVAL || err == unix.ENOSYS {
		if _, err := to.Stat(newName); err == nil {
			return to.PathError("rename", newName, unix.EEXIST)
		}
		err = sys.Renameat(d.fd, name, to.fd, newName)
	}
	return d.PathError("rename", name, err)
}

// Swap exchanges the entry name of d with newName in to, atomically and whatever their types:
// renameat2(RENAME_EXCHANGE). NFS, exFAT and some FUSE cannot (EINVAL).
func (d *Dir) Swap(name string, to *Dir, newName string) error {
	if err := checkBoth(name, newName); err != nil {
		return to.PathError("exchange", newName, err)
	}
	return to.PathError("exchange", newName, sys.Renameat2(d.fd, name, to.fd, newName, unix.RENAME_EXCHANGE))
}

// IsNotSwapped reports whether an error of Swap says that the file system cannot.
func IsNotSwapped(err error) bool {
	e := Errno(err)
	return e == unix.EINVAL || e == unix.ENOSYS
}

// IsUnlinkable reports whether an error of linkat(2) says that this file gets no second name: the file system
// has no hard links, it has as many as it may, or it belongs to another user (fs.protected_hardlinks).
func IsUnlinkable(err error) bool {
	switch Errno(err) {
	case unix.EPERM, unix.EOPNOTSUPP, unix.ENOSYS, unix.EMLINK, unix.EACCES:
		return true
	}
	return false
}

// RemoveDir removes the subdirectory name, which must be empty.
func (d *Dir) RemoveDir(name string) error {
	if err := checkComponent(name); err != nil {
		return d.PathError("rmdir", name, err)
	}
	return d.PathError("rmdir", name, sys.Unlinkat(d.fd, name, unix.AT_REMOVEDIR))
}

// MakeFile makes the empty file name, which must be free, mode 0600.
func (d *Dir) MakeFile(name string) error {
	if err := checkComponent(name); err != nil {
		return d.PathError("create", name, err)
	}
	fd, err := OpenAt(d.fd, name, createFlags, 0o600)
	if err == nil {
		err = sys.Close(fd)
	}
	return d.PathError("create", name, err)
}

// Chown sets the owner of the directory itself.
func (d *Dir) Chown(uid, gid uint32) error {
	return d.PathError("chown", ".", sys.Fchown(d.fd, int(uid), int(gid)))
}

// Above opens the directory above d with O_PATH: it can be looked at, not read. The root of all
// directories is above itself.
func (d *Dir) Above() (*Dir, error) {
	fd, err := OpenAt(d.fd, "..", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: d.path + "/..", Err: err}
	}
	return &Dir{fd: fd, path: d.path + "/.."}, nil
}

// Has reports whether the file has this name in dir already: in a TempDir it has, from the start.
func (f *TempFile) Has(dir *Dir, name string) bool { return f.at == dir && f.name == name }

func checkBoth(name, newName string) error {
	if err := checkComponent(name); err != nil {
		return err
	}
	return checkComponent(newName)
}
