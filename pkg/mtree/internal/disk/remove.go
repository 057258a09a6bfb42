package disk

import (
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/sys"
)

// RemoveTree removes the entry name and everything below it, as far as possible; the
// error is the first of those that left something. It touches nothing on another file
// system, and nothing in the root of a tree or copy: both are errors. It is no error
// if the name is not there.
func (d *Dir) RemoveTree(name string) error {
	_, err := d.ClearTree(name, false)
	return err
}

// ClearTree does what RemoveTree does, and returns how many entries it removed. With
// trees it removes the roots of trees and copies, too.
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
	if err := d.checkBorder(info, name); err != nil {
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
	if err := sys.Unlinkat(d.fd, name, unix.AT_REMOVEDIR); err != nil {
		return removed, d.PathError("rmdir", name, err)
	}
	return removed + 1, nil
}

// openToEmpty opens a directory to remove what is in it. If its owner lacks r, w or x,
// they are added first.
func (d *Dir) openToEmpty(name string, info Info) (*Dir, error) {
	child, err := d.OpenDir(name)
	if errors.Is(err, fs.ErrPermission) {
		if err := d.ChmodEntry(name, info.Mode|0o700); err != nil {
			return nil, err
		}
		return d.OpenDir(name)
	}
	if err != nil || info.Mode&0o700 == 0o700 || sys.Geteuid() == 0 {
		return child, err
	}
	if err := child.Chmod(info.Mode | 0o700); err != nil {
		_ = child.Close()
		return nil, err
	}
	return child, nil
}

// empty removes everything in d. In the root of a tree it removes nothing, unless
// trees.
func (d *Dir) empty(trees bool) (removed int64, err error) {
	if d.HasMarker() {
		if !trees {
			return 0, d.PathError("remove", ".", errTree)
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

// checkBorder refuses the subdirectory name if it is on another file system.
func (d *Dir) checkBorder(child Info, name string) error {
	self, err := d.Self()
	if err != nil {
		return err
	}
	if IsBorder(self, child) {
		return d.PathError("remove", name, errMount)
	}
	return nil
}
