package watch

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/notify"
	"tidemark/pkg/mtree/internal/state"
)

// apart is what the files .tidemark/stamps and .tidemark/unread hold: the stamps of
// directories that refuse their time, and the directories that cannot be read. Such
// a directory does not keep the others from being watched: its stamp is published
// by the file, or it is not published. Safe for all goroutines.
type apart struct {
	timer *time.Timer // fires when the unread ones are to be tried; run's

	mu     sync.Mutex
	stamps map[string]refusal // by path
	unread map[string]unread  // by path
	found  map[string]unread  // those that the running audit could not read
	paths  map[disk.Node]string
	bytes  int // of the paths in stamps

	number int64 // of the last writing
	turn   int64 // another one whenever a directory came or went
	dirty  bool  // the files do not hold this
	known  bool  // readers know that they hold anything
	failed error // of the last writing
	missed bool  // one failed: what was to be told was relied on before it was
	mended bool  // the running audit stamps all of it anew
	timed  bool  // timer runs
}

// refusal is a directory that refuses its time, and the stamp it should show.
type refusal struct {
	inode uint64
	stamp mtree.Stamp
	loses bool // it takes a time, and does not keep it
}

// unread is a directory that cannot be read.
type unread struct {
	inode   uint64
	entered bool // the running audit reads it: what is heard in it counts
	opened  bool // it is read again, but what is above it may have no new stamp yet
}

// apartPause is how often directories that cannot be read are tried: not every right
// that is given is heard.
const apartPause = time.Minute

func newApart() *apart {
	a := &apart{
		stamps: map[string]refusal{}, unread: map[string]unread{}, found: map[string]unread{}, paths: map[disk.Node]string{},
		timer: time.NewTimer(apartPause),
	}
	a.timer.Stop()
	return a
}

// recall takes over what an earlier watcher left.
func (a *apart) recall(left *state.Apart, excluded func(path string, isDir bool) bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for path, have := range left.Stamps {
		if !excluded(path, true) {
			a.stamps[path] = refusal{inode: have.Inode, stamp: have.Stamp}
			a.bytes += len(path)
		}
	}
	for path, have := range left.Unread {
		if !excluded(path, true) {
			a.unread[path] = unread{inode: have.Inode, opened: have.Opened}
		}
	}
	a.known = len(left.Stamps)+len(left.Unread) > 0
	a.dirty = a.known // so that what stands there is known to be ours
}

// spoil notes that the files may hold something else.
func (a *apart) spoil() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.dirty = true
}

// refile is spoil if the files were ever written.
func (a *apart) refile() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.dirty = a.number > 0
}

// refuse notes the stamp of a directory that refuses it, or takes and loses it. known
// says that it did before; ok is false if there is no room for one more.
func (a *apart) refuse(path string, node disk.Node, stamp mtree.Stamp, loses bool) (known, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	was, known := a.stamps[path]
	if old, moved := a.paths[node]; moved && old != path && a.stamps[old].inode == node.Ino {
		a.forget(old)
	}
	if !known && (len(a.stamps) >= state.MaxStamps || a.bytes+len(path) > state.MaxApartBytes) {
		return false, false
	}
	if !known {
		a.bytes += len(path)
	}
	if !known || was.inode != node.Ino {
		a.turn++
	}
	a.stamps[path], a.paths[node], a.dirty = refusal{node.Ino, stamp, loses}, path, true
	return known, true
}

// accept notes that a directory shows its stamp, or is gone.
func (a *apart) accept(path string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.stamps[path]; ok {
		a.forget(path)
	}
}

// forget drops a stamp; mu is held.
func (a *apart) forget(path string) {
	delete(a.stamps, path)
	a.bytes -= len(path)
	a.dirty = true
	a.turn++
}

// stampOf returns the stamp of a directory that refuses it.
func (a *apart) stampOf(path string, inode uint64) (mtree.Stamp, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	have, ok := a.stamps[path]
	return have.stamp, ok && have.inode == inode
}

// loses reports whether a directory did not keep the time that it was given last.
func (a *apart) loses(path string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stamps[path].loses
}

// refusals returns the directories that refuse their time.
func (a *apart) refusals() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Sorted(maps.Keys(a.stamps))
}

func (a *apart) anyRefuses() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.stamps) > 0
}

// shut notes a directory that cannot be read. known says that it could not before;
// ok is false if there is no room for one more.
func (a *apart) shut(path string, inode uint64) (known, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	was, named := a.unread[path]
	known = named && !was.opened
	if !named && len(a.unread) >= state.MaxUnread {
		return false, false
	}
	a.found[path] = unread{inode: inode}
	a.unread[path] = unread{inode: inode}
	if !known || was.inode != inode {
		a.dirty = true
		a.turn++
	}
	return known, true
}

// enter notes that the running audit reads a directory. Its end opens it.
func (a *apart) enter(path string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if have, ok := a.unread[path]; ok {
		have.entered = true
		a.unread[path] = have
	}
}

// open notes that a directory was read with all below it, which counts as arrived.
// Until settle it is one that a watcher which starts must treat so.
func (a *apart) open(path string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.found, path)
	if was, ok := a.unread[path]; ok && !was.opened {
		was.opened = true
		a.unread[path], a.dirty = was, true
		a.turn++
	}
}

// settle forgets what is read again: all above it is stamped.
func (a *apart) settle() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for path, have := range a.unread {
		if have.opened {
			delete(a.unread, path)
			a.dirty = true
		}
	}
}

// closed reports whether the directory name in the one at path cannot be read.
func (a *apart) closed(path, name string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.unread) == 0 {
		return false
	}
	have, ok := a.unread[mtree.JoinPath(path, name)]
	return ok && !have.opened && !have.entered
}

// unreads returns the directories that could not be read when they were tried last.
func (a *apart) unreads() map[string]bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := make(map[string]bool, len(a.unread))
	for path := range a.unread {
		all[path] = true
	}
	return all
}

// begin starts the count of an audit, audited ends it and returns the directories
// that it could read, or that are gone.
func (a *apart) begin() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.found, a.mended = map[string]unread{}, a.missed
}

func (a *apart) audited() (opened []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for path, was := range a.unread {
		if _, still := a.found[path]; still {
			continue
		}
		opened = append(opened, path)
		if !was.opened {
			was.opened = true
			a.unread[path], a.dirty = was, true
			a.turn++
		}
	}
	if a.mended {
		a.missed, a.mended = false, false
	}
	slices.Sort(opened)
	return opened
}

// counts returns what the status says: how many lines there are.
func (a *apart) counts() (stamps, unreads int, turn int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.stamps), len(a.unread), a.turn
}

// unpublished says that directories cannot be read, "" if all can.
func (a *apart) unpublished() string {
	_, unreads, _ := a.counts()
	if unreads == 0 {
		return ""
	}
	return fmt.Sprintf("%d directories cannot be read: they are not published", unreads)
}

// trouble is why the files do not hold all that is to be published by them.
func (a *apart) trouble() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.failed != nil:
		return "the stamps of directories that refuse their time cannot be written"
	case a.missed:
		return "the stamps of directories that refuse their time could not be written until now"
	}
	return ""
}

// again reports that what the files were to say was relied on before they did: it is
// to be stamped anew.
func (a *apart) again() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.missed
}

// save writes both files if they do not hold this yet. first says that readers may
// not know that there are any.
func (a *apart) save(m *state.Marker, durable bool) (first bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.dirty && !durable {
		return false, nil
	}
	a.number = max(a.number+1, time.Now().UnixNano())
	err = m.WriteStamps(a.stampLines(), a.number, durable)
	if err == nil {
		err = m.WriteUnread(a.unreadLines(), a.number, durable)
	}
	a.failed = err
	if err != nil {
		a.missed, a.mended = true, false
		return false, err
	}
	some := len(a.stamps)+len(a.unread) > 0
	first = some && !a.known
	a.dirty, a.known = false, some
	return first, nil
}

func (a *apart) stampLines() map[string]state.ApartStamp {
	lines := make(map[string]state.ApartStamp, len(a.stamps))
	for path, have := range a.stamps {
		lines[path] = state.ApartStamp{Inode: have.inode, Stamp: have.stamp}
	}
	return lines
}

func (a *apart) unreadLines() map[string]state.ApartUnread {
	lines := make(map[string]state.ApartUnread, len(a.unread))
	for path, have := range a.unread {
		lines[path] = state.ApartUnread{Inode: have.inode, Opened: have.opened}
	}
	return lines
}

// standing reports whether m holds what was written last.
func (a *apart) standing(m *state.Marker) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.number == 0 || m.HasApart(a.number)
}

// wait sets the timer if there is anything to try and it does not run.
func (a *apart) wait() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.timed && len(a.unread) > 0 {
		a.timed = true
		a.timer.Reset(apartPause)
	}
}

func (a *apart) fired() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.timed = false
}

// recall takes over the two files, and returns why continuity cannot be proved
// without what they held, "" if it can.
func (w *watcher) recall(id *identity) string {
	if id.first || id.doubt { // of another tree, or of none
		if w.marker.Has("stamps") || w.marker.Has("unread") {
			w.apart.spoil()
		}
		return ""
	}
	left, err := w.marker.ReadApart()
	if err != nil {
		w.Log.Warn("what is known of directories apart from their times cannot be read", "err", err)
		w.apart.spoil()
		return "a damaged .tidemark/stamps or .tidemark/unread"
	}
	w.apart.recall(left, w.exclude.Hides)
	for _, have := range left.Stamps {
		w.floor = mtree.Later(w.floor, have.Stamp)
	}
	if id.status.Stamps > 0 && !w.marker.Has("stamps") || id.status.Unread > 0 && !w.marker.Has("unread") {
		return "a lost .tidemark/stamps or .tidemark/unread"
	}
	return ""
}

// keep writes the two files, before anything above the directories in them is
// stamped. Readers who know of none yet look at the status now and then only.
func (w *watcher) keep() {
	said := w.apart.trouble() != ""
	first, err := w.apart.save(w.marker, false)
	if err != nil && said {
		return
	}
	if err != nil {
		w.Log.Error("cannot write .tidemark/stamps and .tidemark/unread: the tree is degraded", "err", err)
		return
	}
	if first {
		w.writeStatus()
		w.outwait(state.StatusLag)
	}
	w.apart.wait()
}

// opened publishes that directories can be read again: what is below them is stamped.
func (w *watcher) opened(ctx context.Context, paths []string) error {
	if len(paths) == 0 {
		return nil
	}
	b := batch{paths: w.triggered()}
	for _, path := range paths {
		t := b.at(mtree.ParentPath(path))
		t.entries = append(t.entries, notify.Entry{Name: mtree.BaseName(path)})
		b.size++
	}
	w.pause(ctx)
	return w.write(&b)
}

// tryUnread tries to read what could not be read.
func (w *watcher) tryUnread(ctx context.Context) error {
	w.apart.fired()
	b := batch{paths: w.triggered()}
	for path := range w.apart.unreads() {
		b.at(path).retry = true
		b.size++
	}
	if b.size == 0 {
		return nil
	}
	w.pause(ctx)
	if err := w.write(&b); err != nil {
		return err
	}
	w.apart.wait()
	w.wroteBatch(b.size > 0)
	return nil
}
