package backup

import (
	"errors"
	"io/fs"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
)

// Overwrite calls place, which puts a file or symlink in the place of the entry name of dir, once that
// entry has a second name in the backup. path is the entry's path in the copy. If nothing is there, or a
// directory, which place does not replace, it only calls place. done is false if the entry gets no second
// name; then place was not called, and Exchange does it. System calls besides those of place:
//
//	statx; then openat2, linkat, close; for a directory with nothing in the backup: mkdirat, fchmod
func (b *Dir) Overwrite(dir *disk.Dir, name, path string, place func() error) (done bool, err error) {
	info, err := dir.Stat(name)
	if errors.Is(err, fs.ErrNotExist) || info.Kind == mtree.Dir {
		return true, place()
	}
	if err != nil || !b.links {
		return false, err
	}
	var placed error
	done = true
	err = b.into(path, func(up *disk.Dir, base string) (int64, error) {
		err := dir.Link(name, up, base)
		switch {
		case disk.IsUnlinkable(err):
			done = false
			return 0, nil
		case err != nil && isGone(dir, name):
			placed = place()
			return 0, nil
		case err != nil:
			return 0, err
		}
		if placed = place(); placed != nil {
			_ = up.Unlink(base) // it was not overwritten
			return 0, nil
		}
		return 1, nil
	})
	return done && err == nil, errors.Join(err, placed)
}

// isGone reports whether the entry name is no longer in dir.
func isGone(dir *disk.Dir, name string) bool {
	_, err := dir.Stat(name)
	return errors.Is(err, fs.ErrNotExist)
}

// Exchange puts the entry staged of from in the place of the entry name of dir, whatever both are, and what was
// there into the backup. The new one first gets the old one's place in the backup, and then they
// exchange their names: both are there at any moment. Where the file system cannot exchange names, the
// name is free for a moment. What fails leaves everything as it was. System calls:
//
//	openat2, renameat2(RENAME_NOREPLACE), renameat2(RENAME_EXCHANGE), close
//	else renameat2(RENAME_NOREPLACE), renameat2(RENAME_NOREPLACE)
func (b *Dir) Exchange(from *disk.Dir, staged string, dir *disk.Dir, name, path string, entries int64) error {
	info, err := dir.Stat(name)
	if err != nil {
		return err
	}
	return b.into(path, func(up *disk.Dir, base string) (int64, error) {
		if err := from.MoveTo(staged, up, base); err != nil {
			return 0, err
		}
		err := b.swap(from, staged, dir, name, up, base)
		if disk.IsDenied(err) && info.Kind == mtree.Dir && dir.ChmodEntry(name, info.Mode|0o700) == nil {
			// A directory that is moved is written to: its "..".
			if err = b.swap(from, staged, dir, name, up, base); err == nil {
				return entries, up.ChmodEntry(base, info.Mode)
			}
			_ = dir.ChmodEntry(name, info.Mode)
		}
		if err != nil {
			return 0, errors.Join(err, up.MoveTo(base, from, staged))
		}
		return entries, nil
	})
}

// swap exchanges base in up, which was staged in from, with name in dir.
func (b *Dir) swap(from *disk.Dir, staged string, dir *disk.Dir, name string, up *disk.Dir, base string) error {
	err := up.Swap(base, dir, name)
	if !disk.IsNotSwapped(err) {
		return err
	}
	if err := up.MoveTo(base, from, staged); err != nil {
		return err
	}
	if err := dir.MoveTo(name, up, base); err != nil {
		return errors.Join(err, from.MoveTo(staged, up, base))
	}
	if err := from.MoveTo(staged, dir, name); err != nil {
		return errors.Join(err, up.MoveTo(base, dir, name), from.MoveTo(staged, up, base))
	}
	return nil
}
