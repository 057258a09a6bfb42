package ownwrites

import "tidemark/pkg/mtree/internal/disk"

// Awaited counts our own writes whose events come with the next Take: inotify does not say who set a
// time. Where other things happened in a directory since, what it shows does not tell either
// (Memory.Untouched). So its events are counted: as many as we wrote are ours. The zero Awaited
// is ready. One goroutine uses it. Memory: some 70 bytes for each directory that was stamped
// since the last Take.
type Awaited struct {
	writes map[disk.Node]awaited
	tells  bool
	last   disk.Node // the directory that was written last
}

// awaited are our own writes of one directory.
type awaited struct {
	count          int
	mode, uid, gid uint32 // after the last
}

// Add adds a write. before and after are fstat before and after it. merges says that no other
// directory has an event of it: then the kernel makes one event of two that follow each other.
// So several writes that follow each other count as one, and none if somebody else had set times or
// mode last.
func (a *Awaited) Add(m *Memory, before, after disk.Info, merges bool) {
	have := a.writes[after.Node]
	if a.tells = true; merges && a.last == after.Node { // guard (without a.last): TestAwaitedOfTwoThatAreOne
		have.count = 0
	}
	a.last = after.Node
	if merges && before.MTime != before.CTime && !m.Has(before) { // guard: TestAwaitedOfTwoThatAreOne
		return
	}
	if a.writes == nil {
		a.writes = map[disk.Node]awaited{}
	}
	a.writes[after.Node] = awaited{have.count + 1, after.Mode, after.UID, after.GID}
}

// Heard says how many events of a directory's own attributes came; info is fstat of it now. It
// reports whether we wrote that often since the last Clear: if all events up to now are there,
// they are ours. Where two may be merged, one of somebody else may pass for ours.
func (a *Awaited) Heard(info disk.Info, events int) bool {
	have := a.writes[info.Node]
	delete(a.writes, info.Node)
	if have.count > events { // the others are still to come
		a.writes[info.Node] = awaited{have.count - events, have.mode, have.uid, have.gid}
	}
	return have.count >= events &&
		have.mode == info.Mode && have.uid == info.UID && have.gid == info.GID // guard: TestAwaitedOfTwoThatAreOne
}

// TellsOurs reports whether the source tells of our own writes. Before the first one, that makes no
// difference.
func (a *Awaited) TellsOurs() bool { return a.tells }

// Clear says that the events of the writes so far came, or were lost.
func (a *Awaited) Clear() { clear(a.writes) }
