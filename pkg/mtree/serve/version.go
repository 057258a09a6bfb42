package serve

import (
	"errors"

	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/wire"
)

// tagOf returns the ETag of a file: it names the version that is sent under it.
func tagOf(info disk.Info) wire.FileTag {
	return wire.FileTag{MTime: info.MTime, Size: info.Size, CTime: info.CTime}
}

// errChanged says that a file is no longer the one whose ETag was announced.
var errChanged = errors.New("the file changed while it was sent")

// unchanged returns errChanged if an open file is no longer the version that its tag
// named when it was opened. It is the one rule for everything that is sent as a certain
// version: answers to If-Match, whole or in part, members of tar streams, sums. Call
// f.AwaitWrite before the first byte is read, and unchanged after the last was read and before
// that byte is sent: then nobody gets all bytes of a file that changed meanwhile. Cost: one statx.
//
// The ctime is in the tag though it also moves when only the mode or the number of hard
// links changes: if contents were replaced and the old mtime put back, only the ctime
// shows it.
func unchanged(f *disk.Regular) error {
	now, err := f.Stat()
	if err == nil && tagOf(now) != tagOf(f.Info) {
		err = errChanged
	}
	return err
}
