package replica

import (
	"errors"
	"maps"
	"slices"
	"time"

	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
)

// readUnread takes over the list of an earlier mirror, but not that of a watch.
func (r *Replica) readUnread() {
	r.unread.lines = map[string]state.Unread{}
	left, err := r.marker.ReadExceptions()
	switch {
	case err != nil || r.tree.Role == state.Source:
		r.unread.dirty = true
	case len(left.Unread) > 0:
		r.removed.Store(true) // perhaps: the earlier mirror may have been killed
		r.unread.lines, r.unread.known = left.Unread, r.status.Unread > 0
	}
}

// forget takes directories off the list that the copy no longer has, or has no more as what
// they were: else it would be full one day. Cost, if a directory was deleted: an openat2 and a
// statx for each.
func (r *Replica) forget() {
	if len(r.unread.lines) == 0 || !r.removed.Swap(false) {
		return
	}
	for _, path := range slices.Sorted(maps.Keys(r.unread.lines)) {
		line := r.unread.lines[path]
		if info, err := r.Root.StatPath(path, false); disk.IsGone(err) || err == nil && info.Node.Ino != line.Inode {
			r.unread.give(path)
		}
	}
}

// Deny notes that the source refuses to list a directory. It does nothing if the copy of
// that directory is complete.
func (r *Replica) Deny(path string) {
	if r.ReadOnly {
		return
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
	if record, had, _ := r.Record(dir, path); !had || !record.IsStored(info.MTime) {
		if len(r.unread.lines) >= state.MaxUnread {
			r.forget()
		}
		r.unread.deny(path, info.Node.Ino)
	}
}

// Give notes that the source lists a directory. It is published again, as unfinished
// until it is complete.
func (r *Replica) Give(path string) { r.unread.give(path) }

// WriteUnread writes the file, if it is not up to date. It must be called before anything
// above those directories is stamped. Readers that know of no such directory only look at
// the status now and then. So the first time, WriteUnread waits for them, about 300 ms.
func (r *Replica) WriteUnread() error {
	u := &r.unread
	if r.forget(); !u.dirty {
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
