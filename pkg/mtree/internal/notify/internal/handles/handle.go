package handles

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Sizes of the parts of a handle, in bytes.
const (
	FSIDSize   = 8 // id of the file system
	HeaderSize = 8 // of struct file_handle: handle_bytes u32, handle_type s32
)

// Of returns the handle of the file open as fd, as events of fanotify give it: the id of
// the file system, then struct file_handle.
func Of(fd int) (string, error) {
	handle, _, err := unix.NameToHandleAt(fd, "", unix.AT_EMPTY_PATH)
	if err != nil {
		return "", fmt.Errorf("name_to_handle_at: %w", err)
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return "", fmt.Errorf("fstatfs: %w", err)
	}
	id := make([]byte, 0, FSIDSize+HeaderSize+handle.Size())
	id = append(id, unsafe.Slice((*byte)(unsafe.Pointer(&fs.Fsid)), FSIDSize)...)
	id = binary.NativeEndian.AppendUint32(id, uint32(handle.Size()))
	id = binary.NativeEndian.AppendUint32(id, uint32(handle.Type()))
	return string(append(id, handle.Bytes()...)), nil
}

// split returns the file handle in a handle of Of.
func split(id string) unix.FileHandle {
	kind := int32(binary.NativeEndian.Uint32([]byte(id[FSIDSize+4:])))
	return unix.NewFileHandle(kind, []byte(id[FSIDSize+HeaderSize:]))
}

// inode identifies a directory, as long as it cannot be removed and its number used
// again.
type inode struct{ dev, ino uint64 }

func inodeOf(st *unix.Stat_t) inode { return inode{st.Dev, st.Ino} }

func procFD(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// readlink returns the path of the file open as fd; unix.ENAMETOOLONG if it is longer than
// 4,095 bytes.
func readlink(fd int) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlink(procFD(fd), buf)
	return string(buf[:max(n, 0)]), err
}
