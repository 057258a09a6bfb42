package work

import (
	"context"
	"errors"
	"io/fs"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/mirror/internal/source"
)

// makeDir makes a directory. It replaces a file that has its name. Another spelling of the name
// gives ErrCollides. The directory is writable for its owner until its stamp is set. System calls:
//
//	mkdirat, openat; or, to replace: mkdirat in the staging directory,
//	renameat2 with RENAME_EXCHANGE, unlinkat
func (env *Env) makeDir(dir *disk.Dir, t *Target, c mtree.Change) error {
	mode := env.dirMode(c.Want) | 0o700
	if c.Have == nil {
		made, err := dir.MakeDir(c.Want.Name, mode)
		if err == nil {
			_ = made.Close()
		}
		if errors.Is(err, fs.ErrExist) && dir.Respelled(c.Want.Name) { // guard: TestARenameToAnotherSpelling
			return disk.ErrCollides
		}
		return errors.Join(err, env.setOwner(dir, c.Want))
	}
	name := env.Replica.Staging.Name()
	made, err := env.Replica.Staging.Dir().MakeDir(name, mode)
	if err != nil {
		return err
	}
	err = made.Inherit(dir)
	_ = made.Close()
	if err != nil {
		return err
	}
	if err := env.Replica.PlaceDir(name, dir, mtree.JoinPath(t.Path, c.Want.Name)); err != nil {
		return err
	}
	return env.setOwner(dir, c.Want)
}

// isHalfMade reports whether a directory was made though making it ended with err: what came after,
// its mode or its owner, failed.
func isHalfMade(dir *disk.Dir, name string, err error) bool {
	if errors.Is(err, fs.ErrExist) || errors.Is(err, disk.ErrCollides) { // guard: TestADirThatWasThereIsNotTold
		return false
	}
	info, err := dir.Stat(name)
	return err == nil && info.Kind == mtree.Dir
}

// dirMode returns the permission bits that a new directory gets.
func (env *Env) dirMode(e *mtree.Entry) uint32 {
	if e.Has&mtree.HasMode != 0 {
		return e.Mode & 0o777
	}
	return 0o777 &^ env.Replica.Umask
}

// makeLink makes a symlink in the staging directory and moves it into place. If a
// directory has its name, the symlink waits for the guards of deletions. Another spelling of the
// name gives ErrCollides. System calls:
//
//	symlinkat, utimensat, [fchownat], renameat2
func (env *Env) makeLink(dir *disk.Dir, t *Target, c mtree.Change, v *VisitResult) error {
	staging := env.Replica.Staging
	name, err := staging.Symlink(c.Want.Link)
	if err != nil {
		return err
	}
	staging.Dir().InheritEntry(name, dir)
	err = staging.Dir().SetEntryTime(name, env.Replica.Times.Stored(c.Want.MTime))
	if err == nil && env.Owner && c.Want.Has&mtree.HasOwner != 0 {
		err = staging.Dir().ChownEntry(name, c.Want.UID, c.Want.GID)
	}
	if err == nil && c.Have != nil && c.Have.Kind == mtree.Dir {
		d, err := env.writer().Replacement(dir, mtree.JoinPath(t.Path, c.Want.Name), name, v.Nested)
		if err == nil {
			v.Deletions = append(v.Deletions, d)
		}
		return err
	}
	if err == nil {
		err = env.Replica.PlaceStaged(name, dir, mtree.JoinPath(t.Path, c.Want.Name), c.Have == nil)
	}
	if err != nil {
		_ = staging.Dir().Unlink(name)
	}
	return err
}

// setMode sets permission bits and owner of an entry. A directory keeps its set-id and
// sticky bits. A file that has another name gets a copy of its own first: that name may be one of
// another file of the source (takeFile), or in somebody's snapshot. Where that cannot be, for want of
// rights or room, both names get the mode.
func (env *Env) setMode(ctx context.Context, dir *disk.Dir, c mtree.Change) error {
	info, err := dir.Stat(c.Want.Name)
	if err != nil {
		return err
	}
	if info.Kind == mtree.File && info.Links > 1 { // guard: TestModeOfAFileWithTwoNames
		if err := env.separate(ctx, dir, c); !disk.IsDenied(err) && !disk.IsFull(err) { // guard (without !disk.IsFull): TestModeOfAFileWithTwoNames
			return err
		}
	}
	if err := env.setOwner(dir, c.Want); err != nil {
		return err
	}
	if c.Want.Has&mtree.HasMode == 0 {
		return nil
	}
	mode := c.Want.Mode & 0o777
	if c.Want.Kind == mtree.Dir {
		mode |= info.Mode &^ 0o777
	}
	return dir.ChmodEntry(c.Want.Name, mode)
}

// separate puts a copy of a file, with its new mode and owner, in the place of one of its names.
// What fails leaves everything as it was.
func (env *Env) separate(ctx context.Context, dir *disk.Dir, c mtree.Change) error {
	file, _, err := dir.OpenFile(c.Want.Name)
	if err != nil {
		return err
	}
	defer file.Close()
	return env.writer().PlaceCopy(dir, "", c, source.Until(ctx, file), func(temp *disk.TempFile) error { return temp.Sync() })
}

// setOwner sets the owner of an entry, if owners are copied and the source lists them.
func (env *Env) setOwner(dir *disk.Dir, e *mtree.Entry) error {
	if !env.Owner || e.Has&mtree.HasOwner == 0 {
		return nil
	}
	return dir.ChownEntry(e.Name, e.UID, e.GID)
}
