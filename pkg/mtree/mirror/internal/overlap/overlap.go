package overlap

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/lister"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
)

// Err is the error of a copy that has met itself. Neither a wait nor another try helps.
var Err = errors.New("it would be copied into itself")

// Source is a source as a Guard asks it.
type Source interface {
	// List returns a directory; the least stamp is always source.Fresh.
	List(ctx context.Context, path string, least mtree.Stamp) (source.Dir, error)

	// Serves reports whether the source gives out a file with this text at path, though
	// it may not list it.
	Serves(ctx context.Context, path string, text []byte) bool
}

// Guard looks whether a copy and its source overlap. Several goroutines may use it.
type Guard struct {
	Source  Source
	Replica *replica.Replica
	DryRun  bool // nothing is changed, not even a ctime: some overlaps are not found
}

// refuse returns the error of an overlap.
func (g *Guard) refuse(what string, args ...any) error {
	return exit.With(exit.Refused, fmt.Errorf("%q %s: %w", g.Replica.Path, fmt.Sprintf(what, args...), Err),
		"give a DEST that is not in SOURCE, and a SOURCE that is neither in DEST nor made from it")
}

// CheckPaths refuses a copy in a local source, and a local source in its copy, by their
// paths and by what is mounted where. to need not exist yet.
func CheckPaths(from, to string) error {
	a, err := replica.Resolve(from)
	if err != nil {
		return nil // opening it gives a better error
	}
	b, err := replica.Resolve(to)
	if err != nil {
		return nil
	}
	if isWithin(a, b) || isWithin(b, a) {
		return exit.With(exit.Usage, fmt.Errorf("%q and %q lie within each other", from, to), "give two separate directories")
	}
	deviceA, insideA := machine.Location(a)
	deviceB, insideB := machine.Location(b)
	if deviceA != "" && deviceA == deviceB && (isWithin(insideA, insideB) || isWithin(insideB, insideA)) && deviceOf(a) == deviceOf(b) {
		return exit.With(exit.Refused, fmt.Errorf("%q and %q lie within each other, by a bind mount", from, to), "give two separate directories")
	}
	return nil
}

// deviceOf returns the device, as stat(2) shows it, of a directory that may not exist
// yet. Subvolumes of btrfs, which are borders, share the device of their mount in
// mountinfo, but not this one.
func deviceOf(path string) uint64 {
	for _, path := range []string{path, filepath.Dir(path)} {
		if dir, err := disk.OpenRoot(path); err == nil {
			info, err := dir.Self()
			_ = dir.Close()
			if err == nil {
				return info.Node.Dev
			}
		}
	}
	return 0
}

// isWithin reports whether path is dir or below it.
func isWithin(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// CheckPlace refuses a copy below the root of the tree with this id, or below the root
// of a copy of that tree: such a copy would copy itself for ever, or be deleted. What
// cannot be read is skipped. Cost: some five system calls for each directory above.
func (g *Guard) CheckPlace(treeID string) error {
	up, err := replica.Resolve(g.Replica.Path)
	if err != nil || treeID == "" {
		return nil
	}
	for up != filepath.Dir(up) {
		up = filepath.Dir(up)
		if isRootOf(up, treeID) {
			return g.refuse("lies within the source, or a copy of it: %q", up)
		}
	}
	return nil
}

// isRootOf reports whether the directory at path is the root of that tree.
func isRootOf(path, treeID string) bool {
	dir, err := disk.OpenRoot(path)
	if err != nil {
		return false
	}
	defer dir.Close()
	tree, err := state.OwnTree(dir)
	return err == nil && tree.ID == treeID
}

// CheckRing refuses a source whose upstreams say that it was made from this copy. A
// source may become such a one at any time, and if nothing in the ring is new, no listing
// shows it.
func (g *Guard) CheckRing(upstreams string) error {
	if t := g.Replica.Tree(); t.CameBy(upstreams) {
		return g.refuse("is what the source was made from, directly or by other copies: a ring")
	}
	return nil
}

// isHere reports whether a was listed on this machine from the directory with that info.
func isHere(a *source.Dir, info disk.Info) bool { return a.Node == info.Node && a.Node != disk.Node{} }

// hasID reports whether a has the id of the directory with that info. Then it is that
// directory, or one on a clone of this disk on another machine.
func hasID(a *source.Dir, treeID string, info disk.Info) bool {
	return a.ID != "" && a.ID == lister.DirID(treeID, info)
}

// CheckRoot refuses a source whose root is the copy itself, or a directory in it. Cost: a
// statx for each entry of the copy, so only a source that is new is checked.
func (g *Guard) CheckRoot(ctx context.Context, a *source.Root) error {
	if g.Replica.Root == nil {
		return nil
	}
	if a.OtherServer && g.isServed(ctx, "") {
		return g.refuse("is the source itself")
	}
	root, err := g.Replica.Root.OpenDirPath("", false)
	if err != nil {
		return exit.With(exit.Local, err, "")
	}
	return g.checkBelow(ctx, a, root, "")
}

// checkBelow does the same for a directory of the copy, and closes it.
func (g *Guard) checkBelow(ctx context.Context, a *source.Root, dir *disk.Dir, path string) error {
	defer dir.Close()
	info, err := dir.Self()
	if err != nil {
		return exit.With(exit.Local, err, "")
	}
	mayBe := hasID(&a.Dir, a.Tree.ID, info) || info.MTime == a.Stamp
	if isHere(&a.Dir, info) || mayBe && g.isRoot(ctx, dir, a.Entries) {
		if path == "" {
			return g.refuse("is the source itself")
		}
		return g.refuse("has the source in it: %s", mtree.QuotePath(path))
	}
	var below []string
	err = dir.ScanStat(func(raw []byte, info disk.Info) error {
		if info.Kind == mtree.Dir && !info.MountRoot {
			below = append(below, string(raw))
		}
		return nil
	})
	if err != nil {
		return nil // the step that needs it reports that
	}
	for _, name := range below {
		if err := ctx.Err(); err != nil {
			return err
		}
		sub, err := dir.OpenDir(name)
		if err != nil {
			continue
		}
		if err := g.checkBelow(ctx, a, sub, mtree.JoinPath(path, name)); err != nil {
			return err
		}
	}
	return nil
}

// CheckDir refuses a directory of the source if it is the copy, or has the copy among its
// entries. a is that directory, at path; of the root it needs the tree and the kind of
// server; isExcluded reports which entries do not count. Cost: nothing, unless an entry
// has the name of the copy's root.
func (g *Guard) CheckDir(ctx context.Context, root *source.Root, path string, a *source.Dir, isExcluded func(path string, dir bool) bool) error {
	if g.Replica.Root == nil {
		return nil
	}
	self := g.Replica.Self.Info
	if isHere(a, self) || path != "" && hasID(a, root.Tree.ID, self) && g.follows(ctx, mtree.ParentPath(path), mtree.BaseName(path)) {
		return g.refuse("is in the source: %s", mtree.QuotePath(path))
	}
	for i := range a.Entries {
		e := &a.Entries[i]
		if e.Kind != mtree.Dir || e.Name != g.Replica.Name || isExcluded(mtree.JoinPath(path, e.Name), true) {
			continue
		}
		below := mtree.JoinPath(path, e.Name)
		if root.OtherServer && g.isServed(ctx, below) || !root.OtherServer && g.isCopy(ctx, path, e) {
			return g.refuse("is in the source: %s", mtree.QuotePath(below))
		}
	}
	return nil
}

// isCopy reports whether an entry of the source's directory at dir, which has the name of
// the copy, is the copy.
func (g *Guard) isCopy(ctx context.Context, dir string, e *mtree.Entry) bool {
	now, err := g.Replica.Root.Self()
	if err != nil || e.Has&mtree.HasCTime == 0 || e.CTime.Before(g.Replica.Self.CTime) || e.CTime.After(now.CTime) {
		return false
	}
	return g.DryRun || g.follows(ctx, dir, e.Name)
}

// follows reports whether the ctime of an entry of the source's directory at dir moves
// when the ctime of the copy's root is moved. A dry run may not try that.
func (g *Guard) follows(ctx context.Context, dir, name string) bool {
	if g.DryRun {
		return false
	}
	root := g.Replica.Root
	from, ok := moveCTime(ctx, root.Self, func(i disk.Info) error { return root.SetTime(i.MTime) })
	if !ok {
		return false
	}
	a, err := g.Source.List(ctx, dir, source.Fresh)
	if err != nil {
		return false
	}
	now, err := root.Self() // concurrent steps go on
	is := find(a.Entries, name)
	return err == nil && is != nil && !is.CTime.Before(from) && !is.CTime.After(now.CTime)
}

// isRoot reports whether the entries of the source's root are those of dir, a directory
// of the copy: all ctimes are equal, and one of them moves when it is moved in the copy.
func (g *Guard) isRoot(ctx context.Context, dir *disk.Dir, entries []mtree.Entry) bool {
	name := ""
	for i := range entries {
		e := &entries[i]
		info, err := dir.Stat(e.Name)
		if err != nil || e.Has&mtree.HasCTime == 0 || e.Kind != info.Kind || e.CTime != info.CTime {
			return false
		}
		if info.Kind == mtree.Dir || info.Kind == mtree.File && info.Links == 1 {
			name = e.Name // else the source may have the file under another name
		}
	}
	if name == "" || g.DryRun {
		return name != ""
	}
	stat := func() (disk.Info, error) { return dir.Stat(name) }
	from, ok := moveCTime(ctx, stat, func(i disk.Info) error { return dir.SetEntryTime(name, i.MTime) })
	if !ok {
		return false
	}
	a, err := g.Source.List(ctx, "", source.Fresh)
	is := find(a.Entries, name)
	return err == nil && is != nil && is.CTime == from
}

// moveCTime sets a time to what it is until the ctime has moved, and returns the new
// ctime.
func moveCTime(ctx context.Context, stat func() (disk.Info, error), set func(disk.Info) error) (mtree.Stamp, bool) {
	before, err := stat()
	if err != nil {
		return mtree.Stamp{}, false
	}
	const tries = 20 // a kernel's clock ticks every 10 ms at the slowest
	for range tries {
		if err := set(before); err != nil {
			return mtree.Stamp{}, false
		}
		if now, err := stat(); err == nil && now.CTime != before.CTime {
			return now.CTime, true
		}
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
		}
	}
	return mtree.Stamp{}, false
}

// find returns the entry with that name; nil if there is none.
func find(entries []mtree.Entry, name string) *mtree.Entry {
	for i := range entries {
		if entries[i].Name == name {
			return &entries[i]
		}
	}
	return nil
}

// isServed reports whether a server of another kind has this very copy at path: such
// servers do not list dotfiles, but do send them.
func (g *Guard) isServed(ctx context.Context, path string) bool {
	ours := g.Replica.TreeFile()
	return ours != nil && g.Source.Serves(ctx, mtree.JoinPath(path, mtree.MarkerName+"/tree"), ours)
}
