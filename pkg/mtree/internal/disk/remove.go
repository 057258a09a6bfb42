package disk

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
)

// ErrMount is returned where something is mounted that was to be removed, entered
// or changed.
var ErrMount = errors.New("another file system is mounted here")

// ErrTree is returned where the root of a tree or copy, a directory with a
// MarkerName in it, was to be removed: it is somebody else's.
var ErrTree = errors.New("the root of another tree or copy is in it (.tidemark)")

// RemoveTree removes the entry name and all below it, as far as that can be done;
// the error is the first of those that left something. Nothing on another file
// system is touched: that gives ErrMount. Nor is anything in the root of a tree or
// copy: ErrTree. A name that is not there is no error.
func (d *Dir) RemoveTree(name string) error {
	_, err := d.ClearTree(name, false)
	return err
}

// ClearTree is RemoveTree that tells how many entries it removed. With trees the
// roots of trees and copies go, too.
func (d *Dir) ClearTree(name string, trees bool) (removed int64, err error) {
	err = d.Unlink(name)
	if err == nil {
		return 1, nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if e := Errno(err); e != unix.EISDIR && e != unix.EPERM {
		return 0, err
	}
	info, statErr := d.Stat(name)
	if statErr != nil || info.Kind != mtree.Dir {
		return 0, err
	}
	if err := d.enterable(info, name); err != nil {
		return 0, err
	}
	child, err := d.openToEmpty(name, info)
	if err != nil {
		return 0, err
	}
	removed, err = child.empty(trees)
	_ = child.Close()
	if err != nil {
		return removed, err
	}
	if err := unix.Unlinkat(d.fd, name, unix.AT_REMOVEDIR); err != nil {
		return removed, d.PathError("rmdir", name, err)
	}
	return removed + 1, nil
}

// openToEmpty opens a directory that is to be emptied. One without r, w or x for
// its owner is made accessible: it is ours all the same.
func (d *Dir) openToEmpty(name string, info Info) (*Dir, error) {
	child, err := d.OpenDir(name)
	if errors.Is(err, fs.ErrPermission) {
		if err := d.ChmodEntry(name, info.Mode|0o700); err != nil {
			return nil, err
		}
		return d.OpenDir(name)
	}
	if err != nil || info.Mode&0o700 == 0o700 || os.Geteuid() == 0 {
		return child, err
	}
	if err := child.Chmod(info.Mode | 0o700); err != nil {
		_ = child.Close()
		return nil, err
	}
	return child, nil
}

// empty removes everything in d, of the root of a tree nothing unless trees.
func (d *Dir) empty(trees bool) (removed int64, err error) {
	if d.HasMarker() {
		if !trees {
			return 0, d.PathError("remove", ".", ErrTree)
		}
		if _, err := d.ClearTree(mtree.MarkerName, trees); err != nil {
			return 0, err
		}
	}
	names, err := d.Names()
	if err != nil {
		return 0, err
	}
	for _, name := range names {
		n, clearErr := d.ClearTree(name, trees)
		removed += n
		if err == nil {
			err = clearErr
		}
	}
	return removed, err
}

// HasMarker reports whether d is, or was, the root of a tree or copy: MarkerName
// is in it. Cost: statx.
func (d *Dir) HasMarker() bool {
	_, err := d.Stat(mtree.MarkerName)
	return err == nil
}

// enterable refuses a directory on another file system.
func (d *Dir) enterable(child Info, name string) error {
	self, err := d.Self()
	if err != nil {
		return err
	}
	if IsBorder(self, child) {
		return d.PathError("remove", name, ErrMount)
	}
	return nil
}

// Count is what a removal takes away.
type Count struct {
	Entries int64
	Stays   bool // something is left for what Prune.Keep said
	Tree    bool // the root of a tree or copy is among it
}

func (c *Count) add(more Count) {
	c.Entries += more.Entries
	c.Stays = c.Stays || more.Stays
	c.Tree = c.Tree || more.Tree
}

// CountTree returns how many entries stand at and below the entry name. It
// fails with ErrMount if one of them is on another file system. Cost: one
// openat, getdents64 and two statx per directory, one statx per entry.
func (d *Dir) CountTree(name string) (Count, error) { return d.prune(name, Prune{}, true) }

// Prune says what stays of a tree that is removed otherwise.
type Prune struct {
	Path  string                             // of the tree's top, as Keep knows it
	Keep  func(path string, isDir bool) bool // not asked for the top; nil: nothing stays
	Trees bool                               // roots of trees and copies go, too

	// Stays is told of each directory that PruneTree leaves for what is in it,
	// children first; nil: nobody is.
	Stays func(dir *Dir, path string) error
}

// CountPruned returns what PruneTree would remove.
func (d *Dir) CountPruned(name string, p Prune) (Count, error) { return d.prune(name, p, true) }

// PruneTree removes the entry name and all below it, but for what p keeps and the
// directories above that. It goes on behind what cannot be removed and returns the
// first error. The root of a tree or copy gives ErrTree, unless p.Trees.
func (d *Dir) PruneTree(name string, p Prune) (Count, error) { return d.prune(name, p, false) }

func (d *Dir) prune(name string, p Prune, dry bool) (c Count, err error) {
	info, err := d.Stat(name)
	if err != nil {
		return c, err
	}
	if info.Kind == mtree.Dir {
		if c, err = d.pruneBelow(name, info, p, dry); err != nil || c.Stays {
			return c, err
		}
	}
	if !dry {
		flags := 0
		if info.Kind == mtree.Dir {
			flags = unix.AT_REMOVEDIR
		}
		if err := unix.Unlinkat(d.fd, name, flags); err != nil {
			return c, d.PathError("remove", name, err)
		}
	}
	c.Entries++
	return c, nil
}

// pruneBelow is prune for what is in the directory name.
func (d *Dir) pruneBelow(name string, info Info, p Prune, dry bool) (c Count, err error) {
	if err := d.enterable(info, name); err != nil {
		return c, err
	}
	var dir *Dir
	if dry {
		if dir, err = d.OpenDir(name); errors.Is(err, fs.ErrPermission) {
			return c, nil // the removal makes it accessible, if it may
		}
	} else {
		dir, err = d.openToEmpty(name, info)
	}
	if err != nil {
		return c, err
	}
	defer dir.Close()
	if c.Tree = dir.HasMarker(); c.Tree && !dry {
		if !p.Trees {
			return c, dir.PathError("remove", ".", ErrTree)
		}
		if _, err := dir.ClearTree(mtree.MarkerName, true); err != nil {
			return c, err
		}
	}
	var gone []string // looked at behind the scan: what changes a directory may confuse it
	err = dir.ScanStat(func(raw []byte, entry Info) error {
		isDir := entry.Kind == mtree.Dir
		switch {
		case p.Keep != nil && p.Keep(mtree.JoinPath(p.Path, string(raw)), isDir):
			c.Stays = true
		case dry && !isDir:
			c.Entries++
		default:
			gone = append(gone, string(raw))
		}
		return nil
	})
	for _, name := range gone {
		below := p
		below.Path = mtree.JoinPath(p.Path, name)
		more, pruneErr := dir.prune(name, below, dry)
		c.add(more)
		if IsGone(pruneErr) {
			pruneErr = nil
		}
		if err == nil {
			err = pruneErr
		}
	}
	if err == nil && c.Stays && !dry && p.Stays != nil {
		err = p.Stays(dir, p.Path)
	}
	return c, err
}
