package mirror

import (
	"errors"
	"fmt"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/mirror/internal/replica"
)

// What a visit makes by itself: directories, symlinks, modes and owners.

// makeDir makes a directory, in the place of a file if one has its name. It is
// writable for its owner until its stamp is set.
func (p *pass) makeDir(dir *disk.Dir, c mtree.Change) error {
	mode := p.dirMode(c.Want) | 0o700
	if c.Have == nil {
		if p.dest.Staging.Folds && dir.Respelled(c.Want.Name) {
			return disk.ErrCollides
		}
		made, err := dir.MakeDir(c.Want.Name, mode)
		if err == nil {
			_ = made.Close()
		}
		return errors.Join(err, p.setOwner(dir, c.Want))
	}
	name := p.dest.Staging.Name()
	made, err := p.dest.Staging.Dir().MakeDir(name, mode)
	if err != nil {
		return err
	}
	err = made.Inherit(dir)
	_ = made.Close()
	if err != nil {
		return err
	}
	if err := p.dest.Staging.Exchange(name, dir, c.Want.Name); err != nil {
		return err
	}
	return errors.Join(p.dest.Staging.Dir().RemoveTree(name), p.setOwner(dir, c.Want))
}

func (p *pass) dirMode(e *mtree.Entry) uint32 {
	if e.Has&mtree.HasMode != 0 {
		return e.Mode & 0o777
	}
	return 0o777 &^ p.dest.Umask
}

// makeLink makes a symlink aside and moves it into place.
func (p *pass) makeLink(dir *disk.Dir, n *node, c mtree.Change, v *view) error {
	aside := p.dest.Staging
	if aside.Folds && dir.Respelled(c.Want.Name) {
		return disk.ErrCollides
	}
	name, err := aside.Symlink(c.Want.Link)
	if err != nil {
		return err
	}
	aside.Dir().InheritEntry(name, dir)
	err = aside.Dir().SetEntryTime(name, p.dest.Times.Stored(c.Want.MTime))
	if err == nil && p.config.Owner && c.Want.Has&mtree.HasOwner != 0 {
		err = aside.Dir().ChownEntry(name, c.Want.UID, c.Want.GID)
	}
	if err == nil && c.Have != nil && c.Have.Kind == mtree.Dir {
		d, err := p.replacement(dir, mtree.JoinPath(n.path, c.Want.Name), name, v.nested)
		if err == nil {
			v.deletions = append(v.deletions, d)
		}
		return err
	}
	if err == nil {
		err = aside.Dir().Rename(name, dir, c.Want.Name)
	}
	if err != nil {
		_ = aside.Dir().Unlink(name)
	}
	return err
}

// replacement returns the deletion of a directory that something written aside is to
// replace: it waits for the guards.
func (p *pass) replacement(dir *disk.Dir, path, staged string, nested bool) (replica.Deletion, error) {
	if p.config.NoDelete {
		_ = p.dest.Staging.Dir().Unlink(staged)
		return replica.Deletion{}, fmt.Errorf("a directory has the name of what is no directory at the source, and nothing is deleted (--no-delete)")
	}
	info, err := dir.Stat(mtree.BaseName(path))
	if err != nil {
		return replica.Deletion{}, err
	}
	d, stays, err := p.dest.Measure(dir, path, mtree.Dir, info.MTime)
	if err == nil && stays {
		err = errors.New("a directory that holds what filters exclude has the name of what is no directory at the source")
	}
	if err != nil {
		_ = p.dest.Staging.Dir().Unlink(staged)
		return replica.Deletion{}, err
	}
	d.Staged = staged
	if nested {
		d.Why = replica.WhyTree
	}
	return d, nil
}

// setMode sets permission bits and owner in place.
func (p *pass) setMode(dir *disk.Dir, c mtree.Change) error {
	if err := p.setOwner(dir, c.Want); err != nil {
		return err
	}
	if c.Want.Has&mtree.HasMode == 0 {
		return nil
	}
	mode := c.Want.Mode & 0o777
	if c.Want.Kind == mtree.Dir {
		info, err := dir.Stat(c.Want.Name)
		if err != nil {
			return err
		}
		mode |= info.Mode &^ 0o777
	}
	return dir.ChmodEntry(c.Want.Name, mode)
}

func (p *pass) setOwner(dir *disk.Dir, e *mtree.Entry) error {
	if !p.config.Owner || e.Has&mtree.HasOwner == 0 {
		return nil
	}
	return dir.ChownEntry(e.Name, e.UID, e.GID)
}
