package watch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/glob"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/notify"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/watch/internal/ownwrites"
	"tidemark/pkg/mtree/watch/internal/stamprule"
	"tidemark/pkg/mtree/watch/internal/trigger"
	"tidemark/pkg/mtree/wire"
)

// watcher is a running watch. One goroutine, that of run, owns all of it and is
// the only one that sets times; an audit's workers read what is fixed at the
// start, and share source, left and trouble, which guard themselves.
type watcher struct {
	Config
	exclude   *glob.List
	root      *disk.Dir
	inode     disk.Info // of the root, at the start
	granule   time.Duration
	source    notify.Source
	backend   string
	ownWrites *ownwrites.Memory
	trouble   *trouble
	borders   *borders
	apart     *apart              // trouble's
	steps     *machine.ClockSteps // nil if the kernel has none
	mounts    mounts

	// Owned by run.
	clock   stamprule.Clock
	floor   mtree.Stamp // the highest stamp published
	marker  *state.Marker
	lock    *state.Lock
	tree    state.Tree
	wrote   state.Tree // what the tree file holds
	file    *state.StatusFile
	log     *state.LeftLog
	status  state.Status
	hook    *trigger.Hook
	printer *trigger.Printer
	wake    chan struct{}
	audits  auditing
	batch   settling
	sync    []string // cookies that wait for their batch

	unstamped bool            // the first audit of all is not done
	bordered  map[string]bool // borders when the last watcher ran; nil once an audit is done

	lossTold     time.Time // when a loss was logged last
	lossesUntold int       // since then
}

// Run watches until ctx ends; it returns nil after an orderly stop. Errors
// carry the exit code of docs/cli.md.
func Run(ctx context.Context, c Config) error {
	w, err := open(c, c.Backend)
	if err != nil {
		return err
	}
	w.printTo(trigger.Patience)
	err = w.run(ctx)
	return errors.Join(err, w.close())
}

// Once scans the tree, publishes what changed since it was last watched or
// scanned, and returns: for cron. Readers then see it as audited.
func Once(ctx context.Context, c Config) error {
	w, err := open(c, "none")
	if err != nil {
		return err
	}
	w.printTo(trigger.OncePatience)
	err = w.once(ctx)
	return errors.Join(err, w.close())
}

// open takes possession of the tree: anew if .tidemark is removed meanwhile.
func open(c Config, backend string) (w *watcher, err error) {
	c.Backend = backend
	c, exclude, err := c.complete()
	if err != nil {
		return nil, err
	}
	for range removalTries {
		if w, err = take(c, exclude); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return w, err
}

// removalTries is how often something in .tidemark is made that somebody removes
// at the same time: rm -rf needs a few, for what is made anew it has not listed.
const removalTries = 100

func take(c Config, exclude *glob.List) (_ *watcher, err error) {
	w := &watcher{Config: c, exclude: exclude, wake: make(chan struct{}, 1), trouble: newTrouble(c.Log, c.Stats)}
	w.hook = trigger.NewHook(c.Exec, c.Log, &c.Stats.HookRuns, &c.Stats.HookErrors)
	w.borders, w.apart = newBorders(c.Log, c.Stats), w.trouble.apart
	w.clock, w.batch.timer = stamprule.NewClock(c.Now), time.NewTimer(time.Hour)
	w.batch.timer.Stop()
	if w.root, err = openRoot(c.Root, c.StateDir, c.CrossMounts); err != nil {
		return nil, err
	}
	var id identity
	if w.marker, w.lock, id, err = claim(c, w.root); err == nil {
		err = w.begin(id)
	}
	if err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

// begin publishes that a watcher runs here, and what it goes by.
func (w *watcher) begin(id identity) (err error) {
	if w.inode, err = w.root.Self(); err != nil {
		return exit.With(exit.Local, err, "")
	}
	if w.granule, err = w.marker.Granule(); err != nil {
		return exit.With(exit.Local, err, "")
	}
	now := w.clock.Now()
	known, err := w.openFiles()
	if err != nil {
		return exit.With(exit.Local, err, "")
	}
	id.first = id.first || id.tree.Epoch == 0 && !id.doubt // the first audit never came to its end
	doubts := id.doubts(now)
	w.goOn(id, now)
	if lost := w.recall(&id); doubts == "" && !id.first {
		doubts = lost
	}
	w.audits.next = w.groundsAtStart(id, doubts, now)
	if doubts == "" && !id.first {
		w.ownWrites = ownwrites.New(w.log, known, now)
		w.status.Checkpoint, w.status.Audit = id.status.Checkpoint, id.status.Audit
	} else {
		w.ownWrites = ownwrites.New(w.log, nil, now)
	}
	w.followMounts(id)
	w.tree.BeginRun(id.ended(w.inode.MTime, now))
	if err := w.listen(); err != nil { // first: a start that fails of it must not raise the epoch
		return err
	}
	if err := w.declare(doubts); err != nil {
		return err
	}
	if _, _, err := w.source.Arm(notify.Marker, -1, "", w.marker.Dir().FD()); err != nil {
		w.trouble.unheard(err)
	}
	if w.steps, err = machine.NewClockSteps(); err != nil {
		w.Log.Info("a clock that is set back is noticed at the next change only", "err", err)
	}
	if id.first {
		w.outwait(stamprule.CtimeLag) // a ctime after our reading must not lie before it, once readers rely on us
	} else if w.CrossMounts && (id.status.CrossMounts == nil || !*id.status.CrossMounts) {
		w.outwait(state.StatusLag) // what serve refused so far must be there when its parents get new stamps
	}
	w.setState(w.state())
	w.Ready()
	return nil
}

// goOn takes over what earlier runs know of the tree.
func (w *watcher) goOn(id identity, now mtree.Stamp) {
	w.tree, w.floor, w.unstamped = id.tree, mtree.Later(now, w.inode.MTime), id.first
	if id.status.Floor != nil {
		w.floor = mtree.Later(w.floor, *id.status.Floor)
	}
	if w.unstamped {
		w.tree.Epoch = 0 // until the first audit is done
	}
	w.bordered = map[string]bool{}
	for _, path := range id.tree.Borders {
		w.bordered[path] = true // as an earlier version wrote it
		if path, err := mtree.UnescapeName(path); err == nil {
			w.bordered[path] = true
		}
	}
	w.audits.owed = true
	if w.status.State = w.state(); id.status.State == wire.Degraded && !w.unstamped {
		w.status.State = wire.Degraded // until an audit ends it
	}
	w.status.CrossMounts = &w.CrossMounts
}

// declare writes that the tree is this watcher's, and in which epoch. The status goes
// first, and to the disk: if continuity is in doubt no checkpoint may be left that
// would count with the new tree file, after a kill or a power cut.
func (w *watcher) declare(doubts string) error {
	if _, err := w.apart.save(w.marker, false); err != nil {
		return exit.With(exit.Local, err, "")
	}
	w.writeStatus()
	if err := w.file.Sync(); err != nil {
		return exit.With(exit.Local, err, "")
	}
	if doubts != "" {
		w.Log.Warn("continuity cannot be proved: every directory is stamped anew and readers compare everything once", "why", doubts)
		w.tree.RaiseEpoch(w.Now())
	}
	if err := w.marker.WriteTree(w.tree); errors.Is(err, state.ErrInTheWay) {
		return exit.With(exit.Local, err, "")
	} else if err != nil {
		return exit.With(exit.Local, err, "the root must be writable for .tidemark, or use --state-dir DIR")
	}
	w.wrote = w.tree
	w.disown()
	return nil
}

// options is what decides which changes are published, in one string.
func (w *watcher) options() string {
	text := fmt.Sprintf("--cross-mounts=%t", w.CrossMounts)
	for _, rule := range slices.Compact(slices.Sorted(slices.Values(w.Exclude))) {
		text += fmt.Sprintf(" --exclude %q", rule)
	}
	return text
}

// disown takes away what a mirror left of a copy: the record of the root, and with
// --state-dir what its own .tidemark says.
func (w *watcher) disown() {
	if err := records.Drop(w.root); err != nil {
		w.Log.Info("the root keeps the record of a copy", "err", err)
	}
	if w.StateDir == "" {
		return
	}
	own, err := state.OpenMarker(w.root, "")
	if err != nil {
		return // it has none
	}
	defer own.Close()
	if t, err := own.ReadTree(); errors.Is(err, state.ErrNoTree) || err == nil && t.Role == state.Copy {
		if err := own.WriteTree(w.tree); err != nil {
			w.Log.Warn("the root's own .tidemark still says that it is a copy: --promote is needed at each start", "err", err)
		}
	}
}

// outwait lets so much time pass.
func (w *watcher) outwait(d time.Duration) { <-time.After(d) }

func (w *watcher) openFiles() (known []state.Left, err error) {
	file, err := w.marker.CreateStatus()
	if err != nil {
		return nil, err
	}
	log, known, err := w.marker.OpenLeft()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	w.file, w.log = file, log
	return known, nil
}

func (w *watcher) groundsAtStart(id identity, doubts string, now mtree.Stamp) *grounds {
	g := &grounds{reason: "start", loss: true, first: id.first, all: doubts != "", told: doubts != "", since: now, before: now}
	if was := id.tree.Options; !id.first && doubts == "" && was != w.options() {
		w.Log.Info("other options than before: every directory is stamped anew", "before", was, "now", w.options())
		g.all = true // what they left out was not published
	}
	if !id.first && doubts == "" {
		g.since = id.status.Checkpoint.Add(-stamprule.LookBack)
		g.before = *id.status.Checkpoint
		if id.status.Audit != nil {
			g.before = *id.status.Audit
		}
	}
	return g
}

// listen opens the source of events: the one asked for, or the best that works.
func (w *watcher) listen() error {
	backends := []string{w.Backend}
	if w.Backend == "auto" {
		backends = []string{"fanotify", "inotify", "none"}
		if why := notify.Mute(w.root.FD()); why != nil {
			w.Log.Warn("no events here: the tree is known by audits only", "why", why)
			backends = []string{"none"}
		}
	}
	var err error
	for _, w.backend = range backends {
		if w.source, err = w.hear(w.backend); err == nil {
			break
		}
		if len(backends) > 1 {
			w.Log.Info("backend does not work here", "backend", w.backend, "why", err)
		}
	}
	if err != nil {
		remedy := "--backend auto takes what works here, and says what does not"
		if errors.Is(err, notify.ErrLimit) {
			remedy = "" // the error names it
		}
		return exit.With(exit.Local, fmt.Errorf("--backend %s: %w", w.Backend, err), remedy)
	}
	return nil
}

func (w *watcher) hear(backend string) (notify.Source, error) {
	switch backend {
	case "fanotify":
		return notify.Fanotify(w.root.FD(), w.sameProcess, w.wake)
	case "inotify":
		return notify.Inotify(w.wake)
	}
	return notify.None(w.wake)
}

// close gives up what open took. It is safe after a failed open.
func (w *watcher) close() error {
	var errs []error
	if w.source != nil {
		errs = append(errs, w.source.Close())
	}
	if w.steps != nil {
		errs = append(errs, w.steps.Close())
	}
	if w.mounts.table != nil {
		errs = append(errs, w.mounts.table.Close())
	}
	if w.log != nil {
		errs = append(errs, w.log.Close())
	}
	if w.file != nil {
		errs = append(errs, w.file.Close())
	}
	if w.lock != nil {
		errs = append(errs, w.lock.Unlock())
	}
	if w.marker != nil {
		errs = append(errs, w.marker.Close())
	}
	return errors.Join(append(errs, w.root.Close())...)
}

// remark puts .tidemark back, with the same id, after somebody removed it or
// something in it: rsync --delete and git clean do. It may be removed again while
// that is done.
func (w *watcher) remark() (err error) {
	if w.marked() {
		return nil
	}
	w.Log.Warn(".tidemark was removed, or replaced: putting it back")
	for range removalTries {
		if err = w.putBack(); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err == nil && w.marked() {
			return nil
		}
	}
	w.trouble.tell(cmp.Or(err, errRemoved)) // the next event tries again, and the next audit
	return w.replaced()
}

var errRemoved = errors.New("it is removed again and again")

// marked reports whether all that is to be in .tidemark is there.
func (w *watcher) marked() bool {
	return w.standing() && w.lock.Standing(w.marker) && w.marker.Has("tree", "status.json", "left.0", "left.1") && w.said()
}

// putBack makes what is missing in .tidemark. Where the error is fs.ErrNotExist it was
// removed meanwhile; what is open then has no name.
func (w *watcher) putBack() error {
	stands := w.standing()
	if !stands {
		m, err := state.CreateMarker(w.root, w.StateDir)
		if err != nil {
			return exit.With(exit.Local, err, "")
		}
		_ = w.marker.Close() // a directory without a name
		w.marker = m
	}
	if !stands || !w.lock.Standing(w.marker) {
		err := w.lock.Move(w.marker)
		if errors.Is(err, state.ErrLocked) {
			return exit.With(exit.Refused, err, "another watcher took the tree while .tidemark was away")
		}
		if err != nil {
			return exit.With(exit.Local, err, "")
		}
	}
	return w.refile()
}

// said reports whether .tidemark says what this watcher wrote there: not so after
// an older one was put back over it, with the tree or alone.
func (w *watcher) said() bool {
	t, err := w.marker.ReadTree()
	if disk.IsShort(err) || errors.Is(err, state.ErrNewerFormat) {
		return true // nothing can be said, or nothing better
	}
	return err == nil && t.Same(w.wrote) && w.file.Standing(w.marker) && w.apart.standing(w.marker)
}

// refile opens the files of .tidemark anew and writes what they are to hold.
func (w *watcher) refile() error {
	file, log := w.file, w.log
	if _, err := w.openFiles(); err != nil {
		return exit.With(exit.Local, err, "")
	}
	_ = errors.Join(log.Close(), file.Close())
	w.ownWrites.SwitchLog(w.log)
	w.apart.refile()
	w.keep()
	w.wrote = state.Tree{}
	if err := w.writeTree(); err != nil {
		return exit.With(exit.Local, err, "")
	}
	_, _, err := w.source.Arm(notify.Marker, -1, "", w.marker.Dir().FD())
	if err != nil && w.standing() {
		w.trouble.unheard(err)
	}
	w.writeStatus()
	return nil
}

// standing reports whether the marker is still the one in the root.
func (w *watcher) standing() bool {
	if w.StateDir != "" {
		info, err := w.marker.Dir().Self()
		return err == nil && info.Links > 0
	}
	there, err1 := w.root.Stat(mtree.MarkerName)
	held, err2 := w.marker.Dir().Self()
	return err1 == nil && err2 == nil && there.Node == held.Node
}

// replaced reports that the root's path names another directory now, or none.
func (w *watcher) replaced() error {
	if err := w.root.Standing(w.Root); err == nil || disk.IsShort(err) {
		return nil // without descriptors nothing can be said
	}
	return exit.With(exit.Local, fmt.Errorf("%s was moved, deleted or unmounted", w.Root), "start watch again where it is")
}

// setState changes the published state.
func (w *watcher) setState(s wire.State) {
	w.status.State = s
	w.writeStatus()
	w.Notify(string(s))
}

// writeStatus writes status.json: one pwrite.
func (w *watcher) writeStatus() {
	now := w.clock.Now()
	floor := w.floor
	w.status.Floor, w.status.Updated, w.status.Up = &floor, &now, machine.Uptime()
	w.status.Boot, w.status.PID, w.status.Backend = machine.BootID(), os.Getpid(), w.backend
	w.status.Error = w.trouble.what()
	w.status.Stamps, w.status.Unread, w.status.Apart = w.apart.counts()
	w.Stats.Apart.Store(int64(w.status.Stamps))
	w.Stats.Unread.Store(int64(w.status.Unread))
	if info, err := w.root.Self(); err == nil {
		root := info.MTime
		w.status.Root = &root
		sec, _ := root.Unix()
		w.Stats.RootStamp.Store(sec)
	}
	w.status.Counters = map[string]int64{}
	w.Stats.Each(func(name, _ string, value int64) { w.status.Counters[name] = value })
	if err := w.file.Write(w.status); err != nil {
		w.Log.Error("cannot write the status: serve does not see changes of state", "err", err)
	}
}
