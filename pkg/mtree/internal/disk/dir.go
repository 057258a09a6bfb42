package disk

import (
	"fmt"
	"io/fs"
	"math"
	"strings"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/sys"
)

// Dir is an open directory. All work below it uses its descriptor and single names,
// never joined paths, so that nothing can be replaced by a symlink between a check and
// its use. A Dir may be used by several goroutines at once, except for Scan and its
// like, and Close.
type Dir struct {
	fd     int
	path   string // for messages only
	unseen bool   // no other process looks into it before it is complete: see TempDir
}

// OpenRoot opens the directory at path and follows symlinks, because the user names
// the root of a tree. Errors are *fs.PathError.
func OpenRoot(path string) (*Dir, error) {
	fd, err := OpenAt(unix.AT_FDCWD, path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return &Dir{fd: fd, path: path}, nil
}

// MakeRoot makes the directory at path with mode less the umask. Errors are *fs.PathError.
func MakeRoot(path string, mode uint32) error {
	if err := sys.Mkdirat(unix.AT_FDCWD, path, mode); err != nil {
		return &fs.PathError{Op: "mkdir", Path: path, Err: err}
	}
	return nil
}

// NewDir returns the open directory fd as a Dir, which owns it from then on. path is
// its name in messages.
func NewDir(fd int, path string) *Dir { return &Dir{fd: fd, path: path} }

// OpenDir opens the subdirectory name. It does not follow a symlink (ENOTDIR).
func (d *Dir) OpenDir(name string) (*Dir, error) {
	if err := checkComponent(name); err != nil {
		return nil, d.PathError("open", name, err)
	}
	fd, err := OpenAt(d.fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, d.PathError("open", name, err)
	}
	return &Dir{fd: fd, path: d.path + "/" + name}, nil
}

// OpenFile opens the regular file name for reading and returns it with what fstat
// shows. It neither follows a symlink nor blocks on a FIFO. Anything but a regular
// file gives ErrNotRegular.
func (d *Dir) OpenFile(name string) (File, Info, error) {
	if err := checkComponent(name); err != nil {
		return nil, Info{}, d.PathError("open", name, err)
	}
	fd, err := OpenAt(d.fd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, Info{}, d.PathError("open", name, err)
	}
	info, err := StatFD(fd)
	if err == nil && info.Kind != mtree.File {
		err = ErrNotRegular
	}
	if err != nil {
		_ = sys.Close(fd)
		return nil, Info{}, d.PathError("open", name, err)
	}
	return sys.NewFile(uintptr(fd), d.path+"/"+name), info, nil
}

// Close releases the descriptor.
func (d *Dir) Close() error { return sys.Close(d.fd) }

// Path returns the name by which d was opened, for messages. It may be out of date.
func (d *Dir) Path() string { return d.path }

// FD returns the descriptor, for system calls of other packages. d keeps owning it.
func (d *Dir) FD() int { return d.fd }

// Self returns fstat of the directory itself.
func (d *Dir) Self() (Info, error) {
	info, err := StatFD(d.fd)
	if err != nil {
		return Info{}, &fs.PathError{Op: "stat", Path: d.path, Err: err}
	}
	return info, nil
}

// Stat returns lstat of the entry name.
func (d *Dir) Stat(name string) (Info, error) {
	if err := checkComponent(name); err != nil {
		return Info{}, d.PathError("stat", name, err)
	}
	p, err := unix.BytePtrFromString(name)
	if err != nil {
		return Info{}, d.PathError("stat", name, err)
	}
	info, err := statAt(d.fd, p, unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		return Info{}, d.PathError("stat", name, err)
	}
	return info, nil
}

// Readlink returns the target of the symlink name as it is, byte by byte.
func (d *Dir) Readlink(name string) (string, error) {
	if err := checkComponent(name); err != nil {
		return "", d.PathError("readlink", name, err)
	}
	buf := make([]byte, unix.PathMax)
	n, err := sys.Readlinkat(d.fd, name, buf)
	if err != nil {
		return "", d.PathError("readlink", name, err)
	}
	return string(buf[:n]), nil
}

// HasMarker reports whether d is, or was, the root of a tree or copy:
// mtree.MarkerName is in it. Cost: statx.
func (d *Dir) HasMarker() bool {
	_, err := d.Stat(mtree.MarkerName)
	return err == nil
}

// StillAt returns nil if path still names the directory d, ErrReplaced if it names
// another one, or else the error of opening path. Cost: openat, two statx.
func (d *Dir) StillAt(path string) error {
	there, err := OpenRoot(path)
	if err != nil {
		return err
	}
	defer there.Close()
	was, err := d.Self()
	if err != nil {
		return err
	}
	now, err := there.Self()
	if err == nil && now.Node != was.Node {
		err = fmt.Errorf("%q: %w", path, ErrReplaced)
	}
	return err
}

// placeholderIno is the inode number of every placeholder
// (BTRFS_EMPTY_SUBVOL_DIR_OBJECTID).
const placeholderIno = 2

// IsPlaceholder reports whether the directory stands in a btrfs snapshot for a nested
// subvolume. It is empty, nothing can be put into it, and it shows another time at each
// look, whatever was set. info is what Self returned. Cost: one fstatfs for inodes 2.
func (d *Dir) IsPlaceholder(info Info) bool {
	if info.Node.Ino != placeholderIno {
		return false
	}
	isBtrfs, err := d.IsBtrfs()
	return isBtrfs && err == nil
}

// IsBtrfs reports whether d is on btrfs. There a subvolume is a file system of its own, with
// another device, though nothing is mounted. Cost: fstatfs.
func (d *Dir) IsBtrfs() (bool, error) {
	var st unix.Statfs_t
	if err := sys.Fstatfs(d.fd, &st); err != nil {
		return false, &fs.PathError{Op: "statfs", Path: d.path, Err: err}
	}
	return st.Type == unix.BTRFS_SUPER_MAGIC, nil
}

// Free returns how many bytes this process may still write to the file system of d,
// as far as the file system says: a quota may allow fewer, compression more. If it
// does not say, the answer is the largest number. Cost: fstatfs.
func (d *Dir) Free() int64 {
	var st unix.Statfs_t
	if err := sys.Fstatfs(d.fd, &st); err != nil || st.Bavail > math.MaxInt64/uint64(max(st.Bsize, 1)) {
		return math.MaxInt64
	}
	return int64(st.Bavail) * st.Bsize
}

// PathError returns err of the operation op on the entry name, with the whole path;
// nil if err is nil.
func (d *Dir) PathError(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: d.path + "/" + name, Err: err}
}

// checkComponent refuses names that could lead out of the directory. Unlike
// mtree.CheckName it accepts mtree.MarkerName.
func checkComponent(name string) error {
	if name == "" || name == "." || name == ".." || strings.IndexByte(name, '/') >= 0 {
		return fmt.Errorf("%w: %q", mtree.ErrName, name)
	}
	return nil
}

// OpenAt is openat(2). The error is a plain errno.
func OpenAt(dirfd int, name string, flags int, mode uint32) (int, error) {
	return sys.Openat(dirfd, name, flags, mode)
}
