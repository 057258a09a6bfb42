package disk

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/beneath"
	"tidemark/pkg/mtree/internal/sys"
)

// Paths of several components below a directory: see package beneath. No symlink is
// followed, and no mount is crossed unless crossMounts.

// OpenDirPath opens the directory at path below d; "" opens d itself anew.
func (d *Dir) OpenDirPath(path string, crossMounts bool) (*Dir, error) {
	if path == "" {
		path = "."
	}
	return d.openPath(path, unix.O_RDONLY|unix.O_DIRECTORY, crossMounts)
}

// OpenPath opens what is at path below d with O_PATH: it can be looked at, not read.
func (d *Dir) OpenPath(path string, crossMounts bool) (*Dir, error) {
	return d.openPath(path, unix.O_PATH, crossMounts)
}

func (d *Dir) openPath(path string, flags uint64, crossMounts bool) (*Dir, error) {
	fd, err := beneath.Open(d.fd, path, flags, crossMounts)
	if err != nil {
		return nil, d.PathError("open", path, err)
	}
	return &Dir{fd: fd, path: d.path + "/" + path}, nil
}

// StatPath is lstat of path below d. Cost: openat2, statx, close.
func (d *Dir) StatPath(path string, crossMounts bool) (Info, error) {
	fd, err := beneath.Open(d.fd, path, unix.O_PATH, crossMounts)
	if err != nil {
		return Info{}, d.PathError("stat", path, err)
	}
	defer sys.Close(fd)
	info, err := StatFD(fd)
	if err != nil {
		return Info{}, d.PathError("stat", path, err)
	}
	return info, nil
}

// lookTries is how often a path is looked at whose type changes between two system
// calls.
const lookTries = 10

// OpenFilePath opens the regular file at path below d for reading. A FIFO, socket or
// device is not opened, and if one takes the name meanwhile, the open does not block.
//
// Anything but a regular file gives ErrNotRegular and its Info: the caller may find a
// directory or a symlink there. Cost: statx, openat2, statx; more if its type changes
// meanwhile.
func (d *Dir) OpenFilePath(path string, crossMounts bool) (*Regular, Info, error) {
	for try := 1; ; try++ {
		f, info, err := d.openFilePath(path, crossMounts)
		// ErrNotRegular with the Info of a regular file: the file replaced something else
		// between two looks.
		if try == lookTries || !errors.Is(err, ErrNotRegular) || info.Kind != mtree.File {
			return f, info, err
		}
	}
}

func (d *Dir) openFilePath(path string, crossMounts bool) (*Regular, Info, error) {
	name, err := unix.BytePtrFromString(path)
	if err != nil {
		return nil, Info{}, d.PathError("open", path, err)
	}
	// This first look may pass through a symlink and out of d. Its only use is that
	// nothing but a regular file is opened; openat2 decides whether that is allowed.
	info, err := statAt(d.fd, name, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT)
	if err != nil || info.Kind != mtree.File {
		if info, err = d.StatPath(path, crossMounts); err == nil {
			err = d.PathError("open", path, ErrNotRegular)
		}
		return nil, info, err
	}
	fd, err := beneath.Open(d.fd, path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, crossMounts)
	if err != nil {
		return nil, Info{}, d.PathError("open", path, err)
	}
	if info, err = StatFD(fd); err == nil && info.Kind != mtree.File {
		err = ErrNotRegular
	}
	if err != nil {
		_ = sys.Close(fd)
		return nil, info, d.PathError("open", path, err)
	}
	return &Regular{Info: info, fd: fd, name: d.path + "/" + path}, info, nil
}

// MarkAbove adds ErrAbove to the error of opening path below d, if permissions are the cause, but
// not those of path itself or of the directory that it is in. Only these move the stamp of the
// directory that lists path when they are given. So a reader must not complete a directory above
// what fails with ErrAbove. Cost, if permissions are the cause: openat2 of the parent, and another
// attempt from there.
func (d *Dir) MarkAbove(path string, crossMounts bool, err error) error {
	if !IsUnreadable(err) || mtree.ParentPath(path) == "" || d.isRefusedThere(path, crossMounts) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrAbove, err)
}

// isRefusedThere reports whether permissions keep this process from opening path also from its
// parent, where those further up count no more. A look at the parent alone would not do: the
// right may have been given back further up since path was refused.
func (d *Dir) isRefusedThere(path string, crossMounts bool) bool {
	parent, err := d.OpenPath(mtree.ParentPath(path), crossMounts)
	if err != nil { // guard: TestMarkAbove
		return false
	}
	defer parent.Close()
	return IsUnreadable(parent.tryToOpen(mtree.BaseName(path), crossMounts)) // guard (returns true): TestMarkAbove
}

// tryToOpen returns the error of opening a file or directory for reading. It leaves nothing open.
func (d *Dir) tryToOpen(name string, crossMounts bool) error {
	f, info, err := d.OpenFilePath(name, crossMounts)
	if err == nil {
		return f.Close()
	}
	if info.Kind != mtree.Dir {
		return err
	}
	dir, err := d.OpenDirPath(name, crossMounts)
	if err == nil {
		return dir.Close()
	}
	return err
}

// Resolve follows every symlink in path and returns the path below d to which they
// lead: see beneath.Resolve.
func (d *Dir) Resolve(path string, crossMounts bool) (string, error) {
	resolved, err := beneath.Resolve(d.fd, path, crossMounts)
	return resolved, d.PathError("resolve", path, err)
}
