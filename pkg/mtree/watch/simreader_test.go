package watch_test

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/lister"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/internal/sys/simkernel"
	"tidemark/pkg/mtree/wire"
)

// simReader reads a simulated tree by the protocol, on another machine: it remembers what it
// saw of each directory with its stamp, and passes over a directory whose stamp it knows,
// where the state of the tree allows that.
type simReader struct {
	s       *simulation
	process *simkernel.Process
	known   map[string]*believed
	epoch   string      // of the tree, when the reader was last complete
	run     string      // of watch, which was listed last
	top     mtree.Stamp // the highest time that the root showed in it
	full    bool        // nothing is passed over until the reader is complete
	busy    atomic.Bool
	done    bool // the last pass was complete
	pruned  bool // and passed over what it could
	passes  int
	parts   *simParts // nil: it lists whole directories only

	// By path: what a stamp stood for at a moment of rest, in one epoch. In another one, readers
	// look at every directory even where stamps are equal.
	stamped map[string]map[mtree.Stamp]digest
	of      string // the epoch
}

// believed is what the reader knows of a directory.
type believed struct {
	stamp   mtree.Stamp
	entries map[string]string // name -> what shows; a directory: "dir MODE"
	denied  bool              // watch may not read it
	own     bool              // stamp is its own time, of a directory that refuses its stamp: nobody watched

	// Of a reader by parts: id of the directory, when it was listed whole, when it was listed.
	id        string
	now, came mtree.Stamp
}

func newSimReader(s *simulation) *simReader {
	return &simReader{s: s, known: map[string]*believed{}, full: true, stamped: map[string]map[mtree.Stamp]digest{}}
}

// begin begins a pass, unless one runs. Its calls wait for their turns.
func (r *simReader) begin() {
	if r.busy.Swap(true) {
		return
	}
	p := r.s.kernel.Start("reader", 0)
	r.process = p
	p.Scheduled = true
	r.passes++
	go func() {
		defer r.busy.Store(false)
		r.done = false
		r.done = r.read(p)
	}()
}

// read makes a pass by a process.
func (r *simReader) read(p *simkernel.Process) bool {
	r.pruned = false
	fd, err := p.Openat(unix.AT_FDCWD, simRoot, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return false
	}
	root := disk.NewDir(fd, simRoot)
	defer func() { _ = root.Close() }()
	return r.pass(root)
}

// end ends a pass that runs.
func (r *simReader) end() {
	if r.process != nil {
		r.process.Kill()
	}
	r.s.await(func() bool { return !r.busy.Load() })
}

func (r *simReader) pass(root *disk.Dir) bool {
	published, err := state.ReadPublished(root, "")
	if err != nil {
		return false
	}
	epoch := fmt.Sprint(published.Tree.ID, " ", published.Tree.Epoch)
	if epoch != r.epoch {
		r.full = true
	}
	if r.rolledBack(root, published.Tree.Runs) {
		r.full = true
	}
	w := &simWalk{simReader: r, root: root, prunes: published.State.Prunes() && !r.full, unwatched: published.State == wire.Unwatched}
	w.lister = lister.Lister{Root: root, Hidden: true, Exceptions: func() (*state.Exceptions, error) {
		if w.unwatched {
			return nil, nil
		}
		return w.exceptions.Read(root, "")
	}}
	w.byParts = w.beginParts(&published)
	if !w.descend(root, "") {
		return false
	}
	again, err := state.ReadPublished(root, "")
	if err != nil || fmt.Sprint(again.Tree.ID, " ", again.Tree.Epoch) != epoch {
		return false
	}
	r.full, r.epoch, r.pruned = false, epoch, w.prunes
	return true
}

// rolledBack reports whether the source went back to a time before what the reader saw: what it
// listed while nobody watched may be lost with the power. It notes the run and the root's time.
func (r *simReader) rolledBack(root *disk.Dir, runs []wire.Run) bool {
	info, err := root.Self()
	if err != nil {
		return false
	}
	back := r.run != "" && len(runs) > 0 && !wire.RunReached(runs, r.run, r.top)
	if run := wire.LatestRun(runs); run != r.run {
		r.run, r.top = run, info.MTime
	}
	r.top = mtree.Later(r.top, info.MTime)
	return back
}

// simWalk is one pass.
type simWalk struct {
	*simReader
	root       *disk.Dir
	prunes     bool
	unwatched  bool
	lister     lister.Lister
	exceptions state.ExceptionsReader

	byParts bool // parts may be asked for
	fetched map[string]*seen
}

func (w *simWalk) descend(d *disk.Dir, path string) bool {
	if w.parts != nil {
		return w.visit(d, path)
	}
	info, err := w.lister.Self(d, path)
	if err != nil {
		return false
	}
	have := w.known[path]
	if w.prunes && have != nil && have.stamp == info.MTime && !have.denied {
		return true
	}
	if except, err := w.lister.Exceptions(); err != nil {
		return false
	} else if except.Vouched(w.root, path) != nil {
		w.known[path] = &believed{denied: true}
		return true
	}
	listing, err := w.lister.Read(d, path)
	if err != nil || listing.Hot {
		return false
	}
	now, complete := &believed{stamp: listing.Stamp, entries: map[string]string{}, own: w.showsItsOwn(path)}, true
	delete(w.known, path)
	for _, e := range listing.Entries {
		if now.entries[e.Name], err = w.show(d, e); err != nil {
			return false
		}
		if e.Kind == mtree.Dir {
			complete = w.child(d, e, mtree.JoinPath(path, e.Name)) && complete
		}
	}
	if complete {
		w.known[path] = now
	}
	return complete
}

// showsItsOwn reports whether a directory refuses its stamp, and shows its own time since nobody
// watches.
func (w *simWalk) showsItsOwn(path string) bool {
	if !w.unwatched {
		return false
	}
	refused, err := w.exceptions.Read(w.root, "")
	return err == nil && refused.Refuses(path)
}

// child goes down to a directory. It is complete if it has the stamp that was listed for it.
func (w *simWalk) child(d *disk.Dir, e mtree.Entry, path string) bool {
	child, err := d.OpenDir(e.Name)
	if err != nil {
		return false
	}
	defer func() { _ = child.Close() }()
	return w.descend(child, path) && (w.known[path].denied || w.known[path].stamp == e.MTime)
}

// show returns everything that a copy keeps of an entry.
func (w *simWalk) show(d *disk.Dir, e mtree.Entry) (string, error) {
	switch e.Kind {
	case mtree.Dir:
		return fmt.Sprint("dir ", e.Mode), nil
	case mtree.File:
		f, _, err := d.OpenFile(e.Name)
		if err != nil {
			return "", err
		}
		defer func() { _ = f.Close() }()
		var text [64]byte
		n, _ := f.Read(text[:])
		return fmt.Sprintf("file %o %v %q", e.Mode, e.MTime, text[:n]), nil
	}
	return fmt.Sprintf("%v %v %q", e.Kind, e.MTime, e.Link), nil
}

// judge compares what the reader believes with what is there, at a moment of rest.
func (r *simReader) judge() {
	p := r.s.kernel.Start("judge", 0)
	defer r.s.as(p)()
	fd, err := p.Openat(unix.AT_FDCWD, simRoot, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		r.s.fail("no root: %v", err)
		return
	}
	root := disk.NewDir(fd, simRoot)
	defer func() { _ = root.Close() }()
	if r.of != r.epoch {
		r.of, r.stamped = r.epoch, map[string]map[mtree.Stamp]digest{}
	}
	w := &simWalk{simReader: r, root: root}
	w.lister = lister.Lister{Hidden: true, Exceptions: func() (*state.Exceptions, error) { return w.exceptions.Read(root, "") }}
	w.compare(root, "")
}

func (w *simWalk) compare(d *disk.Dir, path string) (whole digest) {
	have := w.known[path]
	except, err := w.lister.Exceptions()
	if err == nil && except.Vouched(w.root, path) != nil {
		return whole // it is not published
	}
	if have == nil || have.denied {
		w.s.fail("%q: the reader has not seen it", path)
		return whole
	}
	listing, err := w.lister.Read(d, path)
	if err != nil {
		w.s.fail("%q: %v", path, err)
		return whole
	}
	hash, is := sha256.New(), map[string]string{}
	for _, e := range listing.Entries {
		if is[e.Name], err = w.show(d, e); err != nil {
			w.s.fail("%q: %v", path, err)
		}
		if strings.HasPrefix(e.Name, excludedPrefix) {
			continue
		}
		fmt.Fprintf(hash, "%q %s\n", e.Name, is[e.Name])
		if e.Kind == mtree.Dir {
			if child, err := d.OpenDir(e.Name); err == nil {
				below := w.compare(child, mtree.JoinPath(path, e.Name))
				hash.Write(below[:])
				_ = child.Close()
			}
		}
	}
	w.differ(path, have.entries, is)
	// A stamp in .tidemark/stamps counts only from the moment that the tree is watched; if the
	// directory takes it then, no other stamp tells. What is excluded moves a time without being
	// published.
	if have.stamp != listing.Stamp && !except.Refuses(path) && !have.own && len(w.s.exclude) == 0 {
		w.s.fail("%q: the reader has the stamp %s, there is %s", path, have.stamp, listing.Stamp)
	}
	hash.Sum(whole[:0])
	if w.stamped[path] == nil {
		w.stamped[path] = map[mtree.Stamp]digest{}
	}
	key := w.stamped[path]
	if other, ok := key[listing.Stamp]; ok && other != whole {
		w.s.fail("%q: the stamp %s stood for other contents before", path, listing.Stamp)
	}
	key[listing.Stamp] = whole
	return whole
}

func (w *simWalk) differ(path string, believed, is map[string]string) {
	names := map[string]bool{}
	for name := range believed {
		names[name] = true
	}
	for name := range is {
		names[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if believed[name] != is[name] && !(len(w.s.exclude) > 0 && strings.HasPrefix(name, excludedPrefix)) {
			w.s.fail("%q: believed %q, is %q", mtree.JoinPath(path, name), believed[name], is[name])
		}
	}
}
