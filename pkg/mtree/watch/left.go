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
	proof          proof
}

// proof is how far a write proves that its directory did not arrive under its
// name since all was known to be published.
type proof int8

const (
	unproven proof = iota
	judged         // the audit that runs has looked, and proves it if it comes to its end
	proven
)

func leftBy(info disk.Info) left {
	return left{info.MTime, info.CTime, info.Mode, info.UID, info.GID, true, unproven}
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
// to an audit that the directory did not arrive. No Take tells of them where
// something cannot be heard; there, and without events, a write proves it if what
// it overwrote did: the directory showed our own earlier write, or a ctime from
// before the checkpoint, or that which the running audit has judged. The last is
// proof only when that audit is done: until then what is below the directory may
// not be stamped yet.
type leftovers struct {
	mu     sync.Mutex
	young  map[uint64]left // by inode: put since the last Take
	taken  map[uint64]left // put before it
	recent map[uint64]left
	older  map[uint64]left
	since  mtree.Stamp // when recent was begun
	log    *disk.LeftLog
	unsent []disk.Left
}

func newLeftovers(log *disk.LeftLog, known []disk.Left, now mtree.Stamp) *leftovers {
	l := &leftovers{young: map[uint64]left{}, taken: map[uint64]left{}, recent: map[uint64]left{}, older: map[uint64]left{}, log: log, since: now}
	for _, k := range known {
		if have, ok := l.older[k.Inode]; !ok || have.ctime.Before(k.CTime) {
			l.older[k.Inode] = left{mtime: k.MTime, ctime: k.CTime, proof: proven}
		}
	}
	return l
}

// put records a write and how far it is proof already; mu is held. heard says
// that a Take will tell more.
func (l *leftovers) put(info disk.Info, p proof, heard bool) {
	have := leftBy(info)
	have.proof = p
	if p == proven || !heard {
		l.keep(info.Node.Ino, have)
		return
	}
	l.young[info.Node.Ino] = have
}

func (l *leftovers) keep(inode uint64, have left) {
	l.recent[inode] = have
	if have.proof != proven {
		return
	}
	if len(l.unsent) >= 2*leftSize {
		l.unsent = append(l.unsent[:0], l.unsent[leftSize:]...)
	}
	l.unsent = append(l.unsent, disk.Left{Inode: inode, MTime: have.mtime, CTime: have.ctime})
}

// take notes that a Take comes after all that was put so far.
func (l *leftovers) take() {
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.Copy(l.taken, l.young)
	clear(l.young)
}

// confirm makes proof of what was put before the Take, if it left nothing
// unheard: what it told of is published. It reports whether more waits for
// another.
func (l *leftovers) confirm(heard bool) (more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for inode, have := range l.taken {
		if heard {
			have.proof = proven
		}
		l.keep(inode, have)
	}
	clear(l.taken)
	return len(l.young) > 0
}

// judged makes proof of what the audit judged that has ended now, or forgets
// that it did: it has not read and stamped all.
func (l *leftovers) judged(all bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	verdict := unproven
	if all {
		verdict = proven
	}
	for _, written := range []map[uint64]left{l.young, l.taken, l.recent, l.older} {
		for inode, have := range written {
			if have.proof != judged {
				continue
			}
			have.proof = verdict
			delete(written, inode)
			l.keep(inode, have)
		}
	}
}

// lost forgets what no Take can prove any more.
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
func (l *leftovers) stayed(d *disk.Dir, info disk.Info) bool {
	return l.still(d, info, func(info disk.Info) bool { return l.proofOf(info) == proven })
}

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
	_, ok := l.find(info)
	return ok
}

func (l *leftovers) proofOf(info disk.Info) proof {
	have, _ := l.find(info)
	return have.proof
}

// find returns the write that the directory still shows.
func (l *leftovers) find(info disk.Info) (have left, ok bool) {
	for _, written := range []map[uint64]left{l.young, l.taken, l.recent, l.older} {
		if have, ok = written[info.Node.Ino]; ok && have.shows(info) {
			return have, true
		}
	}
	return left{}, false
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
		if have.proof == proven {
			l.unsent = append(l.unsent, disk.Left{Inode: inode, MTime: have.mtime, CTime: have.ctime})
		}
	}
}
