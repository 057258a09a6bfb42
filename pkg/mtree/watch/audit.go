package watch

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/notify"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/watch/internal/stamprule"
)

// grounds is what an audit goes by.
type grounds struct {
	reason string
	all    bool        // every directory counts as changed
	told   bool        // the epoch was raised for it
	first  bool        // the first run on this tree: stamps are the greatest mtimes
	loss   bool        // nothing is known until it is done: state auditing
	since  mtree.Stamp // ctimes at or after this are changes
	before mtree.Stamp // when the audit before this one started
	start  mtree.Stamp // when this one started
	floor  mtree.Stamp // at its start
	slow   bool        // periodic: one worker, whose disk requests come after those of others
}

// report is how an audit ended.
type report struct {
	grounds
	err         error // it was broken off
	directories int64
	files       int64
	found       int64
	elapsed     time.Duration
}

// findingsAtOnce is how many findings go to the writer together: enough that
// their common ancestors are stamped once for many, few enough that changes
// heard meanwhile wait only milliseconds.
const findingsAtOnce = 512

// audit is one scan of the whole tree, in parallel by directory descriptors. It
// arms each directory before it lists it, and sends what it finds to the one
// goroutine that writes.
//
// Cost: per directory one open, two fstat, one statx for .tidemark, the watch,
// and a getdents64 for each 64 KiB of names; per entry one statx. Memory: the
// names of directories that wait to be opened.
type audit struct {
	*watcher
	grounds
	ctx      context.Context
	findings chan<- []finding
	closed   map[string]bool // directories that could not be read so far

	mu     sync.Mutex
	ready  sync.Cond
	stack  []*visit // directories that wait to be opened
	busy   int      // workers that may still push
	chunk  []finding
	failed error

	sending sync.Mutex // held until the writer took a chunk

	directories, files, found atomic.Int64
}

// visit is one directory of the scan.
type visit struct {
	parent   *visit
	name     string
	inode    uint64    // when it was listed
	dir      *disk.Dir // open while children wait to be opened
	info     disk.Info // of dir
	ref      notify.Ref
	arrived  bool         // it or one above it may have come to stand under another name
	judged   mtree.Stamp  // see finding
	waiting  atomic.Int64 // children not yet opened, +1 while it is listed itself
	pending  atomic.Int64 // children not yet finished, +1 likewise
	mu       sync.Mutex   // of greatest
	greatest mtree.Stamp  // first run: the greatest mtime at or below
}

// scan runs the audit and returns when it is done or ctx ended.
func (w *watcher) scan(ctx context.Context, g grounds, findings chan<- []finding) report {
	a := &audit{watcher: w, grounds: g, ctx: ctx, findings: findings, closed: w.apart.unreads()}
	a.ready.L = &a.mu
	began := time.Now()
	a.stack = []*visit{{greatest: mtree.MinStamp}}
	workers, work := min(runtime.GOMAXPROCS(0), 8), a.work
	if g.slow {
		workers, work = 1, func() { machine.AfterOthers(a.work) }
	}
	stop := context.AfterFunc(ctx, a.wakeAll)
	defer stop()
	var done sync.WaitGroup
	for range workers {
		done.Go(work)
	}
	done.Wait()
	a.send(true)
	r := report{
		grounds: g, err: a.failed, elapsed: time.Since(began),
		directories: a.directories.Load(), files: a.files.Load(), found: a.found.Load(),
	}
	if ctx.Err() != nil {
		r.err = ctx.Err()
	}
	return r
}

func (a *audit) wakeAll() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ready.Broadcast()
}

// work takes directories from the stack until none is left and nobody can push
// another. The stack is last in, first out: few directories stay open.
func (a *audit) work() {
	for {
		a.mu.Lock()
		for len(a.stack) == 0 && a.busy > 0 && a.ctx.Err() == nil {
			a.ready.Wait()
		}
		if len(a.stack) == 0 || a.ctx.Err() != nil {
			a.ready.Broadcast()
			a.mu.Unlock()
			return
		}
		v := a.stack[len(a.stack)-1]
		a.stack = a.stack[:len(a.stack)-1]
		a.busy++
		a.mu.Unlock()

		a.visit(v)

		a.mu.Lock()
		a.busy--
		if a.busy == 0 || len(a.stack) > 0 {
			a.ready.Broadcast()
		}
		a.mu.Unlock()
	}
}

// visit opens, arms, lists and judges one directory.
func (a *audit) visit(v *visit) {
	v.waiting.Store(1)
	v.pending.Store(1)
	err := a.open(v)
	if v.parent != nil {
		v.parent.opened()
	}
	if err == nil && v.dir != nil {
		err = a.list(v)
	}
	if err != nil {
		a.unreadable(v, err)
	}
	if v.dir != nil {
		v.opened()
	}
	a.finished(v)
}

// opened gives back one child's claim on the descriptor.
func (v *visit) opened() {
	if v.waiting.Add(-1) == 0 {
		_ = v.dir.Close()
	}
}

// open opens and arms v. A directory that is not to be entered stays closed.
func (a *audit) open(v *visit) (err error) {
	var dir *disk.Dir
	if v.parent == nil {
		dir, err = a.root.OpenDirPath("", true) // anew: the listing's position is the descriptor's
	} else {
		dir, err = v.parent.dir.OpenDir(v.name)
	}
	if disk.IsGone(err) && v.parent != nil {
		return nil
	}
	if err != nil {
		return err
	}
	info, err := dir.Self()
	if err == nil && v.parent != nil && (a.beyond(v.parent.info, info) || dir.IsPlaceholder(info)) {
		return dir.Close()
	}
	if err == nil {
		err = a.arm(v, dir)
	}
	if errors.Is(err, notify.ErrGone) {
		return dir.Close()
	}
	if err == nil && v.parent != nil && state.IsLiveTree(dir) {
		a.border(v, info)
		return dir.Close() // armed all the same: its watcher may end
	}
	if err != nil {
		_ = dir.Close()
		return err
	}
	if !a.first && a.apart.anyRefuses() {
		if stamp, ok := a.apart.stampOf(v.path(), info.Node.Ino); ok {
			info.MTime = stamp // what is published of it
		}
	}
	v.dir, v.info = dir, info
	v.arrived = v.arrived || a.opens(v)
	a.directories.Add(1)
	return nil
}

// arm begins to hear v. What cannot be heard is scanned all the same.
func (a *audit) arm(v *visit, dir *disk.Dir) (err error) {
	if v.parent == nil {
		v.ref, _, err = a.source.Arm(notify.Ref{}, -1, "", dir.FD())
	} else if v.parent.ref != (notify.Ref{}) {
		v.ref, _, err = a.source.Arm(v.parent.ref, v.parent.dir.FD(), v.name, dir.FD())
	}
	if err == nil || errors.Is(err, notify.ErrGone) {
		return err
	}
	a.trouble.unheard(err)
	return nil
}

// opens reports whether v is entered for the first time since the audit before
// could not read it, or since another watch or mirror ran in it: nobody knows
// what is published of all below.
func (a *audit) opens(v *visit) bool {
	if v.parent == nil || len(a.closed)+len(a.bordered) == 0 {
		return false
	}
	path := v.path()
	if a.closed[path] {
		a.apart.enter(path)
	}
	return a.closed[path] || a.bordered[path] || a.bordered[""]
}

// border judges the root of another tree below this one: an entry of its
// parent, with nothing inside.
func (a *audit) border(v *visit, info disk.Info) {
	a.borders.note(v.path())
	now := a.Now()
	v.parent.raise(stamprule.Past(info.MTime, info.CTime, now))
	if !info.CTime.Before(a.since) {
		a.report(finding{path: v.parent.path(), mtime: stamprule.Past(info.MTime, mtree.MinStamp, now), ctime: stamprule.Past(info.CTime, mtree.MinStamp, now)})
	}
}

// list reads v, pushes its subdirectories and tells what was found.
func (a *audit) list(v *visit) error {
	now := a.Now()
	f := finding{mtime: mtree.MinStamp, ctime: mtree.MinStamp}
	if v.info.CTime.Add(stamprule.CtimeLag).Before(now) { // else a change to come may show the same
		v.judged = v.info.CTime
	}
	changed := a.judgeSelf(v, now)
	v.raise(stamprule.Past(v.info.MTime, v.info.CTime, now))
	var below []*visit
	err := v.dir.ScanStat(func(name []byte, info disk.Info) error {
		if a.passes(v, name, info) {
			return nil
		}
		if info.Kind == mtree.Dir {
			below = append(below, &visit{parent: v, name: string(name), inode: info.Node.Ino, arrived: v.arrived, greatest: mtree.MinStamp})
			return nil
		}
		a.files.Add(1)
		v.raise(stamprule.Past(info.MTime, info.CTime, now))
		if a.judge(v, info) {
			changed = true
			f.mtime = mtree.Later(f.mtime, stamprule.Past(info.MTime, mtree.MinStamp, now))
			f.ctime = mtree.Later(f.ctime, stamprule.Past(info.CTime, mtree.MinStamp, now))
		}
		return nil
	})
	if changed {
		f.path, f.judged = v.path(), v.judged
		a.report(f)
	}
	a.push(v, below)
	return err
}

// passes reports whether an entry of v is passed over: excluded, or the
// beginning of another file system.
func (a *audit) passes(v *visit, name []byte, info disk.Info) bool {
	isDir := info.Kind == mtree.Dir
	if !a.exclude.Empty() && a.exclude.Excluded(mtree.JoinPath(v.path(), string(name)), isDir) {
		return true
	}
	if isDir && a.beyond(v.info, info) {
		a.trouble.pass(mtree.JoinPath(v.path(), string(name)))
		return true
	}
	return false
}

// judgeSelf decides whether v changed by what it shows itself. Its own ctime
// means that it may have arrived under its name, and then all below counts too;
// the root cannot.
func (a *audit) judgeSelf(v *visit, now mtree.Stamp) bool {
	switch {
	case a.all:
		return true
	case !v.info.CTime.Before(a.since) && !a.ownWrites.Stayed(v.dir, v.info):
		v.arrived = v.parent != nil
		return true
	case v.arrived:
		return true
	}
	return v.info.MTime.After(now) && v.info.MTime.After(a.grounds.floor)
}

// judge decides by an entry that is no directory whether v changed. A ctime
// above v's stamp and the audit before is a write that no event told of: by
// another hard link, or through memory.
func (a *audit) judge(v *visit, info disk.Info) bool {
	return !info.CTime.Before(a.since) ||
		info.CTime.After(v.info.MTime) && info.CTime.After(a.before)
}

func (a *audit) push(v *visit, below []*visit) {
	v.waiting.Add(int64(len(below)))
	v.pending.Add(int64(len(below)))
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stack = append(a.stack, below...)
	if len(below) > 1 {
		a.ready.Broadcast()
	}
}

// finished is called for v when it and all below are listed; it goes on to the
// parent if this was its last child. On the first run that is when the greatest
// mtime is known, children before their parents.
func (a *audit) finished(v *visit) {
	for ; v != nil && v.pending.Add(-1) == 0; v = v.parent {
		if !a.first || v.dir == nil {
			continue
		}
		a.report(finding{path: v.path(), judged: v.judged, first: true, value: v.greatest, showed: v.info.MTime})
		if v.parent != nil {
			v.parent.raise(v.greatest)
		}
	}
}

func (v *visit) raise(t mtree.Stamp) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.greatest = mtree.Later(v.greatest, t)
}

// report queues a finding for the writer.
func (a *audit) report(f finding) {
	a.found.Add(1)
	a.mu.Lock()
	a.chunk = append(a.chunk, f)
	full := len(a.chunk) >= findingsAtOnce
	a.mu.Unlock()
	if full {
		a.send(false)
	}
}

// send hands the queued findings to the writer, and waits until it takes them.
// One at a time, so that the writer gets them in the order of report: on the
// first run children come before their parents.
func (a *audit) send(last bool) {
	a.sending.Lock()
	defer a.sending.Unlock()
	a.mu.Lock()
	chunk := a.chunk
	if !last && len(chunk) < findingsAtOnce {
		chunk = nil
	} else {
		a.chunk = nil
	}
	a.mu.Unlock()
	if len(chunk) == 0 {
		return
	}
	select {
	case a.findings <- chunk:
	case <-a.ctx.Done():
	}
}

// unreadable handles a directory that could not be opened or read.
func (a *audit) unreadable(v *visit, err error) {
	if disk.IsGone(err) && v.parent != nil {
		return
	}
	if v.parent == nil {
		a.mu.Lock()
		a.failed = err
		a.mu.Unlock()
		return
	}
	a.trouble.cannotRead(v.path(), v.inode, err)
}

// path is built only for directories with something to tell: once, at its
// length, for a tree may be thousands of directories deep.
func (v *visit) path() string {
	size := 0
	for up := v; up.parent != nil; up = up.parent {
		size += len(up.name) + 1
	}
	if size == 0 {
		return ""
	}
	path := make([]byte, size-1)
	at := len(path)
	for up := v; up.parent != nil; up = up.parent {
		at -= len(up.name)
		copy(path[at:], up.name)
		if at > 0 {
			at--
			path[at] = '/'
		}
	}
	return string(path)
}
