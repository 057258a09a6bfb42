package health

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/internal/sys"
)

// Exceptions has the contents of .tidemark/stamps and .tidemark/unread: the stamps of
// directories that refuse their time, and the directories that cannot be read. The rest
// of the tree is still watched: the file publishes the stamp of such a directory, or the
// directory is not published. Safe for all goroutines.
type Exceptions struct {
	timer *time.Timer // fires when the unread directories are to be tried

	mu     sys.Mutex
	stamps map[string]refusal   // by path
	unread map[string]unread    // by path
	found  map[string]unread    // those that the running audit could not read
	paths  map[disk.Node]string // of directories in stamps
	bytes  int                  // of the paths in stamps

	number  int64 // of the last writing
	changes int64 // counts the directories that came or went
	dirty   bool  // the files do not hold this yet
	loose   bool  // and some of that may belong anywhere in the tree
	placed  int64 // counts the refusals and their ends, which the one who stamps records
	known   bool  // readers know that the files hold anything
	failed  error // of the last writing
	late    bool  // a write failed: stamps were set above directories of which the files did not say this yet
	mending bool  // the running audit stamps all of them anew
	waiting bool  // timer runs

	accepted map[string]bool // directories that left stamps since the files were last written in time
}

// refusal is a directory that refuses its time, and the stamp that it should show.
type refusal struct {
	inode   uint64
	stamp   mtree.Stamp
	notHeld bool // it takes a time but does not keep it
	earlier bool // an earlier watcher said so, and this one has not named it yet
}

// unread is a directory that could not be read.
type unread struct {
	inode    uint64
	earlier  bool // an earlier watcher said so, and this one has not named it yet
	entered  bool // the running audit reads it: events in it count
	readable bool // it can be read again, but the directories above may have no new stamp yet
}

// retryPause is how often directories that cannot be read are tried: not every change of
// permissions is heard.
const retryPause = time.Minute

func newExceptions() *Exceptions {
	e := &Exceptions{
		stamps: map[string]refusal{}, unread: map[string]unread{}, found: map[string]unread{}, paths: map[disk.Node]string{},
		timer: time.NewTimer(retryPause), accepted: map[string]bool{},
	}
	e.timer.Stop()
	return e
}

// Load takes over the exceptions of an earlier watcher.
func (e *Exceptions) Load(have *state.Exceptions, excluded func(path string, isDir bool) bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for path, s := range have.Stamps {
		if !excluded(path, true) {
			e.stamps[path] = refusal{inode: s.Inode, stamp: s.Stamp, earlier: true}
			e.bytes += len(path)
		}
	}
	for path, u := range have.Unread {
		if !excluded(path, true) {
			e.unread[path] = unread{inode: u.Inode, readable: u.Opened, earlier: true}
		}
	}
	e.known = len(have.Stamps)+len(have.Unread) > 0
	e.dirty = e.known // to make sure that the files are ours
	e.loose = e.dirty
}

// Distrust records that the files may hold something else: the next Save writes them.
func (e *Exceptions) Distrust() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.dirty, e.loose = true, true
}

// Rewrite makes the next Save write the files, if they were ever written.
func (e *Exceptions) Rewrite() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.dirty = e.number > 0 // guard: TestWhatIsToldApartIsPutBack
	e.loose = e.dirty
}

// refuse records the stamp of a directory that refuses it, or takes but does not keep it.
// named says that this watcher has said so of the directory; ok is false if there is no room for
// one more.
func (e *Exceptions) refuse(path string, node disk.Node, stamp mtree.Stamp, notHeld bool) (named, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	was, known := e.stamps[path]
	if old, moved := e.paths[node]; moved && old != path && e.stamps[old].inode == node.Ino { // guard: TestWhatRefusedMoves
		e.forget(old)
		e.loose = true
	}
	if !known && (len(e.stamps) >= state.MaxStamps || e.bytes+len(path) > state.MaxExceptionBytes) { // guard: TestTooManyToTell
		return false, false
	}
	if !known {
		e.bytes += len(path)
	}
	if !known || was.inode != node.Ino {
		e.changes++
	}
	e.stamps[path], e.paths[node], e.dirty = refusal{inode: node.Ino, stamp: stamp, notHeld: notHeld}, path, true
	e.placed++
	return known && !was.earlier, true // guard (without !was.earlier): TestRefusingIsNamedInEachRun
}

// placeOf returns the path at which a directory refused its time last; "" if it did not.
func (e *Exceptions) placeOf(node disk.Node) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.paths[node]
}

// also lets the path at which a directory refused its time last keep its stamp, when the directory refuses it at another path, too.
func (e *Exceptions) also(node disk.Node) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.paths, node)
}

// accept records that a directory shows its stamp, or is gone.
func (e *Exceptions) accept(path string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, ok := e.stamps[path]; ok {
		e.forget(path)
	}
}

// forget drops a stamp; mu is held.
func (e *Exceptions) forget(path string) {
	delete(e.stamps, path)
	e.bytes -= len(path)
	e.dirty = true // guard: TestARefusalEndsWhileNobodyWatches
	e.changes++
	e.placed++
	if len(e.accepted) < state.MaxStamps {
		e.accepted[path] = true // guard: TestExceptionsThatEndUnwritten
	}
}

// StampOf returns the stamp of a directory that refuses it.
func (e *Exceptions) StampOf(path string, inode uint64) (mtree.Stamp, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	have, ok := e.stamps[path]
	return have.stamp, ok && have.inode == inode
}

// doesNotHold reports whether a directory did not keep the time that it was given last.
func (e *Exceptions) doesNotHold(path string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.stamps[path].notHeld
}

// refusing returns the directories that refuse their time, in order.
func (e *Exceptions) refusing() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Sorted(maps.Keys(e.stamps))
}

// AnyRefuses reports whether any directory refuses its time.
func (e *Exceptions) AnyRefuses() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.stamps) > 0
}

// setUnread records a directory that cannot be read. known says that it could not be read
// before either, named that this watcher has said so; ok is false if there is no room for one more.
func (e *Exceptions) setUnread(path string, inode uint64) (known, named, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	was, have := e.unread[path]
	known = have && !was.readable
	if !have && (len(e.unread) >= state.MaxUnread || e.unreadBytes()+len(path) > state.MaxExceptionBytes) { // guard: TestTooManyToTell
		return false, false, false
	}
	e.found[path] = unread{inode: inode}
	e.unread[path] = unread{inode: inode}
	if !known || was.inode != inode { // guard: TestKilledBeforeWhatIsAboveIsStamped
		e.dirty, e.loose = true, true
		e.changes++
	}
	return known, known && !was.earlier, true
}

// unreadBytes returns how many bytes the paths in unread have; mu is held. They are added up
// anew each time: there are a thousand at most, and seldom another one.
func (e *Exceptions) unreadBytes() (n int) {
	for path := range e.unread {
		n += len(path)
	}
	return n
}

// Enter records that the running audit reads a directory. At the end of the audit it
// counts as readable.
func (e *Exceptions) Enter(path string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if have, ok := e.unread[path]; ok {
		have.entered = true // guard: TestHeardWhileItIsReadAgain
		e.unread[path] = have
	}
}

// SetReadable records that a directory was read with everything below it, which counts as
// arrived. Until DropReadable, a watcher that starts must treat it the same way.
func (e *Exceptions) SetReadable(path string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.found, path)
	if was, ok := e.unread[path]; ok && !was.readable { // guard: TestKilledBeforeWhatIsAboveIsStamped
		e.setReadable(path, was)
	}
}

// setReadable is SetReadable for a directory that was unread; mu is held.
func (e *Exceptions) setReadable(path string, was unread) {
	was.readable = true
	e.unread[path], e.dirty, e.loose = was, true, true
	e.changes++
}

// DropReadable forgets the directories that can be read again: everything above them is
// stamped. If the files were not written in time, readers of these stamps were still refused. Then
// an audit stamps what is above anew, and has to know where.
func (e *Exceptions) DropReadable() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.failed != nil || e.late { // guard: TestExceptionsThatEndUnwritten
		return
	}
	for path, have := range e.unread {
		if have.readable {
			delete(e.unread, path)
			e.dirty, e.loose = true, true
		}
	}
}

// IsUnread reports whether the directory name in the one at path cannot be read.
func (e *Exceptions) IsUnread(path, name string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.unread) == 0 {
		return false
	}
	have, ok := e.unread[mtree.JoinPath(path, name)]
	return ok && !have.readable && !have.entered
}

// Unread returns the directories that could not be read when they were tried last.
func (e *Exceptions) Unread() map[string]bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := make(map[string]bool, len(e.unread))
	for path := range e.unread {
		all[path] = true
	}
	return all
}

// beginAudit begins to count unread directories anew.
func (e *Exceptions) beginAudit() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.found, e.mending = map[string]unread{}, e.late
}

// endAudit returns the directories that the audit could read, or that are gone.
func (e *Exceptions) endAudit() (readable []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for path, was := range e.unread {
		if _, still := e.found[path]; still {
			continue
		}
		readable = append(readable, path)
		if !was.readable {
			e.setReadable(path, was)
		}
	}
	if e.mending {
		e.late, e.mending = false, false
	}
	slices.Sort(readable)
	return readable
}

// Counts returns the numbers for the status: how many lines the files have, and a number
// that changes whenever a directory came or went.
func (e *Exceptions) Counts() (stamps, unread int, changes int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.stamps), len(e.unread), e.changes
}

// Unpublished says that directories cannot be read, "" if all can.
func (e *Exceptions) Unpublished() string {
	_, unread, _ := e.Counts()
	if unread == 0 {
		return ""
	}
	return fmt.Sprintf("%d directories cannot be read: they are not published", unread)
}

// Trouble returns why the files lack something that they must publish, "" if they lack
// nothing.
func (e *Exceptions) Trouble() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.failed != nil:
		return "the stamps of directories that refuse their time cannot be written"
	case e.late:
		return "the stamps of directories that refuse their time could not be written until now"
	}
	return ""
}

// writtenLate reports whether stamps were set before the files had the directories below
// them: they must be stamped anew.
func (e *Exceptions) writtenLate() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.late
}

// acceptedLate returns the directories that ceased to refuse their time, in order. If writtenLate,
// their lines may have outlived that.
func (e *Exceptions) acceptedLate() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Sorted(maps.Keys(e.accepted))
}

// Placed counts the refusals that began, went on or ended. Only who stamps records them.
func (e *Exceptions) Placed() int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.placed
}

// Saved reports whether the files hold all exceptions below a directory. since is what
// Placed returned before anything below it was stamped: what refused earlier in the same
// batch is not below, and can wait until what is above both is stamped.
func (e *Exceptions) Saved(since int64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return !e.dirty || !e.loose && e.placed == since
}

// Save writes both files if they do not hold this yet, or if it is to be durable. unread is
// the first: a reader who sees the new stamp of a directory must find what may be read in it
// by then. first says that readers may not know that there are any exceptions.
func (e *Exceptions) Save(m *state.Marker, durable bool) (first bool, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.dirty && !durable {
		return false, nil
	}
	e.number = max(e.number+1, time.Now().UnixNano())
	err = m.WriteUnread(e.unreadLines(), e.number, durable)
	if err == nil { // guard (always): TestWhatMayBeReadIsToldBeforeTheStamp
		err = m.WriteStamps(e.stampLines(), e.number, durable)
	}
	e.failed = err
	if err != nil {
		e.late, e.loose, e.mending = true, true, false // what is not written now may be below anything next time
		return false, err
	}
	some := len(e.stamps)+len(e.unread) > 0
	first = some && !e.known
	e.dirty, e.loose, e.known = false, false, some
	if !e.late { // guard (always): TestRetriesAfterALateWrite
		clear(e.accepted)
	}
	return first, nil
}

// Untold records that readers could not be told of the files, which the last Save wrote for the
// first time. That is as bad as if they had not been written.
func (e *Exceptions) Untold() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.dirty, e.known = true, false
	e.late, e.loose, e.mending = true, true, false
}

func (e *Exceptions) stampLines() map[string]state.Refusal {
	lines := make(map[string]state.Refusal, len(e.stamps))
	for path, have := range e.stamps {
		lines[path] = state.Refusal{Inode: have.inode, Stamp: have.stamp}
	}
	return lines
}

func (e *Exceptions) unreadLines() map[string]state.Unread {
	lines := make(map[string]state.Unread, len(e.unread))
	for path, have := range e.unread {
		lines[path] = state.Unread{Inode: have.inode, Opened: have.readable}
	}
	return lines
}

// StillIn reports whether m holds the files that were written last.
func (e *Exceptions) StillIn(m *state.Marker) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.number == 0 || m.HasExceptions(e.number)
}

// Due returns the channel that says when the unread directories are to be tried.
func (e *Exceptions) Due() <-chan time.Time { return e.timer.C }

// Wait makes Due say so after a pause, if there is anything to try. If Due will say so
// already, nothing changes.
func (e *Exceptions) Wait() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.waiting && len(e.unread) > 0 {
		e.waiting = true
		e.timer.Reset(retryPause)
	}
}

// Tried records that Due fired, and that the unread directories are tried now.
func (e *Exceptions) Tried() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.waiting = false
}
