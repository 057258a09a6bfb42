package ownwrites

import "tidemark/pkg/mtree/internal/disk"

// Awaited counts our own writes whose events are still to come: inotify does not say who set a
// time. Where other things happened in a directory since, what it shows does not tell either
// (Memory.Untouched). So its events are counted: as many as we wrote are ours. The zero Awaited
// is ready. One goroutine uses it. Memory: some 70 bytes for each directory that was stamped
// since the last Clear.
type Awaited struct{ writes map[disk.Node]awaited }

// awaited are our own writes of one directory.
type awaited struct {
	count          int
	mode, uid, gid uint32 // after the last
}

// Add adds a write. before and after are fstat before and after it. If somebody else had set
// times or mode last, it does not count: the kernel makes one event of two that are equal and
// follow each other.
func (a *Awaited) Add(m *Memory, before, after disk.Info) {
	have := a.writes[after.Node]
	if before.MTime != before.CTime && !m.Has(before) { // guard: TestAwaitedOfTwoThatAreOne
		return
	}
	if a.writes == nil {
		a.writes = map[disk.Node]awaited{}
	}
	a.writes[after.Node] = awaited{have.count + 1, after.Mode, after.UID, after.GID}
}

// Heard says how many events of a directory's own attributes came; info is fstat of it now. It
// reports whether we wrote that often since the last Clear: if all events up to now are there,
// they are ours.
func (a *Awaited) Heard(info disk.Info, events int) bool {
	have := a.writes[info.Node]
	delete(a.writes, info.Node)
	if have.count > events { // the others are still to come
		a.writes[info.Node] = awaited{have.count - events, have.mode, have.uid, have.gid}
	}
	return have.count >= events &&
		have.mode == info.Mode && have.uid == info.UID && have.gid == info.GID // guard: TestAwaitedOfTwoThatAreOne
}

// Clear says that no events of the writes so far are still to come, or that some were lost.
func (a *Awaited) Clear() { clear(a.writes) }
