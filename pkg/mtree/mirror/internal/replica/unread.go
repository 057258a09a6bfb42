package replica

import (
	"tidemark/pkg/mtree/internal/state"
)

// unread has the directories that the source refuses to list and that were never complete
// in the copy. They are listed in .tidemark/unread, and a serve of the copy answers 403
// for them, as the source does. If it published them as unfinished, no copy of this copy
// would ever be complete. The goroutine that runs passes owns it.
type unread struct {
	lines  map[string]state.Unread // by path
	number int64                   // of the last writing
	turn   int64                   // changes whenever a directory is added or removed
	dirty  bool                    // the file differs from lines
	known  bool                    // readers know that the file has lines
}

// deny adds a directory with its inode. It does nothing if the directory is known with
// that inode, or if there are too many.
func (u *unread) deny(path string, inode uint64) {
	was, named := u.lines[path]
	if named && was.Inode == inode || !named && len(u.lines) >= state.MaxUnread {
		return
	}
	u.lines[path], u.dirty = state.Unread{Inode: inode}, true
	u.turn++
}

// give removes a directory.
func (u *unread) give(path string) {
	if _, named := u.lines[path]; named {
		delete(u.lines, path)
		u.dirty = true
		u.turn++
	}
}
