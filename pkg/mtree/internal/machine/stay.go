package machine

import (
	"fmt"
	"path"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/sys"
)

// Stay identifies the time for which the kernel has had the file system of fd since it
// was mounted first: it is another one after the last unmount, also in one boot, and the
// same in all mount namespaces. A disk that was away may have lost what was not written. It
// is "" where that is not known: without sysfs, and on others than ext4, xfs, btrfs and f2fs.
//
// It is the number of the directory that the file system has in sysfs as long as it is
// mounted. The kernel does not give a number again before it ran out of them. Cost: fstat,
// fstatfs, readlink or an ioctl, and a few statx.
func Stay(fd int) string {
	var st unix.Stat_t
	var fs unix.Statfs_t
	if sys.Fstat(fd, &st) != nil || sys.Fstatfs(fd, &fs) != nil {
		return ""
	}
	if fs.Type == unix.BTRFS_SUPER_MAGIC {
		if u := btrfsID(fd); u != "" {
			return inSysfs("btrfs", u[:8]+"-"+u[8:12]+"-"+u[12:16]+"-"+u[16:20]+"-"+u[20:])
		}
		return ""
	}
	disk, err := sys.Readlink(fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev)))
	if err != nil {
		return ""
	}
	for _, kind := range []string{"ext4", "xfs", "f2fs"} {
		if mounted := inSysfs(kind, path.Base(disk)); mounted != "" {
			return mounted
		}
	}
	return ""
}

// inSysfs returns the number of a file system's directory, with its kind; "" if it has none.
func inSysfs(kind, name string) string {
	var stx unix.Statx_t
	if sys.Statx(unix.AT_FDCWD, "/sys/fs/"+kind+"/"+name, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_INO, &stx) != nil {
		return ""
	}
	return fmt.Sprintf("%s %d", kind, stx.Ino)
}
