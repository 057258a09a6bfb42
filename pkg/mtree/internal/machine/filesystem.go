package machine

import (
	"encoding/hex"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/sys"
)

// FileSystem identifies the file system or subvolume on which fd lies, whatever the
// device numbers of this boot are. It is "" where nothing lasting is known: on NFS, on
// FUSE, and on xfs before Linux 6.9. Cost: fstatfs and at most an ioctl.
func FileSystem(fd int) string {
	var st unix.Statfs_t
	if err := sys.Fstatfs(fd, &st); err != nil {
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
	return uuid(fd)
}

const zfsMagic = 0x2fc12fc1

// distant are file systems (statfs(2)) that a server keeps, or another process, and their names.
var distant = map[int64]string{
	unix.NFS_SUPER_MAGIC:  "NFS",
	unix.FUSE_SUPER_MAGIC: "FUSE",
	unix.SMB_SUPER_MAGIC:  "SMB",
	unix.CIFS_SUPER_MAGIC: "SMB",
	unix.SMB2_SUPER_MAGIC: "SMB",
	unix.V9FS_MAGIC:       "9P",
	unix.CEPH_SUPER_MAGIC: "Ceph",
	unix.AFS_SUPER_MAGIC:  "AFS",
	unix.AFS_FS_MAGIC:     "AFS",
	unix.CODA_SUPER_MAGIC: "Coda",
}

// Distant returns the name of the file system on which fd lies, if a server or another process
// keeps it; "" if this kernel does. This kernel does not see what is changed on a distant one by
// others, nor at once, and the ctimes there may be of another clock than ours. Cost: fstatfs.
func Distant(fd int) (name string, err error) {
	var st unix.Statfs_t
	if err := sys.Fstatfs(fd, &st); err != nil {
		return "", fmt.Errorf("fstatfs: %w", err)
	}
	return distant[int64(uint32(st.Type))], nil
}

// getUUID is FS_IOC_GETFSUUID of linux/fs.h.
const getUUID = 0x80111500

// btrfsInfo is BTRFS_IOC_FS_INFO of linux/btrfs.h.
const btrfsInfo = 0x8400941f

// btrfsID returns the id under which the kernel has a file system of btrfs. That is its UUID,
// or another one if a clone of it is mounted, too. btrfs does not answer getUUID.
func btrfsID(fd int) string {
	var info struct {
		maxID, devices uint64
		id             [16]byte
		_              [1024 - 32]byte
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), btrfsInfo, uintptr(unsafe.Pointer(&info))); errno != 0 {
		return ""
	}
	return hex.EncodeToString(info.id[:])
}

// uuid returns the file system's UUID, since Linux 6.9.
func uuid(fd int) string {
	var u struct {
		size byte
		uuid [16]byte
	}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), getUUID, uintptr(unsafe.Pointer(&u)))
	if errno != 0 || u.size == 0 || int(u.size) > len(u.uuid) {
		return ""
	}
	return hex.EncodeToString(u.uuid[:u.size])
}
