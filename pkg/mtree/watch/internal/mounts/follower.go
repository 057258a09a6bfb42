package mounts

import (
	"errors"
	"maps"
	"slices"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/notify"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/internal/sys"
)

// Follower knows the mounts below a root. One goroutine uses it.
type Follower struct {
	root        *disk.Dir
	crossMounts bool
	hidden      func(path string) bool

	table       *machine.MountTable // nil: changes of mounts are not known, except by audits
	seen        bool                // then: the last audit saw something mounted below the root
	at          table
	overlapping bool // something is in the tree at more than one place
	unread      bool // the table is to be read: it could not be since it changed, or paths in it may have
}

// Follow begins to follow the mounts below root. hidden reports whether a mount at a path
// makes no difference. An error means that changes of mounts cannot be known, or not yet; the
// Follower may still be used.
func Follow(root *disk.Dir, crossMounts bool, hidden func(path string) bool) (f *Follower, err error) {
	f = &Follower{root: root, crossMounts: crossMounts, hidden: hidden}
	if f.table, err = machine.NewMountTable(); err != nil {
		return f, err
	}
	err = f.read()
	if errors.Is(err, sys.ErrNoProc) {
		_ = f.Close()
		f.table = nil
		return f, err
	}
	f.unread = err != nil
	return f, err
}

// Follows reports whether mounts are followed. If not, audits are to say what they Saw.
func (f *Follower) Follows() bool { return f.table != nil }

// Saw takes over whether an audit saw anything mounted below the root. It reports whether
// the one before did, and this one did not: what lies there now is not what readers know.
func (f *Follower) Saw(mounted bool) (went bool) {
	went = f.seen && !mounted
	f.seen = mounted
	return went
}

// Close ends the following.
func (f *Follower) Close() error {
	if f.table == nil {
		return nil
	}
	return f.table.Close()
}

// C returns the channel that says when to call Look; nil if the kernel does not report
// changes.
func (f *Follower) C() <-chan struct{} {
	if f.table == nil {
		return nil
	}
	return f.table.C
}

// Known reports whether the present mounts are known.
func (f *Follower) Known() bool { return !f.unread }

// Record returns the mounts for the tree file. Where they are not followed, something that is
// mounted makes it one at the root, below which everything is to be looked at.
func (f *Follower) Record() (all []state.Mount) {
	if f.seen {
		return []state.Mount{{}}
	}
	for _, path := range slices.Sorted(maps.Keys(f.at)) {
		if path != "" && !f.hidden(path) {
			all = append(all, state.MountAt(f.root, path, f.crossMounts))
		}
	}
	return all
}

// Has reports whether something is mounted at a path.
func (f *Follower) Has(path string) bool {
	_, has := f.at[path]
	return has
}

// Entered returns the paths of what is mounted below the root and belongs to the tree, in order.
func (f *Follower) Entered() (paths []string) {
	for _, path := range slices.Sorted(maps.Keys(f.at)) {
		if f.crossMounts && path != "" && !f.hidden(path) { // guard (without f.crossMounts): TestStopFlushesWhatIsMounted
			paths = append(paths, path)
		}
	}
	return paths
}

// Files returns the paths of the files that are mounted by themselves and belong to the tree, in order.
func (f *Follower) Files() []string {
	return slices.DeleteFunc(f.Entered(), func(path string) bool { return !f.at[path].File })
}

// Since returns the paths where mounts came or went since the record was.
func (f *Follower) Since(was []state.Mount) (paths []string) {
	is := f.Record()
	for _, m := range slices.Concat(was, is) {
		if !slices.Contains(was, m) || !slices.Contains(is, m) {
			if path, err := mtree.UnescapeName(m.Path); err == nil && !slices.Contains(paths, path) {
				paths = append(paths, path)
			}
		}
	}
	return paths
}

// Moved says that directories may have been renamed. What is mounted in them has another path
// then, and what is mounted from them another root. The table has both, and raises no alarm for
// that: the next Look reads it. Without events nobody hears of a rename, so each audit begins and ends
// with that.
func (f *Follower) Moved() { f.unread = f.table != nil }

// Change says where mounts came or went.
type Change struct {
	Read bool // the mounts were read anew: they may have changed
	Any  bool // mounts below the root came or went, perhaps at hidden paths only
	Root bool // something else is mounted at the root, or above it
	// Paths are those below the root, without the hidden ones, and the other places of what was shown there.
	// inotify has one watch for all these places, at the one that was armed last: it goes with that place.
	Paths []string
}

// Look returns the changes since the last call. Mounts elsewhere on the machine
// cost a comparison. After an error the next call tries again.
func (f *Follower) Look() (c Change, err error) {
	if f.table == nil || !f.table.Changed() && !f.unread {
		return c, nil
	}
	was, twice := f.at, f.overlapping
	if err := f.read(); err != nil {
		f.unread = true
		return c, err
	}
	f.unread, c.Read = false, true
	c.Root = f.at[""].What != was[""].What
	for path := range joined(was, f.at) {
		if path == "" || was[path].What == f.at[path].What {
			continue
		}
		c.Any = true
		if f.hidden(path) { // guard: TestMountsThatWereShownTwice
			continue
		}
		paths := []string{path}
		if twice { // guard: TestMountsThatWereShownTwice
			paths = append(paths, was.shownToo(path)...)
		}
		for _, path := range paths {
			if !f.hidden(path) && !slices.Contains(c.Paths, path) {
				c.Paths = append(c.Paths, path)
			}
		}
	}
	return c, nil
}

// read reads the mount table.
func (f *Follower) read() error {
	at, err := machine.Mounts(f.root.FD())
	if err == nil {
		f.at, f.overlapping = at, f.crossMounts && table(at).overlap()
	}
	return err
}

// joined returns a map with the keys of both.
func joined(a, b table) table {
	all := make(table, len(a)+len(b)) // a is nil until the table was read once
	maps.Copy(all, a)
	maps.Copy(all, b)
	return all
}

// Everywhere returns the events, and the same events at the other places where a mount
// shows the same directory or file. Where it shows the root, that is a border, and what happens below
// is a change of the directory above it. That the times of a directory were set is not: each batch does
// so, and would begin another one.
func (f *Follower) Everywhere(events []*notify.DirEvents) []*notify.DirEvents {
	if !f.overlapping {
		return events
	}
	all := events
	borders := f.at.others("")
	for _, e := range events {
		for _, path := range f.at.others(e.Path) {
			also := *e
			also.Path = path
			if at := slices.IndexFunc(borders, func(b string) bool { return isWithin(path, b) }); at >= 0 { // guard: TestTheRootWithinItself
				if !e.Dirty && len(e.Entries) == 0 { // guard: TestTheRootWithinItself
					continue
				}
				also = notify.DirEvents{Path: mtree.ParentPath(borders[at]), Dirty: true}
			}
			all = append(all, &also)
		}
		for _, entry := range e.Entries { // it may be mounted by itself
			for _, path := range f.at.others(mtree.JoinPath(e.Path, entry.Name)) {
				if _, mounted := f.at[path]; mounted && path != "" {
					all = append(all, &notify.DirEvents{Path: mtree.ParentPath(path), Entries: []notify.Entry{{Name: mtree.BaseName(path)}}})
				}
			}
		}
	}
	return all
}
