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

// RemoveTree removes the entry name and all below it. Nothing on another file
// system is touched: that gives ErrMount. A name that is not there is no error.
func (d *Dir) RemoveTree(name string) error {
	err := d.Unlink(name)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if e := unixErr(err); e != unix.EISDIR && e != unix.EPERM {
		return err
	}
	info, statErr := d.Stat(name)
	if statErr != nil || info.Kind != mtree.Dir {
		return err
	}
	if err := d.enterable(info, name); err != nil {
		return err
	}
	child, err := d.openToEmpty(name, info)
	if err != nil {
		return err
	}
	err = child.empty()
	_ = child.Close()
	if err != nil {
		return err
	}
	return wrap(d, "rmdir", name, unix.Unlinkat(d.fd, name, unix.AT_REMOVEDIR))
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

// empty removes everything in d.
func (d *Dir) empty() error {
	names, err := d.Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := d.RemoveTree(name); err != nil {
			return err
		}
	}
	return nil
}

// enterable refuses a directory on another file system.
func (d *Dir) enterable(child Info, name string) error {
	self, err := d.Self()
	if err != nil {
		return err
	}
	if IsBorder(self, child) {
		return d.fail("remove", name, ErrMount)
	}
	return nil
}

// CountTree returns how many entries stand at and below the entry name. It
// fails with ErrMount if one of them is on another file system. Cost: one
// openat, getdents64 and statx per directory and entry.
func (d *Dir) CountTree(name string) (int64, error) {
	count, _, err := d.prune(name, Prune{}, true)
	return count, err
}

// Prune says what stays of a tree that is removed otherwise.
type Prune struct {
	Path string                             // of the tree's top, as Keep knows it
	Keep func(path string, isDir bool) bool // not asked for the top; nil: nothing stays

	// Stays is told of each directory that PruneTree leaves for what is in it,
	// children first; nil: nobody is.
	Stays func(dir *Dir, path string) error
}

// CountPruned returns how many entries PruneTree would remove, and whether
// something would stay.
func (d *Dir) CountPruned(name string, p Prune) (removed int64, kept bool, err error) {
	return d.prune(name, p, true)
}

// PruneTree removes the entry name and all below it, but for what p keeps and the
// directories above that.
func (d *Dir) PruneTree(name string, p Prune) (removed int64, kept bool, err error) {
	return d.prune(name, p, false)
}

func (d *Dir) prune(name string, p Prune, dry bool) (removed int64, kept bool, err error) {
	info, err := d.Stat(name)
	if err != nil {
		return 0, false, err
	}
	if info.Kind == mtree.Dir {
		if removed, kept, err = d.pruneBelow(name, info, p, dry); err != nil || kept {
			return removed, kept, err
		}
	}
	if !dry {
		flags := 0
		if info.Kind == mtree.Dir {
			flags = unix.AT_REMOVEDIR
		}
		if err := unix.Unlinkat(d.fd, name, flags); err != nil {
			return removed, kept, d.fail("remove", name, err)
		}
	}
	return removed + 1, false, nil
}

// pruneBelow is prune for what is in the directory name.
func (d *Dir) pruneBelow(name string, info Info, p Prune, dry bool) (removed int64, kept bool, err error) {
	if err := d.enterable(info, name); err != nil {
		return 0, false, err
	}
	var dir *Dir
	if dry {
		dir, err = d.OpenDir(name)
	} else {
		dir, err = d.openToEmpty(name, info)
	}
	if err != nil {
		return 0, false, err
	}
	defer dir.Close()
	var gone []string // looked at behind the scan: what changes a directory may confuse it
	err = dir.ScanStat(func(raw []byte, entry Info) error {
		isDir := entry.Kind == mtree.Dir
		switch {
		case p.Keep != nil && p.Keep(mtree.JoinPath(p.Path, string(raw)), isDir):
			kept = true
		case dry && !isDir:
			removed++
		default:
			gone = append(gone, string(raw))
		}
		return nil
	})
	for _, name := range gone {
		if err != nil {
			break
		}
		var n int64
		var some bool
		n, some, err = dir.prune(name, Prune{mtree.JoinPath(p.Path, name), p.Keep, p.Stays}, dry)
		removed, kept = removed+n, kept || some
	}
	if err == nil && kept && !dry && p.Stays != nil {
		err = p.Stays(dir, p.Path)
	}
	return removed, kept, err
}
