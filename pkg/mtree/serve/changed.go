package serve

import (
	"errors"

	"tidemark/pkg/mtree/internal/disk"
)

// errChanged says that a file is no longer the one whose ETag was announced.
var errChanged = errors.New("the file changed while it was sent")

// unchanged returns errChanged if an open file is no longer what it was when it was
// opened, by everything that is in its ETag: size, mtime and ctime. It is the one rule
// for all that is sent as the file with a certain tag: answers to If-Match, whole or in
// part, members of tar streams, sums. It is asked after the last byte was read and
// before that byte is sent, so that nobody gets all bytes of a file that changed
// meanwhile.
//
// The ctime is compared though it also moves when only the mode or the number of hard
// links changes: contents that were replaced with the old mtime put back show by the
// ctime alone, and the listing shows the new ctime anyway, so the client has to ask
// again. Cost: one statx.
func unchanged(f *disk.Regular) error {
	now, err := f.Stat()
	if err == nil && (now.Size != f.Size || now.MTime != f.MTime || now.CTime != f.CTime) {
		err = errChanged
	}
	return err
}
