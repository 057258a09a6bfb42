package watch

import (
	"maps"
	"sync"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
)

// Limits of how long it is remembered what a write left on a directory: at
// least leftAge, which the audit looks back, and at most until so many
// directories were written that the memory is worth having back.
const (
	leftAge  = 10 * time.Second
	leftSize = 1 << 15 // records
)

// left is what fstat showed of a directory after our own write. As long as it
// still shows that, nobody else changed or moved it.
type left struct {
	mtime, ctime   mtree.Stamp
	mode, uid, gid uint32
	whole          bool // mode and owner are known: not read from the log
}

func leftBy(info disk.Info) left {
	return left{info.MTime, info.CTime, info.Mode, info.UID, info.GID, true}
}

func (l left) shows(info disk.Info) bool {
	return l.mtime == info.MTime && l.ctime == info.CTime &&
		(!l.whole || l.mode == info.Mode && l.uid == info.UID && l.gid == info.GID)
}

// leftovers remembers what our last writes left, in memory and, for the next
// start, in .tidemark. The writer puts while it holds mu, from before it sets a
// time until the record is there; so whoever asks under mu about what fstat
// shows then gets a true answer.
//
// Our write gives a directory a new ctime, and so wipes out the only trace of a
// rename just before it, whose event may wait, to be lost with a kill or an
// overflow. Hence a write is young, good for knowing our own events, until a
// Take that came after it has told of all such renames; only then does it prove
// to an audit that the directory did not arrive.
type leftovers struct {
	mu     sync.Mutex
	young  map[uint64]left // by inode: put since the last Take
	taken  map[uint64]left // put before it
	recent map[uint64]left // proof
	older  map[uint64]left
	since  mtree.Stamp // when recent was begun
	log    *disk.LeftLog
	unsent []disk.Left
}

func newLeftovers(log *disk.LeftLog, known []disk.Left, now mtree.Stamp) *leftovers {
	l := &leftovers{young: map[uint64]left{}, taken: map[uint64]left{}, recent: map[uint64]left{}, older: map[uint64]left{}, log: log, since: now}
	for _, k := range known {
		if have, ok := l.older[k.Inode]; !ok || have.ctime.Before(k.CTime) {
			l.older[k.Inode] = left{mtime: k.MTime, ctime: k.CTime}
		}
	}
	return l
}

// put records a write; mu is held. proven says that the directory showed proof
// before, or that events are no matter here.
func (l *leftovers) put(info disk.Info, proven bool) {
	if proven {
		l.prove(info.Node.Ino, leftBy(info))
		return
	}
	l.young[info.Node.Ino] = leftBy(info)
}

func (l *leftovers) prove(inode uint64, have left) {
	l.recent[inode] = have
	l.unsent = append(l.unsent, disk.Left{Inode: inode, MTime: have.mtime, CTime: have.ctime})
}

// take notes that a Take comes after all that was put so far.
func (l *leftovers) take() {
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.Copy(l.taken, l.young)
	clear(l.young)
}

// confirm makes proof of what was put before the Take: it left nothing unheard,
// and what it told of is published. It reports whether more waits for another.
func (l *leftovers) confirm() (more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for inode, have := range l.taken {
		l.prove(inode, have)
	}
	clear(l.taken)
	return len(l.young) > 0
}

// lost forgets what can never be proved.
func (l *leftovers) lost() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.young)
	clear(l.taken)
}

// untouched reports whether the directory still shows what our write left. One
// that was stamped while it was looked at is looked at again.
func (l *leftovers) untouched(d *disk.Dir, info disk.Info) bool { return l.still(d, info, l.knows) }

// stayed reports that it is untouched and did not arrive under its name since.
func (l *leftovers) stayed(d *disk.Dir, info disk.Info) bool { return l.still(d, info, l.proves) }

func (l *leftovers) still(d *disk.Dir, info disk.Info, shows func(disk.Info) bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if shows(info) {
		return true
	}
	again, err := d.Self()
	return err == nil && again != info && shows(again)
}

// shows is untouched for an entry that is not open.
func (l *leftovers) shows(info disk.Info) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.knows(info)
}

func (l *leftovers) knows(info disk.Info) bool {
	for _, written := range []map[uint64]left{l.young, l.taken} {
		if have, ok := written[info.Node.Ino]; ok && have.shows(info) {
			return true
		}
	}
	return l.proves(info)
}

func (l *leftovers) proves(info disk.Info) bool {
	if have, ok := l.recent[info.Node.Ino]; ok {
		return have.shows(info)
	}
	have, ok := l.older[info.Node.Ino]
	return ok && have.shows(info)
}

// save writes what was put since the last call to the log.
func (l *leftovers) save() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.unsent) == 0 {
		return nil
	}
	err := l.log.Append(l.unsent)
	l.unsent = l.unsent[:0]
	return err
}

// age forgets what is old enough. It may be called only when every event of the
// writes before now has been taken: before that, our own writes would look like
// somebody else's.
func (l *leftovers) age(now mtree.Stamp) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.recent) >= leftSize && now.Sub(l.since) > leftAge {
		l.older, l.recent, l.since = l.recent, map[uint64]left{}, now
	}
}

// relog goes on in another log, which is given what is remembered.
func (l *leftovers) relog(log *disk.LeftLog) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.log = log
	for inode, have := range l.recent {
		l.unsent = append(l.unsent, disk.Left{Inode: inode, MTime: have.mtime, CTime: have.ctime})
	}
}
