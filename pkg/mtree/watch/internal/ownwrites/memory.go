package ownwrites

import (
	"maps"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/internal/sys"
)

// A write is remembered for at least maxAge, which is how far an audit looks back.
// It may be forgotten then, if size other directories were written since.
const (
	maxAge = 10 * time.Second
	size   = 1 << 15 // records
)

// write has the attributes of a directory after our own write. As long as the
// directory still shows them, nobody else changed or moved it.
type write struct {
	mtime, ctime   mtree.Stamp
	mode, uid, gid uint32
	whole          bool // mode and owner are known: it was not read from the log
	place          Place
	proof          Proof
}

// Proof is how far a write proves that its directory did not arrive under its name
// since everything was known to be published.
type Proof int8

const (
	Unproven Proof = iota // it proves nothing
	Judged                // the running audit has looked at the directory: proof once that audit is done
	Proven                // the directory did not arrive
)

func writeOf(info disk.Info, at Place, p Proof) write {
	return write{info.MTime, info.CTime, info.Mode, info.UID, info.GID, true, at, p}
}

func (w write) shows(info disk.Info) bool {
	return w.mtime == info.MTime && w.ctime == info.CTime && // guard (without w.ctime): TestOwnWriteShowsEverything
		(!w.whole || w.mode == info.Mode && w.uid == info.UID && w.gid == info.GID) // guard: TestOwnWriteShowsEverything
}

// Memory remembers the results of our last writes, in memory and, for the next start,
// in .tidemark. The writer holds the lock from before it sets a time until Put has
// recorded the write. So a caller who asks about an earlier fstat gets a true
// answer. Safe for all goroutines.
//
// Our write gives a directory a new ctime. That hides a rename which happened just
// before, and that rename's event may still be lost, by a kill or an overflow. So a write
// is young at first: good enough to recognise our own events. Only after a later Take,
// which has reported all such renames, does it prove to an audit that the directory did
// not arrive (BeginTake, EndTake).
//
// A rename in the tick of our write, but after it, leaves the very ctime that the write
// left. So a write proves something only at the place where it was made.
//
// If something cannot be heard, or without events, no Take reports all renames. There a
// write is proof if what it overwrote was proof: the directory showed our own earlier
// proven write, or a ctime from before the checkpoint, or the ctime that the running
// audit has judged. The last is proof only once that audit is done: until then
// directories below may not be stamped yet.
type Memory struct {
	Device uint64 // of the root, if other file systems count as well; set before use

	mu     sys.Mutex
	young  map[uint64]write // by key: put since the last Take
	taken  map[uint64]write // put before the last Take
	recent map[uint64]write
	older  map[uint64]write
	since  mtree.Stamp // when recent was begun
	log    *state.OwnWriteLog
	unsent []state.OwnWrite // not written to log
}

// New returns a Memory that knows the writes read from a log, as proven, and saves
// to log.
func New(log *state.OwnWriteLog, known []state.OwnWrite, now mtree.Stamp) *Memory {
	m := &Memory{
		young: map[uint64]write{}, taken: map[uint64]write{}, recent: map[uint64]write{}, older: map[uint64]write{},
		log: log, since: now,
	}
	for _, k := range known {
		if have, ok := m.older[k.Inode]; !ok || have.ctime.Before(k.CTime) { // guard (always): TestTheLaterRecordCounts
			m.older[k.Inode] = write{mtime: k.MTime, ctime: k.CTime, place: Place(k.Place), proof: Proven}
		}
	}
	return m
}

// Lock is held by the writer from before it sets a time until Put.
func (m *Memory) Lock() { m.mu.Lock() }

// Unlock ends Lock.
func (m *Memory) Unlock() { m.mu.Unlock() }

// Put records a write, where it was made, and how far it is proof already. heard says that
// a later Take can prove more. The caller holds the lock.
func (m *Memory) Put(info disk.Info, at Place, p Proof, heard bool) {
	have := writeOf(info, at, p)
	if p == Proven || !heard { // guard (without !heard): TestWhichTakeProves
		m.keep(m.key(info.Node), have)
		return
	}
	m.young[m.key(info.Node)] = have
}

// key returns under what the writes of a directory are kept: its inode, and where it is on another
// file system than the root, mixed with that. The roots of two ext4 have one inode number, and
// where one is mounted in the other, each batch wrote both.
func (m *Memory) key(n disk.Node) uint64 {
	if m.Device == 0 || n.Dev == m.Device { // guard: TestOwnWritesOfTwoFileSystems
		return n.Ino
	}
	return n.Ino ^ n.Dev*0x9e3779b97f4a7c15
}

// keep moves a write to the recent ones, and to the log if it is proven.
func (m *Memory) keep(key uint64, have write) {
	m.recent[key] = have
	if have.proof != Proven { // guard: TestProofWaitsForTheAudit
		return
	}
	if len(m.unsent) >= 2*size {
		m.unsent = append(m.unsent[:0], m.unsent[size:]...) // guard: TestOwnWritesAge
	}
	m.unsent = append(m.unsent, state.OwnWrite{Inode: key, MTime: have.mtime, CTime: have.ctime, Place: uint64(have.place)})
}

// BeginTake says that a Take begins now, after everything that was put so far.
func (m *Memory) BeginTake() {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.Copy(m.taken, m.young)
	clear(m.young)
}

// EndTake says that everything the Take reported is published. heard says that every
// directory is heard: then everything put before the Take is proven. It reports whether
// more waits for another Take.
func (m *Memory) EndTake(heard bool) (more bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for inode, have := range m.taken {
		if heard { // guard (always): TestProofWaitsForTheAudit
			have.proof = Proven
		}
		m.keep(inode, have)
	}
	clear(m.taken)
	return len(m.young) > 0
}

// EndAudit says that the running audit has ended. What it judged is proven then if it read
// and stamped everything (all), otherwise unproven.
func (m *Memory) EndAudit(all bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	verdict := Unproven
	if all { // guard (always): TestProofWaitsForTheAudit
		verdict = Proven
	}
	for _, written := range []map[uint64]write{m.young, m.taken, m.recent, m.older} {
		for inode, have := range written {
			if have.proof != Judged { // guard: TestProofWaitsForTheAudit
				continue
			}
			have.proof = verdict
			delete(written, inode)
			m.keep(inode, have)
		}
	}
}

// Lost forgets the writes that no Take can prove any more, because events were lost.
func (m *Memory) Lost() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.young) // guard: TestLostForgetsWhatWaits
	clear(m.taken) // guard: TestLostForgetsWhatWaits
}

// Untouched reports whether the directory still shows the result of our write. info is an
// earlier fstat; if the directory was stamped after it, the directory is looked at again.
func (m *Memory) Untouched(d *disk.Dir, info disk.Info) bool { return m.still(d, info, m.Has) }

// Stayed reports whether the directory, which is at a place, is untouched, and did not
// arrive there since the write.
func (m *Memory) Stayed(d *disk.Dir, info disk.Info, at Place) bool {
	return m.still(d, info, func(info disk.Info) bool { return m.ProofOf(info, at) == Proven })
}

// still reports whether shows is true for info, or for a new fstat of the directory.
func (m *Memory) still(d *disk.Dir, info disk.Info, shows func(disk.Info) bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if shows(info) {
		return true
	}
	again, err := d.Self()
	return err == nil && again != info && shows(again) // guard (returns false): TestStampedAfterTheFstat
}

// Shows is Untouched for an entry that is not open.
func (m *Memory) Shows(info disk.Info) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.Has(info)
}

// Has reports whether info is the result of a write. The caller holds the lock.
func (m *Memory) Has(info disk.Info) bool {
	_, ok := m.find(info)
	return ok
}

// ProofOf returns the proof of the write that left info, for a directory at a place. The
// caller holds the lock.
func (m *Memory) ProofOf(info disk.Info, at Place) Proof {
	have, _ := m.find(info)
	if !have.place.may(at) { // guard: TestMovedInTheTickOfItsStamp
		return Unproven
	}
	return have.proof
}

// find returns the write that the directory still shows.
func (m *Memory) find(info disk.Info) (have write, ok bool) {
	for _, written := range []map[uint64]write{m.young, m.taken, m.recent, m.older} {
		if have, ok = written[m.key(info.Node)]; ok && have.shows(info) {
			return have, true
		}
	}
	return write{}, false
}

// Save writes the writes that were proven since the last call to the log, and reports whether there
// were any.
func (m *Memory) Save() (tried bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.unsent) == 0 {
		return false, nil
	}
	err = m.log.Append(m.unsent)
	m.unsent = m.unsent[:0]
	return true, err
}

// Age forgets old writes. It may be called only when every event of the
// writes before now has been taken: earlier, our own writes would look like somebody
// else's.
func (m *Memory) Age(now mtree.Stamp) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.recent) >= size && now.Sub(m.since) > maxAge { // guard (without now.Sub): TestOwnWritesAge
		m.older, m.recent, m.since = m.recent, map[uint64]write{}, now
	}
}

// SwitchLog replaces the log. The next Save writes all proven writes to the new one.
func (m *Memory) SwitchLog(log *state.OwnWriteLog) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.log = log
	for inode, have := range m.recent {
		if have.proof == Proven { // guard (always): TestANewLogGetsWhatIsProven
			m.unsent = append(m.unsent, state.OwnWrite{Inode: inode, MTime: have.mtime, CTime: have.ctime, Place: uint64(have.place)})
		}
	}
}
