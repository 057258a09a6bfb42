package notify

import (
	"fmt"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/sys"
)

// unheard are file systems (statfs(2)) with changes that this kernel does not see: those
// made on a server, or by its other clients.
var unheard = map[int64]string{
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

// Supported returns why not all changes on the file system of the directory open as fd
// can be heard, nil if they can.
func Supported(fd int) error {
	var fs unix.Statfs_t
	if err := sys.Fstatfs(fd, &fs); err != nil {
		return fmt.Errorf("fstatfs: %w", err)
	}
	if name := unheard[int64(uint32(fs.Type))]; name != "" {
		return fmt.Errorf("%s sends no events for changes made elsewhere", name)
	}
	return nil
}
