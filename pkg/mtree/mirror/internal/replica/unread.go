package replica

import (
	"errors"
	"time"

	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/filetime"
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

// readUnread takes over what an earlier mirror left, but not what a watch left.
func (r *Replica) readUnread() {
	r.unread.lines = map[string]state.Unread{}
	left, err := r.marker.ReadExceptions()
	switch {
	case err != nil || r.tree.Role == state.Source:
		r.unread.dirty = true
	case len(left.Unread) > 0:
		r.unread.lines, r.unread.known = left.Unread, r.status.Unread > 0
	}
}

// Deny notes that the source does not give a directory. It does nothing if the copy
// has that directory whole.
func (r *Replica) Deny(path string) {
	u := &r.unread
	if u.lines == nil {
		return // opened for reading only
	}
	dir, err := r.Dir(path)
	if err != nil {
		return
	}
	defer dir.Close()
	info, err := dir.Self()
	if err != nil {
		return
	}
	record, had := r.Record(dir, path)
	was, named := u.lines[path]
	if had && filetime.SameStored(info.MTime, record.Stamp) || named && was.Inode == info.Node.Ino || !named && len(u.lines) >= state.MaxUnread {
		return
	}
	u.lines[path], u.dirty = state.Unread{Inode: info.Node.Ino}, true
	u.turn++
}

// Give notes that the source gives a directory: it is published again, as unfinished
// until it is complete.
func (r *Replica) Give(path string) {
	u := &r.unread
	if _, named := u.lines[path]; named {
		delete(u.lines, path)
		u.dirty = true
		u.turn++
	}
}

// WriteUnread writes the file, if it is not up to date. It is called before anything
// above those directories is stamped. Readers who know of none yet look at the status
// now and then only: for them it waits, once, some 300 ms.
func (r *Replica) WriteUnread() error {
	u := &r.unread
	if !u.dirty || u.lines == nil {
		return nil
	}
	u.number = max(u.number+1, time.Now().UnixNano())
	err := errors.Join(r.marker.WriteStamps(nil, u.number, false), r.marker.WriteUnread(u.lines, u.number, false))
	if err != nil {
		return exit.With(exit.Local, err, "")
	}
	first := len(u.lines) > 0 && !u.known
	u.dirty, u.known = false, len(u.lines) > 0
	if !first {
		return nil
	}
	err = r.UpdateStatus(func(*state.Status) bool { return true })
	<-time.After(state.StatusLag)
	return err
}
