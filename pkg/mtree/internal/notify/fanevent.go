package notify

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/notify/internal/handles"
)

const (
	// heardMask is what is heard of the whole file system.
	heardMask = unix.FAN_CREATE | unix.FAN_DELETE | unix.FAN_MOVED_FROM | unix.FAN_MOVED_TO |
		unix.FAN_MODIFY | unix.FAN_CLOSE_WRITE | unix.FAN_ATTRIB | unix.FAN_ONDIR
	// namesMask is what is heard of the marker directory.
	namesMask = unix.FAN_CREATE | unix.FAN_DELETE | unix.FAN_MOVED_FROM | unix.FAN_MOVED_TO
	selfMask  = unix.FAN_DELETE_SELF | unix.FAN_MOVE_SELF
)

// fanEvent is struct fanotify_event_metadata with its records of the directory and of the
// file. Handles are as handles.Of gives them.
type fanEvent struct {
	mask uint64
	pid  int32
	dir  []byte // handle of the directory; empty if the event has none
	name []byte // "." for the directory itself
	file []byte // handle of the file with that name; empty if the event has none
}

// Sizes of the kernel's structs.
const (
	fanMetadata = 24 // event_len u32, vers u8, reserved u8, metadata_len u16, mask u64, fd s32, pid s32
	fanHeader   = 4  // info_type u8, pad u8, len u16
)

// nextFanEvent splits the first event off raw; size 0 ends the buffer.
func nextFanEvent(raw []byte) (e fanEvent, size int) {
	if len(raw) < fanMetadata {
		return e, 0
	}
	size = int(binary.NativeEndian.Uint32(raw))
	if size < fanMetadata || size > len(raw) {
		return e, 0
	}
	e.mask = binary.NativeEndian.Uint64(raw[8:])
	e.pid = int32(binary.NativeEndian.Uint32(raw[20:]))
	info := raw[min(int(binary.NativeEndian.Uint16(raw[6:])), size):size]
	for len(info) >= fanHeader {
		length := int(binary.NativeEndian.Uint16(info[2:]))
		if length < fanHeader || length > len(info) {
			break
		}
		switch info[0] {
		case unix.FAN_EVENT_INFO_TYPE_DFID_NAME:
			var name []byte
			e.dir, name = splitRecord(info[fanHeader:length])
			e.name = untilNUL(name)
		case unix.FAN_EVENT_INFO_TYPE_FID:
			e.file, _ = splitRecord(info[fanHeader:length])
		}
		info = info[length:]
	}
	return e, size
}

// splitRecord returns the handle at the start of a record, and the name after it.
func splitRecord(record []byte) (handle, name []byte) {
	if len(record) < handles.FSIDSize+handles.HeaderSize {
		return nil, nil
	}
	end := handles.FSIDSize + handles.HeaderSize + int(binary.NativeEndian.Uint32(record[handles.FSIDSize:]))
	if end > len(record) {
		return nil, nil
	}
	return record[:end], record[end:]
}

// hasNoDir reports whether the event is of a file without a directory.
//
// If a file is opened by its handle (open_by_handle_at(2), the kernel's NFS server) while
// no name of it is cached, the kernel finds the inode, but not its directory. The events
// of the file then have its handle, but neither a directory nor a name. Once the file was
// looked up by name, the kernel knows that name, and the handle leads to it. An audit
// looks up all names. So such an event counts as a loss if the file cannot be found;
// after the audit, the next event of the same file does not.
func (e fanEvent) hasNoDir() bool { return len(e.dir) == 0 && len(e.file) > 0 }

// isLinkCount reports whether the event may be that of a link count: it is one of
// attributes only.
//
// An unlink, a link and a rename over a file change the file's link count. The event of
// that has no directory either. Another event names the directory: see linkCounts.
func (e fanEvent) isLinkCount() bool { return e.hasNoDir() && e.mask == unix.FAN_ATTRIB }

// isDir reports whether the event is of a directory.
func (e fanEvent) isDir() bool { return e.mask&unix.FAN_ONDIR != 0 }

// isDirMove reports whether a directory was renamed.
func (e fanEvent) isDirMove() bool {
	return e.isDir() && e.mask&(unix.FAN_MOVED_FROM|unix.FAN_MOVED_TO) != 0
}
