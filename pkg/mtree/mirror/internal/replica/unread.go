package replica

import (
	"tidemark/pkg/mtree/internal/state"
)

// unread has the directories that the source does not give and that the copy has
// never had whole: .tidemark/unread. Whoever publishes the copy answers 403 for them,
// as the source does. Were they published as unfinished, no copy of this copy would
// ever be complete. The goroutine that runs passes owns it.
type unread struct {
	lines  map[string]state.Unread // by path
	number int64                   // of the last writing
	turn   int64                   // changes whenever a directory comes or goes
	dirty  bool                    // the file does not hold this
	known  bool                    // readers know that the file holds something
}

// deny adds a directory with its inode; it does nothing if that is known, or if there are
// too many.
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
