package state

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
)

// A file of .tidemark is a regular file with one name. A restored backup may have
// lost the types of its files, and somebody may have put something else there: what
// is found under a name of ours is not followed, not waited for, and not written to
// where it is another file's, too.

// ErrInTheWay is returned where something has the name of a file or directory of
// .tidemark, cannot be that, and may hold data.
var ErrInTheWay = errors.New("this is not what tidemark keeps under that name: look at it, and move it elsewhere")

// wayTries is how often a name is taken that somebody else takes again and again.
const wayTries = 3

// openOwn opens the file name in .tidemark to read and to write it, and makes it if
// it is missing, mode 0644 less the umask. What cannot be ours gives way: see
// vacate. System calls:
//
//	statx, openat(O_RDWR|O_CREAT|O_NOFOLLOW|O_NONBLOCK), statx
func openOwn(d *disk.Dir, name string, alone bool) (int, error) {
	for range wayTries {
		if err := vacate(d, name, alone); err != nil {
			return -1, err
		}
		fd, err := disk.OpenAt(d.FD(), name, unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0o644)
		if isOther(err) {
			continue // put there since
		}
		if err != nil {
			return -1, d.PathError("open", name, err)
		}
		if info, err := disk.StatFD(fd); err == nil && info.Kind == mtree.File {
			return fd, nil
		}
		_ = unix.Close(fd)
	}
	return -1, d.PathError("open", name, ErrInTheWay)
}

// isOther reports whether err of an open with O_NOFOLLOW says that the name is no
// file's.
func isOther(err error) bool {
	switch disk.Errno(err) {
	case unix.ELOOP, unix.EISDIR, unix.ENXIO, unix.ENODEV, unix.ENOTDIR:
		return true
	}
	return errors.Is(err, disk.ErrNotRegular)
}

// vacate removes what has the name of a file of ours, is no regular file and holds
// nothing: a symlink, FIFO, socket, device or empty directory. With alone it also
// takes the name from a file that has others, as cp -l and some backups leave it:
// what is written to it would be written to them. What may hold data stays:
// ErrInTheWay. A name that is not there is no error.
func vacate(d *disk.Dir, name string, alone bool) error {
	info, err := d.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Kind == mtree.File && (info.Links <= 1 || !alone):
		return nil
	}
	return removeEmpty(d, name, info.Kind)
}

func removeEmpty(d *disk.Dir, name string, kind mtree.Kind) error {
	flags := 0
	if kind == mtree.Dir {
		flags = unix.AT_REMOVEDIR
	}
	switch err := unix.Unlinkat(d.FD(), name, flags); err {
	case nil, unix.ENOENT:
		return nil
	case unix.ENOTEMPTY, unix.EEXIST, unix.EBUSY, unix.EISDIR, unix.ENOTDIR:
		return d.PathError("remove", name, ErrInTheWay)
	default:
		return d.PathError("remove", name, err)
	}
}

// makeOwn makes the directory name in .tidemark with these permission bits, if it is
// missing, and opens it. A symlink, FIFO, socket or device gives way, a file does
// not: ErrInTheWay.
func makeOwn(d *disk.Dir, name string, mode uint32) (*disk.Dir, error) {
	for range wayTries {
		if err := unix.Mkdirat(d.FD(), name, mode); err != nil && err != unix.EEXIST {
			return nil, d.PathError("mkdir", name, err)
		}
		dir, err := d.OpenDir(name)
		if err == nil || !isOther(err) {
			return dir, err
		}
		info, err := d.Stat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist), err == nil && info.Kind == mtree.Dir:
			continue
		case err != nil:
			return nil, err
		case info.Kind == mtree.File:
			return nil, d.PathError("mkdir", name, ErrInTheWay)
		}
		if err := removeEmpty(d, name, info.Kind); err != nil {
			return nil, err
		}
	}
	return nil, d.PathError("mkdir", name, ErrInTheWay)
}

// OpenFile opens a file of the marker for reading, and waits for nobody; what
// cannot be ours gives ErrInTheWay.
func (m *Marker) OpenFile(name string) (*os.File, disk.Info, error) { return readOwn(m.dir, name) }

func readOwn(d *disk.Dir, name string) (*os.File, disk.Info, error) {
	f, info, err := d.OpenFile(name)
	if isOther(err) {
		err = d.PathError("open", name, ErrInTheWay)
	}
	return f, info, err
}

// Remove removes a file of the marker, or what holds nothing and has its name; one
// that is not there is no error.
func (m *Marker) Remove(name string) error {
	info, err := m.dir.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return removeEmpty(m.dir, name, info.Kind)
}

// Vacate makes sure that files with these names can be written: see ErrInTheWay.
func (m *Marker) Vacate(names ...string) error {
	for _, name := range names {
		if err := vacate(m.dir, name, false); err != nil {
			return err
		}
	}
	return nil
}

// OpenOwn opens a file of the marker to read and to write it, and makes it if it is
// missing, mode 0644 less the umask. What cannot be ours gives way: see ErrInTheWay.
// With alone so does a file that has other names: what is written to it would be
// written to them. System calls:
//
//	statx, openat(O_RDWR|O_CREAT|O_NOFOLLOW|O_NONBLOCK), statx
func (m *Marker) OpenOwn(name string, alone bool) (*os.File, error) {
	fd, err := openOwn(m.dir, name, alone)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), m.dir.Path()+"/"+name), nil
}

// OpenStaging makes the directory name in the marker if it is missing, mode 0700,
// removes what an earlier run left in it, and opens it: see disk.OpenStaging.
func (m *Marker) OpenStaging(name string) (*disk.Staging, error) {
	dir, err := makeOwn(m.dir, name, 0o700)
	if err != nil {
		return nil, err
	}
	return disk.OpenStaging(dir)
}
