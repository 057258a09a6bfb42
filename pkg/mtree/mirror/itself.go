package mirror

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

// A copy within its source would copy itself, one level deeper with each pass, and
// a source within its copy would be deleted. Names do not tell: there are bind
// mounts, and servers with other addresses and roots. So mirror looks for itself:
//
//   - a local source is told by the places of both on their file systems (apart),
//     and by the device and inode of each directory that is listed;
//   - a tree with an id by the ids of its directories, which are made of these;
//   - any other tree of serve by its ctimes, which nobody can set: an entry that has
//     the name and the ctime of one of ours is one of ours if its ctime moves when
//     ours is moved;
//   - another web server by DEST/.tidemark/tree, if it gives that out;
//   - copies of each other, however many in a ring, by Tree.Copy in the chain.

// errItself is that of a copy that has met itself: neither waiting nor going on
// mends it.
var errItself = errors.New("it would be copied into itself")

func itself(r *replica.Replica, what string, args ...any) error {
	return exit.With(exit.Refused, fmt.Errorf("%q %s: %w", r.Path, fmt.Sprintf(what, args...), errItself),
		"give a DEST that is not in SOURCE, and a SOURCE that is neither in DEST nor made from it")
}

// apart refuses a copy inside its source, which would copy itself for ever, and
// a source inside its copy, which would be deleted.
func apart(from, to string) error {
	a, err := replica.Resolve(from)
	if err != nil {
		return nil // openLocal says it better
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

// deviceOf returns the device of a directory that may not exist yet. Subvolumes of
// btrfs, which are borders, share that of their mount and not this one.
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

// within returns the directory above path that is the tree's root, or that of a
// copy of it, by its id: a copy in there would copy itself for ever, or be
// deleted. "" if there is none. What cannot be read is passed over. Cost: some
// five system calls for each directory above.
func within(path, treeID string) string {
	up, err := replica.Resolve(path)
	if err != nil || treeID == "" {
		return ""
	}
	for up != filepath.Dir(up) {
		up = filepath.Dir(up)
		if rootOf(up, treeID) {
			return up
		}
	}
	return ""
}

func rootOf(path, treeID string) bool {
	dir, err := disk.OpenRoot(path)
	if err != nil {
		return false
	}
	defer dir.Close()
	tree, err := state.OwnTree(dir)
	return err == nil && tree.ID == treeID
}

// mayFollow decides whether the copy may become, or stay, one of the source with the
// root a, as far as can be told without looking at either; see judge.
func (m *mirror) mayFollow(a *source.Root) (holdAll string, err error) {
	d := m.dest
	if up := within(d.Path, a.Tree.ID); up != "" {
		return "", itself(m.dest, "lies within the source, or a copy of it: %q", up)
	}
	if holdAll, err = m.judge(a); err == nil {
		err = m.ring(a)
	}
	return holdAll, err
}

// ring refuses a source that was made from this copy. It may become so at any time,
// and a ring in which nothing is new says so by no listing.
func (m *mirror) ring(a *source.Root) error {
	if t := m.dest.Tree(); t.CameBy(a.Upstreams) {
		return itself(m.dest, "is what the source was made from, directly or by other copies: a ring")
	}
	return nil
}

// isHere reports whether the root a was listed here from the directory that info
// tells.
func isHere(a *source.Dir, info disk.Info) bool { return a.Node == info.Node && a.Node != disk.Node{} }

// hasID reports whether a listing has the id of the directory that info tells: the
// same one, or one of a clone of this disk on another machine.
func hasID(a *source.Dir, treeID string, info disk.Info) bool {
	return a.ID != "" && a.ID == lister.DirID(treeID, info)
}

// contains refuses a source whose root a is DEST itself, or a directory in it.
// Cost: a statx for each entry of the copy; it is asked of a source that is new.
func (m *mirror) contains(ctx context.Context, a *source.Root) error {
	if m.dest.Root == nil {
		return nil
	}
	if a.OtherServer && isServed(ctx, m.dest, m.source, "") {
		return itself(m.dest, "is the source itself")
	}
	root, err := m.dest.Root.OpenDirPath("", false)
	if err != nil {
		return exit.With(exit.Local, err, "")
	}
	return m.containsBelow(ctx, a, root, "")
}

// containsBelow does that for a directory of the copy, which it closes.
func (m *mirror) containsBelow(ctx context.Context, a *source.Root, dir *disk.Dir, path string) error {
	defer dir.Close()
	info, err := dir.Self()
	if err != nil {
		return exit.With(exit.Local, err, "")
	}
	mayBe := hasID(&a.Dir, a.Tree.ID, info) || info.MTime == a.Stamp
	if isHere(&a.Dir, info) || mayBe && m.moves(ctx, dir, a.Entries) {
		if path == "" {
			return itself(m.dest, "is the source itself")
		}
		return itself(m.dest, "has the source in it: %s", mtree.QuotePath(path))
	}
	var below []string
	err = dir.ScanStat(func(raw []byte, info disk.Info) error {
		if info.Kind == mtree.Dir && !info.MountRoot {
			below = append(below, string(raw))
		}
		return nil
	})
	if err != nil {
		return nil // whoever needs to read it says so
	}
	for _, name := range below {
		if err := ctx.Err(); err != nil {
			return err
		}
		sub, err := dir.OpenDir(name)
		if err != nil {
			continue
		}
		if err := m.containsBelow(ctx, a, sub, mtree.JoinPath(path, name)); err != nil {
			return err
		}
	}
	return nil
}

// meets refuses to go on where the listing of the source's directory at path is of
// DEST, or has DEST among its entries.
func (w *work) meets(ctx context.Context, path string, a *source.Dir) error {
	root := w.dest.Root
	if root == nil {
		return nil
	}
	self := w.dest.Self.Info
	if isHere(a, self) || path != "" && hasID(a, w.root.Tree.ID, self) && w.follows(ctx, mtree.ParentPath(path), mtree.BaseName(path)) {
		return itself(w.dest, "is in the source: %s", mtree.QuotePath(path))
	}
	for i := range a.Entries {
		e := &a.Entries[i]
		if e.Kind != mtree.Dir || e.Name != w.dest.Name || w.filters.Excluded(mtree.JoinPath(path, e.Name), true) {
			continue
		}
		below := mtree.JoinPath(path, e.Name)
		if w.root.OtherServer && isServed(ctx, w.dest, w.unlisted, below) || !w.root.OtherServer && w.isUs(ctx, path, e) {
			return itself(w.dest, "is in the source: %s", mtree.QuotePath(below))
		}
	}
	return nil
}

// isUs reports whether an entry of the source's directory at dir, which has the name
// of DEST, is DEST.
func (w *work) isUs(ctx context.Context, dir string, e *mtree.Entry) bool {
	now, err := w.dest.Root.Self()
	if err != nil || e.Has&mtree.HasCTime == 0 || e.CTime.Before(w.dest.Self.CTime) || e.CTime.After(now.CTime) {
		return false
	}
	return w.dryRun || w.follows(ctx, dir, e.Name)
}

// follows reports whether the ctime of an entry of the source's directory at dir
// moves when that of DEST is moved. A dry run may not try.
func (w *work) follows(ctx context.Context, dir, name string) bool {
	if w.dryRun {
		return false
	}
	root := w.dest.Root
	from, ok := moveCTime(ctx, root.Self, func(i disk.Info) error { return root.SetTime(i.MTime) })
	if !ok {
		return false
	}
	a, err := w.source.List(ctx, dir, source.Fresh)
	if err != nil {
		return false
	}
	now, err := root.Self() // steps beside this one go on
	is := find(a.Entries, name)
	return err == nil && is != nil && !is.CTime.Before(from) && !is.CTime.After(now.CTime)
}

// moves reports whether the entries of the source's root are those of dir, a
// directory of the copy: each has its ctime, and that of one moves when ours is
// moved.
func (m *mirror) moves(ctx context.Context, dir *disk.Dir, entries []mtree.Entry) bool {
	name := ""
	for i := range entries {
		e := &entries[i]
		info, err := dir.Stat(e.Name)
		if err != nil || e.Has&mtree.HasCTime == 0 || e.Kind != info.Kind || e.CTime != info.CTime {
			return false
		}
		if info.Kind == mtree.Dir || info.Kind == mtree.File && info.Links == 1 {
			name = e.Name // else another name of the file may be what the source has
		}
	}
	if name == "" || m.config.DryRun {
		return name != ""
	}
	stat := func() (disk.Info, error) { return dir.Stat(name) }
	from, ok := moveCTime(ctx, stat, func(i disk.Info) error { return dir.SetEntryTime(name, i.MTime) })
	if !ok {
		return false
	}
	a, err := m.source.List(ctx, "", source.Fresh)
	is := find(a.Entries, name)
	return err == nil && is != nil && is.CTime == from
}

// moveCTime sets a time to what it is until the ctime has moved, and returns that.
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
		sleep(ctx, time.Millisecond)
	}
	return mtree.Stamp{}, false
}

func find(entries []mtree.Entry, name string) *mtree.Entry {
	for i := range entries {
		if entries[i].Name == name {
			return &entries[i]
		}
	}
	return nil
}

// isServed reports whether a server of another kind has this very copy at path:
// those hide dotfiles in their listings, and give them out.
func isServed(ctx context.Context, r *replica.Replica, from unlisted, path string) bool {
	ours := r.TreeFile()
	return ours != nil && from.Serves(ctx, mtree.JoinPath(path, mtree.MarkerName+"/tree"), ours)
}
