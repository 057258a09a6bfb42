package selfcopy

import (
	"context"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/lister"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
)

// Source is what a Detector asks of the source. It may give out files that it does not
// list.
type Source interface {
	List(ctx context.Context, path string, least mtree.Stamp) (source.Dir, error)
	Serves(ctx context.Context, path string, text []byte) bool
}

// Detector looks for the copy in its source, and for the source in its copy. Several
// goroutines may use it.
type Detector struct {
	Replica *replica.Replica
	Source  Source
}

// CheckPlace refuses a copy that lies in the tree with the root, or in a copy of it, on
// this machine. It asks nobody.
func (d *Detector) CheckPlace(root *source.Root) error {
	if up := treeAbove(d.Replica.Path, root.Tree.ID); up != "" {
		return refused(d.Replica, "lies within the source, or a copy of it: %q", up)
	}
	return nil
}

// CheckUpstreams refuses a source that was made from this copy. A source may become so
// at any time; and in a ring where nothing is new no listing shows it.
func (d *Detector) CheckUpstreams(root *source.Root) error {
	if t := d.Replica.Tree(); t.CameBy(root.Upstreams) {
		return refused(d.Replica, "is what the source was made from, directly or by other copies: a ring")
	}
	return nil
}

// CheckRoot refuses a source whose root is DEST itself, or a directory in it. Cost: a
// statx for each entry of the copy.
func (d *Detector) CheckRoot(ctx context.Context, root *source.Root) error {
	if d.Replica.Root == nil {
		return nil
	}
	if root.OtherServer && d.isServed(ctx, "") {
		return refused(d.Replica, "is the source itself")
	}
	dir, err := d.Replica.Root.OpenDirPath("", false)
	if err != nil {
		return exit.With(exit.Local, err, "")
	}
	return d.checkBelow(ctx, root, dir, "")
}

// checkBelow refuses a source whose root is dir, which is at path, or below it. It
// closes dir.
func (d *Detector) checkBelow(ctx context.Context, root *source.Root, dir *disk.Dir, path string) error {
	defer dir.Close()
	info, err := dir.Self()
	if err != nil {
		return exit.With(exit.Local, err, "")
	}
	mayBe := hasID(&root.Dir, root.Tree.ID, info) || info.MTime == root.Stamp
	if isHere(&root.Dir, info) || mayBe && d.hasEntries(ctx, dir, root.Entries) {
		if path == "" {
			return refused(d.Replica, "is the source itself")
		}
		return refused(d.Replica, "has the source in it: %s", mtree.QuotePath(path))
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
		if err := d.checkBelow(ctx, root, sub, mtree.JoinPath(path, name)); err != nil {
			return err
		}
	}
	return nil
}

// CheckListing refuses to go on where the listing of the source's directory at path is
// that of DEST, or has DEST among its entries. root is the root of that source. Cost:
// nothing, unless an entry has the name of DEST and may be it.
func (d *Detector) CheckListing(ctx context.Context, root *source.Root, path string, dir *source.Dir) error {
	r := d.Replica
	if r.Root == nil {
		return nil
	}
	self := r.Self.Info
	if isHere(dir, self) || path != "" && hasID(dir, root.Tree.ID, self) && d.rootMovesWith(ctx, mtree.ParentPath(path), mtree.BaseName(path)) {
		return refused(r, "is in the source: %s", mtree.QuotePath(path))
	}
	for i := range dir.Entries {
		e := &dir.Entries[i]
		if e.Kind != mtree.Dir || e.Name != r.Name || r.Filters.Excluded(mtree.JoinPath(path, e.Name), true) {
			continue
		}
		below := mtree.JoinPath(path, e.Name)
		if root.OtherServer && d.isServed(ctx, below) || !root.OtherServer && d.isReplica(ctx, path, e) {
			return refused(r, "is in the source: %s", mtree.QuotePath(below))
		}
	}
	return nil
}

// isReplica reports whether an entry of the source's directory at dir, which has the
// name of DEST, is DEST.
func (d *Detector) isReplica(ctx context.Context, dir string, e *mtree.Entry) bool {
	r := d.Replica
	now, err := r.Root.Self()
	if err != nil || e.Has&mtree.HasCTime == 0 || e.CTime.Before(r.Self.CTime) || e.CTime.After(now.CTime) {
		return false
	}
	return r.ReadOnly || d.rootMovesWith(ctx, dir, e.Name)
}

// isHere reports whether dir was listed on this machine, from the directory that info
// shows.
func isHere(dir *source.Dir, info disk.Info) bool {
	return dir.Node == info.Node && dir.Node != disk.Node{}
}

// hasID reports whether a listing has the id of the directory that info shows: it is
// of that directory, or of one on a clone of this disk on another machine.
func hasID(dir *source.Dir, treeID string, info disk.Info) bool {
	return dir.ID != "" && dir.ID == lister.DirID(treeID, info)
}

// isServed reports whether a server of another kind has this very copy at path: such
// servers hide dotfiles in their listings, but give them out.
func (d *Detector) isServed(ctx context.Context, path string) bool {
	ours := d.Replica.TreeFile()
	return ours != nil && d.Source.Serves(ctx, mtree.JoinPath(path, mtree.MarkerName+"/tree"), ours)
}
