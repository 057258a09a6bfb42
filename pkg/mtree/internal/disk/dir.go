package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
)

// Dir is an open directory. All work below it goes through its descriptor and
// single names, never through joined paths, so nothing can be swapped for a
// symlink between a check and its use. A Dir may be used by several goroutines
// at once, except for Entries and Close.
type Dir struct {
	fd     int
	path   string // for messages only
	unseen bool   // nobody looks into it before it is whole
}

// Node identifies a file on one machine, whatever its name.
type Node struct{ Dev, Ino uint64 }

// Info is what statx(2) tells about one file.
type Info struct {
	Kind      mtree.Kind
	Mode      uint32 // permission bits, 07777
	Size      int64  // bytes
	MTime     mtree.Stamp
	CTime     mtree.Stamp
	BTime     mtree.Stamp // birth, zero where the file system keeps none
	Node      Node
	Links     uint32
	UID, GID  uint32
	MountRoot bool // root of a mount: another file system begins here
}

// OpenRoot opens the directory at path, following symlinks: the root of a tree
// is named by its user. Errors are *fs.PathError.
func OpenRoot(path string) (*Dir, error) {
	fd, err := OpenAt(unix.AT_FDCWD, path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return &Dir{fd: fd, path: path}, nil
}

// OpenDir opens the subdirectory name; a symlink is not followed (ENOTDIR).
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

// OpenDirPath opens a directory several components below d ("" is d itself,
// opened anew) with one openat2(2): no symlink is followed, no mount is crossed
// unless crossMounts.
func (d *Dir) OpenDirPath(path string, crossMounts bool) (*Dir, error) {
	if path == "" {
		path = "."
	}
	how := beneath(unix.O_RDONLY|unix.O_DIRECTORY, crossMounts)
	fd, err := openat2(d.fd, path, &how)
	if err != nil {
		return nil, d.PathError("open", path, err)
	}
	return &Dir{fd: fd, path: d.path + "/" + path}, nil
}

// OpenPath opens what is at a path below d to be looked at only (O_PATH), with the
// rules of OpenDirPath.
func (d *Dir) OpenPath(path string, crossMounts bool) (*Dir, error) {
	how := beneath(unix.O_PATH, crossMounts)
	fd, err := openat2(d.fd, path, &how)
	if err != nil {
		return nil, d.PathError("open", path, err)
	}
	return &Dir{fd: fd, path: d.path + "/" + path}, nil
}

// OpenFile opens the regular file name for reading without following a symlink
// or blocking on a FIFO, and returns it with what fstat shows. What is no
// regular file gives ErrNotRegular.
func (d *Dir) OpenFile(name string) (*os.File, Info, error) {
	if err := checkComponent(name); err != nil {
		return nil, Info{}, d.PathError("open", name, err)
	}
	fd, err := OpenAt(d.fd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, Info{}, d.PathError("open", name, err)
	}
	return d.regular(fd, name)
}

// regular turns fd into a file if it is a regular one, else closes it.
func (d *Dir) regular(fd int, name string) (*os.File, Info, error) {
	info, err := StatFD(fd)
	if err == nil && info.Kind != mtree.File {
		err = ErrNotRegular
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, Info{}, d.PathError("open", name, err)
	}
	return os.NewFile(uintptr(fd), d.path+"/"+name), info, nil
}

// StatFile is fstat of an open file.
func StatFile(f *os.File) (Info, error) {
	info, err := StatFD(int(f.Fd()))
	if err != nil {
		return Info{}, &fs.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	return info, nil
}

// ErrNotRegular is returned where a regular file was wanted.
var ErrNotRegular = errors.New("not a regular file")

// NewDir returns the open directory fd as a Dir, which owns it from then on. path is
// its name in messages.
func NewDir(fd int, path string) *Dir { return &Dir{fd: fd, path: path} }

// Close releases the descriptor.
func (d *Dir) Close() error { return unix.Close(d.fd) }

// Path returns the name d was opened by, for messages. It may be out of date.
func (d *Dir) Path() string { return d.path }

// FD returns the descriptor, for system calls of this package's neighbours. It
// stays owned by d.
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

// Readlink returns the target of the symlink name, raw.
func (d *Dir) Readlink(name string) (string, error) {
	if err := checkComponent(name); err != nil {
		return "", d.PathError("readlink", name, err)
	}
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(d.fd, name, buf)
	if err != nil {
		return "", d.PathError("readlink", name, err)
	}
	return string(buf[:n]), nil
}

// placeholderIno is the inode number of every placeholder
// (BTRFS_EMPTY_SUBVOL_DIR_OBJECTID).
const placeholderIno = 2

// IsPlaceholder reports whether the directory stands in a btrfs snapshot where a
// subvolume was nested: it is empty, nobody can put anything in it, and it has
// another time whenever it is looked up, whatever was set. info is what Self
// returned. Cost: one fstatfs for inodes 2.
func (d *Dir) IsPlaceholder(info Info) bool {
	var fs unix.Statfs_t
	return info.Node.Ino == placeholderIno && unix.Fstatfs(d.fd, &fs) == nil && fs.Type == unix.BTRFS_SUPER_MAGIC
}

// SetTime sets the directory's own mtime by its descriptor and leaves the
// atime; the file system rounds down to its granule. It needs ownership or
// CAP_FOWNER (EPERM, EROFS).
func (d *Dir) SetTime(mtime mtree.Stamp) error {
	if err := SetTimeFD(d.fd, mtime); err != nil {
		return &fs.PathError{Op: "utimensat", Path: d.path, Err: err}
	}
	return nil
}

// SetEntryTime sets the mtime of the entry name, of a symlink its own. Where
// something is mounted it gives ErrMount.
func (d *Dir) SetEntryTime(name string, mtime mtree.Stamp) error {
	if err := d.notMounted(name); err != nil {
		return d.PathError("utimensat", name, err)
	}
	var st unix.Stat_t
	if err := unix.Fstatat(d.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return d.PathError("stat", name, err)
	}
	times := timespecs(st.Atim, mtime)
	if err := unix.UtimesNanoAt(d.fd, name, times[:], unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return d.PathError("utimensat", name, err)
	}
	return nil
}

// PathError returns err of the operation op on the entry name, with the whole path.
func (d *Dir) PathError(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: d.path + "/" + name, Err: err}
}

// checkComponent refuses what could leave the directory. Unlike
// mtree.CheckName it lets MarkerName pass.
func checkComponent(name string) error {
	if name == "" || name == "." || name == ".." || strings.IndexByte(name, '/') >= 0 {
		return fmt.Errorf("%w: %q", mtree.ErrName, name)
	}
	return nil
}

// timespecs sets the mtime and the atime to what it is. UTIME_OMIT would leave
// it as well, but libfuse 2 sets nothing at all unless both times are given, and
// reports success.
func timespecs(atime unix.Timespec, mtime mtree.Stamp) [2]unix.Timespec {
	sec, nsec := mtime.Unix()
	return [2]unix.Timespec{atime, {Sec: sec, Nsec: nsec}}
}

// futimensNow is futimens with the present as the atime, which saves asking for
// it.
func futimensNow(fd int, mtime mtree.Stamp) error {
	times := timespecs(unix.Timespec{Nsec: unix.UTIME_NOW}, mtime)
	return utimensat(fd, &times)
}

// futimens is utimensat(fd, NULL, times, 0), which libc calls SetTimeFD(3).
func SetTimeFD(fd int, mtime mtree.Stamp) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	times := timespecs(st.Atim, mtime)
	return utimensat(fd, &times)
}

func utimensat(fd int, times *[2]unix.Timespec) error {
	_, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(times)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

const statMask = unix.STATX_BASIC_STATS | unix.STATX_BTIME

// StatFD is fstat of an open descriptor. The error is a plain errno.
func StatFD(fd int) (Info, error) {
	var empty [1]byte
	return statAt(fd, &empty[0], unix.AT_EMPTY_PATH)
}

// statAt is statx(2) with the name as a NUL-ended string, so that names in a
// getdents buffer need no copy.
func statAt(fd int, name *byte, flags int) (Info, error) { return statx(fd, name, flags, false) }

// statx is statAt; quick says that the scheduler is not told of the call: no
// other goroutine runs on this processor until the kernel answers.
func statx(fd int, name *byte, flags int, quick bool) (Info, error) {
	var stx unix.Statx_t
	for {
		var errno unix.Errno
		if quick {
			_, _, errno = unix.RawSyscall6(unix.SYS_STATX, uintptr(fd), uintptr(unsafe.Pointer(name)),
				uintptr(flags), statMask, uintptr(unsafe.Pointer(&stx)), 0)
		} else {
			_, _, errno = unix.Syscall6(unix.SYS_STATX, uintptr(fd), uintptr(unsafe.Pointer(name)),
				uintptr(flags), statMask, uintptr(unsafe.Pointer(&stx)), 0)
		}
		runtime.KeepAlive(name)
		switch errno {
		case 0:
			return infoOf(&stx), nil
		case unix.EINTR:
			continue
		}
		return Info{}, errno
	}
}

func infoOf(stx *unix.Statx_t) Info {
	info := Info{
		Mode:      uint32(stx.Mode) & 0o7777,
		Size:      int64(stx.Size),
		MTime:     mtree.Unix(stx.Mtime.Sec, int64(stx.Mtime.Nsec)),
		CTime:     mtree.Unix(stx.Ctime.Sec, int64(stx.Ctime.Nsec)),
		Node:      Node{unix.Mkdev(stx.Dev_major, stx.Dev_minor), stx.Ino},
		Links:     stx.Nlink,
		UID:       stx.Uid,
		GID:       stx.Gid,
		MountRoot: stx.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0,
	}
	if stx.Mask&unix.STATX_BTIME != 0 {
		info.BTime = mtree.Unix(stx.Btime.Sec, int64(stx.Btime.Nsec))
	}
	switch stx.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		info.Kind = mtree.File
	case unix.S_IFDIR:
		info.Kind = mtree.Dir
	case unix.S_IFLNK:
		info.Kind = mtree.Symlink
	}
	return info
}

// OpenAt is openat(2), again after EINTR. The error is a plain errno.
func OpenAt(dirfd int, name string, flags int, mode uint32) (int, error) {
	for {
		fd, err := unix.Openat(dirfd, name, flags, mode)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// IsBorder reports whether another file system begins at child of parent: a
// directory, or something else that was mounted over a file. Of files the device
// says nothing, for overlayfs tells them by those below it.
func IsBorder(parent, child Info) bool {
	return child.MountRoot || child.Kind == mtree.Dir && child.Node.Dev != parent.Node.Dev
}
