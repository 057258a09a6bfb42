package state

import (
	"encoding/hex"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/machine"
)

// FileSystem identifies the file system or subvolume that d lies on, whatever
// the device numbers of this boot: "" where nothing lasting is known, as on NFS,
// on FUSE, and on xfs before Linux 6.9. Cost: fstatfs and at most an ioctl.
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

// uuid asks for the file system's UUID, since Linux 6.9.
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

// Place tells d from the directories that may come under its path: by its file
// system, inode and birth time. Where no file system identity lasts, type and
// source of its mount stand for it ("nfs4 host:/export"), for those outlive a
// reboot.
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
