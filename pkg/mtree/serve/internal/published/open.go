package published

import (
	"errors"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
)

// OpenDir opens the directory at path. It follows no symlinks. The caller checks whether
// path is hidden. Cost: openat2, fstat; more if permissions refuse it.
func (t *Tree) OpenDir(path string) (*disk.Dir, error) {
	if err := t.vouched(path); err != nil {
		return nil, err
	}
	d, err := t.root.OpenDirPath(path, t.Crosses())
	return d, t.above(path, err)
}

// OpenRegular opens the regular file at path if its directory is published. It follows no
// symlinks. The caller checks whether path is hidden. Cost: as disk.Dir.OpenFilePath.
func (t *Tree) OpenRegular(path string) (*disk.Regular, disk.Info, error) {
	if err := t.vouched(mtree.ParentPath(path)); err != nil {
		return nil, disk.Info{}, err
	}
	return t.root.OpenFilePath(path, t.Crosses())
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
