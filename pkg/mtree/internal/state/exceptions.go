package state

import (
	"fmt"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
)

// Exceptions are the directories whose time is not their stamp, or that are not
// published: the files .tidemark/stamps and .tidemark/unread, with at most MaxStamps and
// MaxUnread lines.
//
//	tidemark stamps NUMBER
//	STAMP<TAB>INODE<TAB>PATH
//	#end 1
//
//	tidemark unread NUMBER
//	-<TAB>INODE<TAB>PATH
//	#end 1
//
// NUMBER is new in each version of a file, PATH is escaped as in listings. A line counts
// for the directory at PATH only if that has this inode. A + in unread says that the
// directory can be read again, but the directories above it have no new stamp yet:
// readers ignore such a line, a starting watch treats it like the others.
//
// Both files are written before the directories above are stamped. A nil Exceptions is
// empty. A mirror writes unread, too, for directories that its source could not read.
type Exceptions struct {
	Stamps map[string]Refusal // by path: directories that refuse their time
	Unread map[string]Unread  // by path: directories that watch is not allowed to read
}

// Refusal is the stamp of a directory that does not show it.
type Refusal struct {
	Inode uint64
	Stamp mtree.Stamp
}

// Unread is a directory that is not published.
type Unread struct {
	Inode  uint64
	Opened bool // it can be read again
}

// Bounds of the two files: lines, and bytes of the paths in one file.
const (
	MaxStamps         = 10_000
	MaxUnread         = 1_000
	MaxExceptionBytes = 4 << 20
)

// ErrUnread says that watch is not allowed to read a directory or one above it, so
// nothing keeps the stamps in it.
var ErrUnread = fmt.Errorf("watch may not read it: %w", unix.EACCES)

// StampOf returns the stamp of the directory at path with this inode; false if a has no
// stamp for it.
func (a *Exceptions) StampOf(path string, inode uint64) (mtree.Stamp, bool) {
	if a == nil {
		return mtree.Stamp{}, false
	}
	have, ok := a.Stamps[path]
	return have.Stamp, ok && have.Inode == inode
}

// Refuses reports whether a has the stamp of the directory at path, which refuses it.
func (a *Exceptions) Refuses(path string) bool {
	if a == nil {
		return false
	}
	_, ok := a.Stamps[path]
	return ok
}

// AnyStamps reports whether a has the stamp of any directory.
func (a *Exceptions) AnyStamps() bool { return a != nil && len(a.Stamps) > 0 }

// Vouched returns ErrUnread if the directory at path below root is, or lies in, one
// that watch is not allowed to read. Cost: nothing unless a names one of them, then
// StatPath.
func (a *Exceptions) Vouched(root *disk.Dir, path string) error {
	if a == nil || len(a.Unread) == 0 {
		return nil
	}
	for end := range len(path) + 1 {
		if end < len(path) && path[end] != '/' {
			continue
		}
		have, ok := a.Unread[path[:end]]
		if !ok || have.Opened {
			continue
		}
		info, err := root.StatPath(path[:end], true)
		if err != nil && !disk.IsGone(err) || err == nil && (have.Inode == 0 || info.Node.Ino == have.Inode) { // guard: TestUnreadWithoutAnInode
			return root.PathError("open", path, ErrUnread)
		}
	}
	return nil
}
