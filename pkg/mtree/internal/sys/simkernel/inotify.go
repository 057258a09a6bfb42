package simkernel

import (
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"
)

// queue is an inotify instance.
type queue struct {
	k       *Kernel
	lastWD  int32
	watches map[int32]*watch
	events  []event
	full    bool
	ended   bool
	news    chan struct{} // closed when something happens
}

type watch struct {
	queue *queue
	wd    int32
	node  *inode
	mask  uint32
}

type event struct {
	wd           int32
	mask, cookie uint32
	name         string
}

// size returns the length of an event in bytes.
func (e event) size() int { return unix.SizeofInotifyEvent + padded(e.name) }

func padded(name string) int {
	if name == "" {
		return 0
	}
	return (len(name) + 1 + 15) / 16 * 16
}

// add puts an event into the queue, unless it equals the last one.
func (q *queue) add(e event) {
	if q.ended {
		return
	}
	if n := len(q.events); n > 0 && q.events[n-1] == e {
		return
	}
	if len(q.events) >= q.k.Queue {
		if q.full {
			return
		}
		q.full = true
		e = event{wd: -1, mask: unix.IN_Q_OVERFLOW}
	}
	q.events = append(q.events, e)
	q.wake()
}

func (q *queue) wake() {
	if q.news != nil {
		close(q.news)
		q.news = nil
	}
}

func (q *queue) end() {
	q.ended = true
	q.wake()
	for _, w := range q.watches {
		w.node.watchedBy = slices.DeleteFunc(w.node.watchedBy, func(other *watch) bool { return other == w })
	}
}

// take returns events of at most room bytes.
func (q *queue) take(room int) ([]byte, error) {
	if len(q.events) == 0 {
		return nil, unix.EAGAIN
	}
	var raw []byte
	for len(q.events) > 0 && len(raw)+q.events[0].size() <= room {
		e := q.events[0]
		q.events = q.events[1:]
		raw = binary.NativeEndian.AppendUint32(raw, uint32(e.wd))
		raw = binary.NativeEndian.AppendUint32(raw, e.mask)
		raw = binary.NativeEndian.AppendUint32(raw, e.cookie)
		raw = binary.NativeEndian.AppendUint32(raw, uint32(padded(e.name)))
		raw = append(append(raw, e.name...), make([]byte, padded(e.name)-len(e.name))...)
		if e.mask == unix.IN_Q_OVERFLOW {
			q.full = false
		}
	}
	if raw == nil {
		return nil, unix.EINVAL
	}
	return raw, nil
}

// drop ends a watch.
func (q *queue) drop(w *watch) {
	delete(q.watches, w.wd)
	w.node.watchedBy = slices.DeleteFunc(w.node.watchedBy, func(other *watch) bool { return other == w })
	q.add(event{wd: w.wd, mask: unix.IN_IGNORED})
}

// tell tells of n, which has the name d, to those who watch its directory and n itself.
func (k *Kernel) tell(d *dentry, n *inode, mask uint32) { k.tellFile(d, n, mask, false) }

// tellFile is tell for what is done through an open file. Only that is not told of a name
// which is removed, to those who do not want it (IN_EXCL_UNLINK).
func (k *Kernel) tellFile(d *dentry, n *inode, mask uint32, opened bool) {
	if n.isDir() {
		mask |= unix.IN_ISDIR
	}
	if d != nil {
		k.tellOf(d.parent, d.name, opened && d.gone, mask, 0)
	}
	k.tellSelf(n, mask)
}

// tellOf tells of a name in dir.
func (k *Kernel) tellOf(dir *inode, name string, unlinked bool, mask, cookie uint32) {
	for _, w := range dir.watchedBy {
		if w.mask&mask&unix.IN_ALL_EVENTS != 0 && !(unlinked && w.mask&unix.IN_EXCL_UNLINK != 0) {
			w.queue.add(event{wd: w.wd, mask: mask, cookie: cookie, name: name})
		}
	}
}

func (k *Kernel) tellSelf(n *inode, mask uint32) {
	for _, w := range n.watchedBy {
		if w.mask&mask&unix.IN_ALL_EVENTS != 0 {
			w.queue.add(event{wd: w.wd, mask: mask})
		}
	}
}

// kindBit is IN_ISDIR for directories.
func (n *inode) kindBit() uint32 {
	if n.isDir() {
		return unix.IN_ISDIR
	}
	return 0
}

// inodeGone tells that an inode ended, and ends its watches.
func (k *Kernel) inodeGone(n *inode) {
	k.tellSelf(n, unix.IN_DELETE_SELF)
	for _, w := range slices.Clone(n.watchedBy) {
		w.queue.drop(w)
	}
}

// tellMoved tells of a rename.
func (k *Kernel) tellMoved(oldDir *inode, oldName string, newDir *inode, newName string, n *inode) {
	k.cookie++
	k.tellOf(oldDir, oldName, false, unix.IN_MOVED_FROM|n.kindBit(), k.cookie)
	k.tellOf(newDir, newName, false, unix.IN_MOVED_TO|n.kindBit(), k.cookie)
	k.tellSelf(n, unix.IN_MOVE_SELF)
}
