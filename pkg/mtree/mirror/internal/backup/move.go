package backup

import (
	"errors"
	"io/fs"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
)

// errTree is the error of moving the root of a tree or copy, unless that was asked for.
var errTree = errors.New("the root of another tree or copy is in it (.tidemark)")

// errStays is the error of replacing a directory in which something stays.
var errStays = errors.New("filters exclude something in it")

// Move moves the entry name of dir into the backup, and everything below it but for what p.Keep keeps and
// the directories above that. It returns how many entries it moved. It is no error if the name is not
// there. A directory in which nothing stays is moved by one rename, so it is there as a whole or not at
// all. What is on another file system is an error, and so is the root of a tree, unless p.Trees. Cost: as
// disk.Dir.CountPruned; then renameat2 for each entry that has to move by itself.
func (b *Dir) Move(dir *disk.Dir, name string, p disk.Prune) (int64, error) {
	info, err := dir.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if info.Kind != mtree.Dir {
		return b.rename(dir, name, info, p.Path, 1)
	}
	c, err := b.mayMove(dir, name, p)
	if err != nil {
		return 0, err
	}
	if !c.Stays { // guard (always): TestMove
		n, err := b.rename(dir, name, info, p.Path, c.Entries)
		// A directory of a lower layer of an overlayfs is renamed by nobody.
		if !disk.IsBeyond(err) { // guard (always): backup.txtar
			return n, err
		}
	}
	return b.moveBelow(dir, name, info, p)
}

// mayMove counts what Move would move, and refuses what it must not touch.
func (b *Dir) mayMove(dir *disk.Dir, name string, p disk.Prune) (disk.Count, error) {
	p.Enter = true
	c, err := dir.CountPruned(name, p)
	if err == nil && c.Tree && !p.Trees { // guard: TestMoveOfATree
		err = dir.PathError("backup", name, errTree)
	}
	return c, err
}

// Replace is Exchange for a directory, which goes as a whole. It returns how many entries went.
func (b *Dir) Replace(from *disk.Dir, staged string, dir *disk.Dir, name string, p disk.Prune) (int64, error) {
	c, err := b.mayMove(dir, name, p)
	if err == nil && c.Stays {
		err = dir.PathError("backup", name, errStays)
	}
	if err != nil {
		return 0, err
	}
	return c.Entries, b.Exchange(from, staged, dir, name, p.Path, c.Entries)
}

// rename moves an entry with all below it.
func (b *Dir) rename(dir *disk.Dir, name string, info disk.Info, path string, entries int64) (moved int64, err error) {
	err = b.into(path, func(up *disk.Dir, base string) (int64, error) {
		err := dir.MoveTo(name, up, base)
		if disk.IsDenied(err) && info.Kind == mtree.Dir && dir.ChmodEntry(name, info.Mode|0o700) == nil {
			// A directory that is moved is written to: its "..".
			if err = dir.MoveTo(name, up, base); err == nil {
				moved = entries
				return moved, up.ChmodEntry(base, info.Mode)
			}
			_ = dir.ChmodEntry(name, info.Mode)
		}
		if err == nil {
			moved = entries
		} else if isGone(dir, name) {
			err = nil
		}
		return moved, err
	})
	return moved, err
}

// moveBelow moves what is in the directory name, entry by entry, and then removes it if nothing stays in it.
func (b *Dir) moveBelow(dir *disk.Dir, name string, info disk.Info, p disk.Prune) (int64, error) {
	if info.Mode&0o700 != 0o700 {
		if err := dir.ChmodEntry(name, info.Mode|0o700); err != nil {
			return 0, err
		}
	}
	from, err := dir.OpenDir(name)
	if err != nil {
		return 0, err
	}
	defer from.Close()
	moved, stays, err := b.moveEach(from, p)
	switch {
	case err != nil:
	case stays && p.Stays != nil:
		err = p.Stays(from, p.Path)
	case !stays:
		if err = b.close(p.Path, info); err == nil {
			err = dir.RemoveDir(name)
			moved++
		}
	}
	return moved, err
}

// moveEach moves the entries of a directory that do not stay.
func (b *Dir) moveEach(from *disk.Dir, p disk.Prune) (moved int64, stays bool, err error) {
	names, err := from.Names()
	if p.Trees {
		names = append(names, mtree.MarkerName)
	}
	for _, name := range names {
		entry, statErr := from.Stat(name)
		if disk.IsGone(statErr) {
			continue
		}
		if statErr != nil {
			err = errors.Join(err, statErr)
			continue
		}
		below := p
		below.Path = mtree.JoinPath(p.Path, name)
		if p.Keep != nil && name != mtree.MarkerName && p.Keep(below.Path, entry.Kind == mtree.Dir) {
			stays = true
			continue
		}
		n, moveErr := b.Move(from, name, below)
		moved += n
		err = errors.Join(err, moveErr)
		if entry.Kind == mtree.Dir && !isGone(from, name) {
			stays = true
		}
	}
	return moved, stays, err
}

// close gives a directory of the backup, in which everything is now, the time that it had in the copy.
func (b *Dir) close(path string, info disk.Info) error {
	return b.into(mtree.JoinPath(path, "."), func(up *disk.Dir, _ string) (int64, error) { return 0, up.SetTime(info.MTime) })
}
