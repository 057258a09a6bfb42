package disk

import (
	"cmp"
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/sys"
)

// The changes of names, modes, owners and times that a copy needs. Each is a system
// call on an open descriptor and follows no symlink.

// ownBits are the bits of a directory's mode that no listing shows.
const ownBits = 0o7000

// MakeDir makes the subdirectory name with exactly these permission bits, whatever the
// umask, and opens it. It inherits the setgid bit as usual. System calls:
//
//	mkdirat, openat; unless the mode is 0700: statx, fchmod
func (d *Dir) MakeDir(name string, mode uint32) (*Dir, error) {
	if err := checkComponent(name); err != nil {
		return nil, d.PathError("mkdir", name, err)
	}
	if err := sys.Mkdirat(d.fd, name, 0o700); err != nil {
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

// Rename moves the entry name of d to newName in to, and replaces what rename(2)
// replaces.
func (d *Dir) Rename(name string, to *Dir, newName string) error {
	if err := errors.Join(checkComponent(name), checkComponent(newName)); err != nil {
		return d.PathError("rename", name, err)
	}
	return d.PathError("rename", name, sys.Renameat(d.fd, name, to.fd, newName))
}

// Link gives the entry name of d the second name newName in to, which must be free.
func (d *Dir) Link(name string, to *Dir, newName string) error {
	if err := errors.Join(checkComponent(name), checkComponent(newName)); err != nil {
		return d.PathError("link", name, err)
	}
	return d.PathError("link", name, sys.Linkat(d.fd, name, to.fd, newName, 0))
}

// Unlink removes the entry name, which must not be a directory.
func (d *Dir) Unlink(name string) error {
	if err := checkComponent(name); err != nil {
		return d.PathError("unlink", name, err)
	}
	return d.PathError("unlink", name, sys.Unlinkat(d.fd, name, 0))
}

// SetTime sets the directory's own mtime by its descriptor and leaves the atime; the
// file system rounds down to its granule. It needs ownership or CAP_FOWNER (EPERM,
// EROFS).
func (d *Dir) SetTime(mtime mtree.Stamp) error {
	if err := SetTimeFD(d.fd, mtime); err != nil {
		return &fs.PathError{Op: "utimensat", Path: d.path, Err: err}
	}
	return nil
}

// SetEntryTime sets the mtime of the entry name, also of a symlink itself. It fails
// where something is mounted.
func (d *Dir) SetEntryTime(name string, mtime mtree.Stamp) error {
	if err := d.notMounted(name); err != nil {
		return d.PathError("utimensat", name, err)
	}
	var st unix.Stat_t
	if err := sys.Fstatat(d.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return d.PathError("stat", name, err)
	}
	times := timespecs(st.Atim, mtime)
	return d.PathError("utimensat", name, sys.UtimesNanoAt(d.fd, name, times[:], unix.AT_SYMLINK_NOFOLLOW))
}

// MoveCTime lets the ctime of the entry name be the present time, also that of a symlink
// itself, by giving it the atime that it has. Nothing else changes, and no event tells it but
// one of access. It needs ownership or CAP_FOWNER (EPERM, EROFS).
func (d *Dir) MoveCTime(name string) error {
	if err := checkComponent(name); err != nil {
		return d.PathError("utimensat", name, err)
	}
	var st unix.Stat_t
	if err := sys.Fstatat(d.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return d.PathError("stat", name, err)
	}
	times := []unix.Timespec{st.Atim, {Nsec: unix.UTIME_OMIT}}
	return d.PathError("utimensat", name, sys.UtimesNanoAt(d.fd, name, times, unix.AT_SYMLINK_NOFOLLOW))
}

// Chmod sets the directory's own permission bits, 07777.
func (d *Dir) Chmod(mode uint32) error {
	return d.PathError("chmod", ".", sys.Fchmod(d.fd, mode))
}

// ChmodKept sets the lower nine permission bits and keeps setuid, setgid and the
// sticky bit. Cost: statx, fchmod.
func (d *Dir) ChmodKept(mode uint32) error {
	info, err := d.Self()
	if err != nil {
		return err
	}
	return d.Chmod(info.Mode&ownBits | mode&0o777)
}

// ChmodEntry sets the permission bits of the entry name, which must not be a symlink:
// statx, then fchmodat2(2), or before Linux 6.6 through an O_PATH descriptor and /proc. It
// fails where something is mounted.
func (d *Dir) ChmodEntry(name string, mode uint32) error {
	if err := d.notMounted(name); err != nil {
		return d.PathError("chmod", name, err)
	}
	err := sys.Fchmodat(d.fd, name, mode, unix.AT_SYMLINK_NOFOLLOW)
	if err != unix.EOPNOTSUPP {
		return d.PathError("chmod", name, err)
	}
	fd, err := OpenAt(d.fd, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return d.PathError("chmod", name, err)
	}
	defer sys.Close(fd)
	info, err := StatFD(fd)
	if err == nil && info.Kind == mtree.Symlink {
		err = unix.EOPNOTSUPP
	}
	if err == nil {
		err = sys.Fchmodat(unix.AT_FDCWD, sys.FDPath(fd), mode, 0)
		if err == unix.ENOENT {
			err = cmp.Or(sys.ThroughProc(fd), err)
		}
	}
	return d.PathError("chmod", name, err)
}

// ChownEntry sets the owner of the entry name, also of a symlink itself. It fails
// where something is mounted.
func (d *Dir) ChownEntry(name string, uid, gid uint32) error {
	if err := d.notMounted(name); err != nil {
		return d.PathError("chown", name, err)
	}
	return d.PathError("chown", name, sys.Fchownat(d.fd, name, int(uid), int(gid), unix.AT_SYMLINK_NOFOLLOW))
}

// notMounted checks that name is a single component and that nothing is mounted at it,
// on a directory or on a file: a change there would be made outside of the tree. Cost:
// statx.
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
		err = errMount
	}
	return err
}

// Respelled reports whether name leads to an entry that is spelled otherwise. Some file
// systems, or some of their directories, take two names for the same if they differ in case,
// or in how letters are composed: FAT, exFAT, ext4 with casefold, ZFS with normalization, many on
// networks. Cost: statx, and a scan if something is there.
func (d *Dir) Respelled(name string) bool {
	if _, err := d.Stat(name); err != nil || name == mtree.MarkerName {
		return false
	}
	exact, _ := d.HasNames([]string{name})
	return !exact
}

// HasNames reports whether the directory has entries with exactly these names, byte by byte.
// Cost: nothing for no names, else a scan that ends with the last of them.
func (d *Dir) HasNames(names []string) (bool, error) {
	missing := make(map[string]bool, len(names))
	for _, name := range names {
		missing[name] = true
	}
	if len(missing) == 0 {
		return true, nil
	}
	err := d.Scan(func(raw []byte, _ mtree.Kind) error {
		if delete(missing, string(raw)); len(missing) == 0 {
			return fs.SkipAll
		}
		return nil
	})
	if errors.Is(err, fs.SkipAll) {
		err = nil
	}
	return len(missing) == 0, err
}
