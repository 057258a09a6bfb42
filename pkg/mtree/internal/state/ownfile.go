package state

import (
	"bytes"
	"errors"
	"io"
	"io/fs"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/sys"
)

// A file of .tidemark is a regular file with one name. A restored backup may have lost
// the types of its files, and somebody may have put something else there. So what has a
// name of ours is not followed, not waited for, and not written to if it has other names.

// ErrInTheWay is returned if something has the name of a file or directory of .tidemark,
// cannot be that file, and may hold data.
var ErrInTheWay = errors.New("this is not what tidemark keeps under that name: look at it, and move it elsewhere")

// ownTries is how often a name is tried that another process takes again and again.
const ownTries = 3

// maxSmall is how many bytes ReadFile reads at most.
const maxSmall = 1 << 20

// ReadFile reads the file name in dir, which is one of ours. A file larger than 1 MiB,
// and anything but a regular file, gives ErrInTheWay.
func ReadFile(dir *disk.Dir, name string) ([]byte, error) {
	f, info, err := openOwnToRead(dir, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info.Size > maxSmall {
		return nil, dir.PathError("read", name, ErrInTheWay)
	}
	var text bytes.Buffer
	text.Grow(int(info.Size) + bytes.MinRead) // so one read(2) brings it, and one its end
	_, err = text.ReadFrom(io.LimitReader(f, maxSmall))
	return text.Bytes(), err
}

// WriteFile replaces the file name in dir with text, mode 0644, durably: after a crash
// it holds the old or the new text. What cannot be ours gives way, see vacate. System
// calls:
//
//	statx, openat(".NAME.new", O_CREAT), statx, ftruncate, fchmod, write, fsync,
//	statx, renameat, fsync(directory)
func WriteFile(dir *disk.Dir, name string, text []byte) error {
	temp := "." + name + ".new"
	fd, err := openOwn(dir, temp, true)
	if err != nil {
		return err
	}
	f := sys.NewFile(uintptr(fd), dir.Path()+"/"+temp)
	defer f.Close()
	if err := f.Truncate(0); err != nil {
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if _, err := f.Write(text); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := vacate(dir, name, false); err != nil {
		_ = sys.Unlinkat(dir.FD(), temp, 0)
		return err
	}
	if err := sys.Renameat(dir.FD(), temp, dir.FD(), name); err != nil {
		return dir.PathError("rename", name, err)
	}
	return dir.Sync()
}

// openOwn opens the file name of .tidemark to read and to write it, and makes it if it
// is missing, mode 0644 less the umask. What cannot be ours gives way: see vacate.
// System calls:
//
//	statx, openat(O_RDWR|O_CREAT|O_NOFOLLOW|O_NONBLOCK), statx
func openOwn(dir *disk.Dir, name string, alone bool) (int, error) {
	for range ownTries {
		if err := vacate(dir, name, alone); err != nil {
			return -1, err
		}
		fd, err := disk.OpenAt(dir.FD(), name, unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0o644)
		if isOther(err) {
			continue // put there since
		}
		if err != nil {
			return -1, dir.PathError("open", name, err)
		}
		info, err := disk.StatFD(fd)
		if info.Kind == mtree.File { // no kind with an error
			return fd, nil
		}
		_ = sys.Close(fd)
		if err != nil {
			return -1, dir.PathError("stat", name, err)
		}
	}
	return -1, dir.PathError("open", name, ErrInTheWay)
}

// openOwnToRead opens the file name of .tidemark for reading.
func openOwnToRead(dir *disk.Dir, name string) (sys.File, disk.Info, error) {
	f, info, err := dir.OpenFile(name)
	if isOther(err) {
		err = dir.PathError("open", name, ErrInTheWay)
	}
	return f, info, err
}

// isOther reports whether the error of an open with O_NOFOLLOW says that the name is not
// that of a file.
func isOther(err error) bool {
	switch disk.Errno(err) {
	case unix.ELOOP, unix.EISDIR, unix.ENXIO, unix.ENODEV, unix.ENOTDIR:
		return true
	}
	return errors.Is(err, disk.ErrNotRegular)
}

// vacate removes what has the name of a file of ours, is not a regular file and holds
// no data: a symlink, FIFO, socket, device or empty directory. With alone it also
// removes the name of a file that has other names, as cp -l and some backups leave it:
// what is written to it would be written to them. What may hold data stays and gives
// ErrInTheWay. It is no error if the name is not there.
func vacate(dir *disk.Dir, name string, alone bool) error {
	info, err := dir.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Kind == mtree.File && (info.Links <= 1 || !alone) {
		return nil
	}
	return removeEmpty(dir, name, info.Kind)
}

func removeEmpty(dir *disk.Dir, name string, kind mtree.Kind) error {
	flags := 0
	if kind == mtree.Dir {
		flags = unix.AT_REMOVEDIR
	}
	switch err := sys.Unlinkat(dir.FD(), name, flags); err {
	case nil, unix.ENOENT:
		return nil
	case unix.ENOTEMPTY, unix.EEXIST, unix.EBUSY, unix.EISDIR, unix.ENOTDIR:
		return dir.PathError("remove", name, ErrInTheWay)
	default:
		return dir.PathError("remove", name, err)
	}
}

// makeOwn makes the directory name of .tidemark with these permission bits, if it is
// missing, and opens it. A symlink, FIFO, socket or device gives way, a file does not:
// ErrInTheWay.
func makeOwn(dir *disk.Dir, name string, mode uint32) (*disk.Dir, error) {
	for range ownTries {
		if err := sys.Mkdirat(dir.FD(), name, mode); err != nil && err != unix.EEXIST {
			return nil, dir.PathError("mkdir", name, err)
		}
		made, err := dir.OpenDir(name)
		if !isOther(err) {
			return made, err
		}
		info, err := dir.Stat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist), info.Kind == mtree.Dir: // no kind with an error
			continue
		case err != nil:
			return nil, err
		case info.Kind == mtree.File:
			return nil, dir.PathError("mkdir", name, ErrInTheWay)
		}
		if err := removeEmpty(dir, name, info.Kind); err != nil {
			return nil, err
		}
	}
	return nil, dir.PathError("mkdir", name, ErrInTheWay)
}
