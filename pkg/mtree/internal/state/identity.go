package state

import (
	"encoding/hex"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/machine"
)

// Root identifies the root of a tree among all directories.
type Root struct {
	disk.Info
	FS string // its file system, "" if nothing lasting is known of it
}

// RootOf returns what identifies d, for Tree.Bind and Tree.BoundTo. Cost: fstat,
// fstatfs, at most an ioctl.
func RootOf(d *disk.Dir) (Root, error) {
	info, err := d.Self()
	return Root{info, fileSystem(d)}, err
}

// PlaceOf returns a text that identifies d among the directories that may come to
// stand at its path: its file system, inode and birth time. Where no identity of the
// file system lasts, type and source of its mount are used instead
// ("nfs4 host:/export"), because they are the same after a reboot.
func PlaceOf(d *disk.Dir) (string, error) {
	root, err := RootOf(d)
	if err != nil {
		return "", err
	}
	where := root.FS
	if where == "" {
		where = machine.MountSource(d.FD())
	}
	if where == "" {
		where = fmt.Sprint(root.Node.Dev)
	}
	return fmt.Sprintf("%d %s %s", root.Node.Ino, root.BTime, where), nil
}

// Mount is a mount below the root of a tree, as the tree file records it.
type Mount struct {
	Path  string `json:"path"`            // below the root, escaped as in listings
	Place string `json:"place,omitempty"` // PlaceOf what is mounted; "" where watch does not enter it
}

// MountAt returns the record of the mount at a path below d. With entered the tree
// continues in it. It is opened by O_PATH, only to be looked at.
func MountAt(d *disk.Dir, at string, entered bool) Mount {
	m := Mount{Path: string(mtree.AppendEscaped(nil, at))}
	if !entered {
		return m
	}
	there, err := d.OpenPath(at, true)
	if err != nil {
		return m // another mount covers it
	}
	defer there.Close()
	m.Place, _ = PlaceOf(there)
	return m
}

// fileSystem identifies the file system or subvolume on which d lies, whatever the
// device numbers of this boot are. It is "" where nothing lasting is known: on NFS, on
// FUSE, and on xfs before Linux 6.9. Cost: fstatfs and at most an ioctl.
func fileSystem(d *disk.Dir) string {
	var st unix.Statfs_t
	if err := unix.Fstatfs(d.FD(), &st); err != nil {
		return ""
	}
	switch st.Type {
	case unix.BTRFS_SUPER_MAGIC, unix.EXT4_SUPER_MAGIC, unix.TMPFS_MAGIC, zfsMagic:
		// Made of the file system's UUID; btrfs mixes the subvolume in.
		if st.Fsid.Val != [2]int32{} {
			return fmt.Sprintf("%08x%08x", uint32(st.Fsid.Val[0]), uint32(st.Fsid.Val[1]))
		}
		return ""
	}
	return uuid(d)
}

const zfsMagic = 0x2fc12fc1

// getUUID is FS_IOC_GETFSUUID of linux/fs.h.
const getUUID = 0x80111500

// uuid returns the file system's UUID, since Linux 6.9.
func uuid(d *disk.Dir) string {
	var u struct {
		size byte
		uuid [16]byte
	}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(d.FD()), getUUID, uintptr(unsafe.Pointer(&u)))
	if errno != 0 || u.size == 0 || int(u.size) > len(u.uuid) {
		return ""
	}
	return hex.EncodeToString(u.uuid[:u.size])
}
