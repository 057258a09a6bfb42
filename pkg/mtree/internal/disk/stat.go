package disk

import (
	"io/fs"
	"runtime"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/sys"
)

// Node identifies a file on one machine, whatever its name.
type Node struct{ Dev, Ino uint64 }

// Info is what statx(2) shows of one file.
type Info struct {
	Kind      mtree.Kind
	Mode      uint32 // permission bits, 07777
	Size      int64  // bytes
	MTime     mtree.Stamp
	CTime     mtree.Stamp
	BTime     mtree.Stamp // birth; zero where the file system keeps none
	Node      Node
	Links     uint32
	UID, GID  uint32
	MountRoot bool // root of a mount: another file system begins here
}

// IsBorder reports whether another file system begins at child of parent: at a directory,
// or at something else that was mounted over a file. The device of a file proves nothing,
// because overlayfs shows the devices of its layers.
func IsBorder(parent, child Info) bool {
	return child.MountRoot || child.Kind == mtree.Dir && child.Node.Dev != parent.Node.Dev
}

// File is an open file: an *os.File, except in a simulation.
type File = sys.File

// StatFile is fstat of an open file.
func StatFile(f File) (Info, error) {
	info, err := StatFD(int(f.Fd()))
	if err != nil {
		return Info{}, &fs.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	return info, nil
}

// StatFD is fstat of an open descriptor. The error is a plain errno.
func StatFD(fd int) (Info, error) {
	var empty [1]byte
	return statAt(fd, &empty[0], unix.AT_EMPTY_PATH)
}

const statMask = unix.STATX_BASIC_STATS | unix.STATX_BTIME

// statAt is statx(2). The name must end in a NUL, so that names in a getdents buffer
// need no copy.
func statAt(fd int, name *byte, flags int) (Info, error) { return statx(fd, name, flags, false) }

// statx is statAt. With quick the scheduler does not learn of the call: no other
// goroutine runs on this processor until the kernel answers.
func statx(fd int, name *byte, flags int, quick bool) (Info, error) {
	var stx unix.Statx_t
	errno := sys.StatxName(fd, name, flags, statMask, &stx, quick)
	runtime.KeepAlive(name)
	if errno != 0 {
		return Info{}, errno
	}
	return infoOf(&stx), nil
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
