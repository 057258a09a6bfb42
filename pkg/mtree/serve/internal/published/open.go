package published

import (
	"errors"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
)

// OpenDir opens the directory at path. It follows no symlinks. The caller checks whether
// path is hidden. Cost: openat2, on btrfs also fstat; more if permissions refuse it.
func (t *Tree) OpenDir(path string) (*disk.Dir, error) {
	if err := t.vouched(path); err != nil {
		return nil, err
	}
	d, err := t.root.OpenDirPath(path, t.Crosses())
	if err != nil {
		return nil, t.above(path, err)
	}
	if err := t.checkDir(path, d); err != nil { // guard: TestSubvolumesAreNotOpened
		_ = d.Close()
		return nil, err
	}
	return d, nil
}

// checkDir is inSubvolume for the directory d, which was opened at path.
func (t *Tree) checkDir(path string, d *disk.Dir) error {
	if t.subvolume == 0 || t.Crosses() {
		return nil
	}
	info, err := d.Self()
	if err != nil {
		return err
	}
	return t.inSubvolume(path, info)
}

// inSubvolume returns disk.ErrBeyond if what is at path is in another subvolume of btrfs than the
// root, and such may not be read. For listings and for watch that is another file system, but it
// need be no mount: openat2 does not stop there.
func (t *Tree) inSubvolume(path string, info disk.Info) error {
	if t.subvolume == 0 || info.Node.Dev == t.subvolume || t.Crosses() {
		return nil
	}
	return t.root.PathError("open", path, disk.ErrBeyond)
}

// OpenRegular opens the regular file at path if its directory is published. It follows no
// symlinks. The caller checks whether path is hidden. Cost: as disk.Dir.OpenFilePath.
func (t *Tree) OpenRegular(path string) (*disk.Regular, disk.Info, error) {
	if err := t.vouched(mtree.ParentPath(path)); err != nil {
		return nil, disk.Info{}, err
	}
	f, info, err := t.root.OpenFilePath(path, t.Crosses())
	if info.Node == (disk.Node{}) {
		return f, info, err // nothing is known of what is there
	}
	if apart := t.inSubvolume(path, info); apart != nil { // guard: TestSubvolumesAreNotOpened
		if f != nil {
			_ = f.Close()
		}
		return nil, disk.Info{}, apart
	}
	return f, info, err
}

// OpenFile opens the regular file at path. Symlinks are followed as long as they stay in
// the root and lead to nothing hidden; then exactly the path that was checked is opened.
// It returns that path too: path itself, if nothing was followed. An error comes with the Info
// of what is at path, if that is known: it may be a directory or a symlink.
func (t *Tree) OpenFile(path string) (f *disk.Regular, real string, info disk.Info, err error) {
	for nowhere, try := 0, 1; ; try++ {
		f, info, err := t.OpenRegular(path)
		if !MayBeLink(info, err) {
			return f, path, info, t.above(path, err)
		}
		real, kind, unsure := t.Resolve(path)
		if kind == mtree.File {
			f, info, again := t.OpenRegular(real)
			if again == nil {
				return f, real, info, nil
			}
			unsure = unknown(again)
		}
		if unsure != nil {
			return nil, path, disk.Info{}, unsure
		}
		if kind == mtree.Other {
			nowhere++
		}
		if kind == mtree.Dir || nowhere == FollowTries || try == retypeTries {
			return nil, path, info, err
		}
	}
}

// FollowTries is how often a path with symlinks is followed if it leads nowhere: a
// symlink may have been replaced meanwhile.
const FollowTries = 3

// MayBeLink reports whether opening failed because of a symlink, as the last component or
// on the way: not if there is no error.
func MayBeLink(info disk.Info, err error) bool {
	return info.Kind == mtree.Symlink || disk.IsLink(err)
}

// above adds disk.ErrAbove to an error of opening path, if that is the case. What a mirror may
// not read itself keeps no directory above it incomplete; this does. What watch may not read is
// told as such, wherever it is. Cost: as disk.Dir.MarkAbove.
func (t *Tree) above(path string, err error) error {
	if errors.Is(err, state.ErrUnread) { // guard: TestErrAbove
		return err
	}
	return t.root.MarkAbove(path, t.Crosses(), err)
}

// vouched returns an error if the directory at path is, or lies in, one that watch may
// not read: changes there are not known.
func (t *Tree) vouched(path string) error {
	exceptions, err := t.exceptions()
	if err != nil {
		return err
	}
	return exceptions.Vouched(t.root, path)
}

// Refuses reports whether the directory at path refuses its stamp. Then watch keeps the
// stamp elsewhere, and no event of the directory shows a new one.
func (t *Tree) Refuses(path string) bool {
	exceptions, _ := t.exceptions() // nil with an error
	return exceptions.Refuses(path)
}
