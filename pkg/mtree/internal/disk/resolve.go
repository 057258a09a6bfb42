package disk

import (
	"errors"
	"io"
	"io/fs"
	"os"
	pathpkg "path"
	"strings"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
)

// maxLinks is how many symlinks Resolve follows for one path, as the kernel
// does (path_resolution(7)).
const maxLinks = 40

// Regular is an open regular file, read by its descriptor without the costs of
// os.File: registering it with the poller, and finding out that it cannot be.
type Regular struct {
	Info // when it was opened
	fd   int
	file *os.File // owns fd once it was asked for
	name string   // for messages
}

// LookTries is how often a name is looked at whose type changes between two system
// calls: statx tells of a symlink, and readlinkat finds none.
const LookTries = 10

// OpenFilePath opens the regular file at path, several components below d, for
// reading. No symlink is followed, no mount is crossed unless crossMounts. A
// FIFO, socket or device is not opened; should one be swapped in, the open does
// not block.
//
// What is no regular file gives ErrNotRegular and its Info: the caller may find
// a directory or a symlink there. Cost: statx, openat2, statx; more if its type
// changes meanwhile.
func (d *Dir) OpenFilePath(path string, crossMounts bool) (*Regular, Info, error) {
	for try := 1; ; try++ {
		f, info, err := d.openFilePath(path, crossMounts)
		// A regular file that is none: it took the name of something else between
		// two looks.
		if try == LookTries || !errors.Is(err, ErrNotRegular) || info.Kind != mtree.File {
			return f, info, err
		}
	}
}

func (d *Dir) openFilePath(path string, crossMounts bool) (*Regular, Info, error) {
	name, err := unix.BytePtrFromString(path)
	if err != nil {
		return nil, Info{}, d.PathError("open", path, err)
	}
	// This first look may pass through a symlink and out of d: only "regular
	// file" is believed, and openat2 has the last word on that.
	info, err := statAt(d.fd, name, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT)
	if err != nil || info.Kind != mtree.File {
		if info, err = d.StatPath(path, crossMounts); err == nil {
			err = d.PathError("open", path, ErrNotRegular)
		}
		return nil, info, err
	}
	how := beneath(unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, crossMounts)
	fd, err := openat2(d.fd, path, &how)
	if err != nil {
		return nil, Info{}, d.PathError("open", path, err)
	}
	if info, err = StatFD(fd); err == nil && info.Kind != mtree.File {
		err = ErrNotRegular
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, info, d.PathError("open", path, err)
	}
	return &Regular{Info: info, fd: fd, name: d.path + "/" + path}, info, nil
}

// ReadAt reads len(p) bytes from offset; fewer only with an error, io.EOF at
// the end of the file.
func (r *Regular) ReadAt(p []byte, offset int64) (n int, err error) {
	for n < len(p) {
		m, err := unix.Pread(r.fd, p[n:], offset+int64(n))
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return n, &fs.PathError{Op: "read", Path: r.name, Err: err}
		case m == 0:
			return n, io.EOF
		}
		n += m
	}
	return n, nil
}

// Stat returns fstat as it is by now.
func (r *Regular) Stat() (Info, error) {
	info, err := StatFD(r.fd)
	if err != nil {
		return Info{}, &fs.PathError{Op: "stat", Path: r.name, Err: err}
	}
	return info, nil
}

// File returns the file as an os.File, for sendfile(2). It is closed with r.
func (r *Regular) File() *os.File {
	if r.file == nil {
		r.file = os.NewFile(uintptr(r.fd), r.name)
	}
	return r.file
}

// Close releases the descriptor.
func (r *Regular) Close() error {
	if r.file != nil {
		return r.file.Close()
	}
	return unix.Close(r.fd)
}

// StatPath is lstat of path below d, with the rules of OpenFilePath. Cost:
// openat2, statx, close.
func (d *Dir) StatPath(path string, crossMounts bool) (Info, error) {
	how := beneath(unix.O_PATH, crossMounts)
	fd, err := openat2(d.fd, path, &how)
	if err != nil {
		return Info{}, d.PathError("stat", path, err)
	}
	defer unix.Close(fd)
	info, err := StatFD(fd)
	if err != nil {
		return Info{}, d.PathError("stat", path, err)
	}
	return info, nil
}

// Resolve follows every symlink in path and returns the path below d that is
// left: one without symlinks at the time of the call. What is opened by it
// afterwards must again be opened without following any. A link that is
// absolute, leaves d or crosses a mount (unless crossMounts) gives EXDEV, more
// than 40 of them ELOOP.
//
// Cost: three system calls for each symlink and three more, where symlinks stand
// at the end of paths; else three for each component besides.
func (d *Dir) Resolve(path string, crossMounts bool) (string, error) {
	left := path
	for range maxLinks + 1 {
		if left == "" {
			return "", nil
		}
		target, err := d.linkAt(left, crossMounts)
		switch {
		case err == nil && target == "":
			return lexical(left), nil
		case err == nil:
			left, err = follow(mtree.ParentPath(lexical(left)), target, "")
		default: // a symlink on the way, or nothing there
			left, err = d.followFirst(left, crossMounts)
		}
		if err != nil {
			return "", d.PathError("resolve", path, err)
		}
	}
	return "", d.PathError("resolve", path, unix.ELOOP)
}

// lexical returns path without "." and "..". It is the same place only if no
// component is a symlink.
func lexical(path string) string {
	return strings.TrimPrefix(pathpkg.Clean("/"+path), "/")
}

// follow returns the path that a symlink in the directory dir leads to, with rest
// behind it, "" if there is none.
func follow(dir, target, rest string) (string, error) {
	if target[0] == '/' {
		return "", unix.EXDEV
	}
	if rest != "" {
		target += "/" + rest
	}
	return mtree.JoinPath(dir, target), nil
}

// followFirst goes down path to its first symlink and returns the path with that
// followed; without symlinks the path itself, as lexical does.
func (d *Dir) followFirst(path string, crossMounts bool) (string, error) {
	done := ""
	for todo := path; todo != ""; {
		var name string
		name, todo, _ = strings.Cut(todo, "/")
		switch name {
		case "", ".":
			continue
		case "..":
			if done == "" {
				return "", unix.EXDEV
			}
			done = mtree.ParentPath(done)
			continue
		}
		next := mtree.JoinPath(done, name)
		target, err := d.linkAt(next, crossMounts)
		switch {
		case err != nil:
			return "", err
		case target != "":
			return follow(done, target, todo)
		}
		done = next
	}
	return done, nil
}

// linkAt returns the target of the symlink at path, "" if something else is
// there.
func (d *Dir) linkAt(path string, crossMounts bool) (string, error) {
	how := beneath(unix.O_PATH, crossMounts)
	fd, err := openat2(d.fd, path, &how)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", buf)
	if err == unix.ENOENT || err == unix.EINVAL {
		return "", nil // readlinkat(2): the descriptor is no symlink's
	}
	return string(buf[:max(n, 0)]), err
}

// beneath is how to open what lies below a directory, symlinks themselves.
func beneath(flags uint64, crossMounts bool) unix.OpenHow {
	how := unix.OpenHow{
		Flags:   flags | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	}
	if !crossMounts {
		how.Resolve |= unix.RESOLVE_NO_XDEV
	}
	return how
}

// IsAbsent reports whether err says that a path names nothing that could be
// opened below its directory: gone, of another type, outside, impossible.
func IsAbsent(err error) bool {
	switch Errno(err) {
	case unix.EXDEV, unix.ENAMETOOLONG, unix.EINVAL, unix.ENXIO:
		return true
	}
	return IsGone(err) || errors.Is(err, ErrNotRegular) || errors.Is(err, mtree.ErrName) || errors.Is(err, fs.ErrNotExist)
}

// IsShort reports whether err says that this machine is out of descriptors or
// memory for the moment.
func IsShort(err error) bool {
	switch Errno(err) {
	case unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.ENOBUFS:
		return true
	}
	return false
}

// IsLink reports whether err says that there was a symlink where none is
// followed.
func IsLink(err error) bool {
	switch Errno(err) {
	case unix.ELOOP, unix.ENOTDIR:
		return true
	}
	return false
}
