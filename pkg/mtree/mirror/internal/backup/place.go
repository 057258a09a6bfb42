package backup

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
)

// Inside is the only place within a copy that a backup may have: nothing in .tidemark is ever
// listed, served, copied or deleted.
const Inside = mtree.MarkerName + "/" + insideName

const insideName = "backup"

const (
	remedyWithin = "give a directory beside DEST, as ../backup, or " + Inside + ", which is in DEST and never published"
	remedyOther  = "give a directory on the file system of DEST, and below the same mount: what is deleted is renamed, not copied"
	remedyTree   = "it would be published with that tree, or deleted from that copy: give a directory outside of it, or " + Inside
	remedyUse    = "the user of mirror must be able to write there"
)

// resolve returns the path of the backup directory of a copy, and whether it is Inside. A
// relative path is one from the copy, as with rsync. dest is the real path of the copy.
func resolve(dir, dest string) (path string, inside bool) {
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(dest, dir)
	}
	path = filepath.Clean(dir)
	return path, path == filepath.Join(dest, Inside)
}

// mayLie refuses a backup directory that would be published, copied or deleted where it is, whether
// it exists or not. Cost: some system calls for each directory above it.
func (b *Dir) mayLie() error {
	roots := b.apart()
	defer func() {
		for _, root := range roots {
			if root != b.o.Root {
				_ = root.Close()
			}
		}
	}()
	for _, root := range roots {
		err := state.CheckDir(root, b.path, false)
		if errors.Is(err, state.ErrWithin) { // guard: TestWhereItMayLie
			return exit.With(exit.Usage, fmt.Errorf("--backup-dir %q lies in %q", b.path, root.Path()), remedyWithin)
		}
		if err != nil {
			return exit.With(exit.Local, err, "")
		}
	}
	at, err := disk.OpenRoot(b.path)
	if errors.Is(err, fs.ErrNotExist) {
		at, err = disk.OpenRoot(filepath.Dir(b.path))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return exit.With(exit.Local, err, "make the directory above --backup-dir first")
	}
	if err != nil {
		return exit.With(exit.Local, err, "--backup-dir must be a directory, and all above it")
	}
	defer at.Close()
	return refuseTrees(at, b.path)
}

// apart returns the roots that the backup directory must not lie in: the copy, and local sources.
func (b *Dir) apart() []*disk.Dir {
	roots := []*disk.Dir{b.o.Root}
	for _, source := range b.o.Sources {
		if root, err := disk.OpenRoot(source); err == nil {
			roots = append(roots, root)
		}
	}
	return roots
}

// refuseTrees refuses a directory that is, or lies in, the root of a tree or copy.
func refuseTrees(at *disk.Dir, path string) error {
	if at.HasMarker() {
		if _, err := state.OwnTree(at); !errors.Is(err, state.ErrNoTree) { // guard: TestWhereItMayLie
			return exit.With(exit.Refused, fmt.Errorf("--backup-dir %q lies in a tree or copy of tidemark, %q", path, filepath.Clean(at.Path())), remedyTree)
		}
	}
	info, err := at.Self()
	if err != nil {
		return err
	}
	up, err := at.Above()
	if err != nil {
		return nil // further up nobody may look
	}
	defer up.Close()
	if above, err := up.Self(); err != nil || above.Node == info.Node {
		return nil // the root of all
	}
	return refuseTrees(up, path)
}

// open opens the backup directory, and makes it if it is missing.
func (b *Dir) open() (*disk.Dir, error) {
	if b.inside {
		return b.openInside()
	}
	if err := b.mayLie(); err != nil {
		return nil, err
	}
	if err := disk.MakeRoot(b.path, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, exit.With(exit.Local, err, remedyUse)
	}
	dir, err := disk.OpenRoot(b.path)
	if err != nil {
		return nil, exit.With(exit.Local, err, remedyUse)
	}
	return dir, nil
}

// openInside opens .tidemark/backup of the copy, by single names.
func (b *Dir) openInside() (*disk.Dir, error) {
	marker, err := b.o.Root.OpenDir(mtree.MarkerName)
	if err != nil {
		return nil, exit.With(exit.Local, err, "")
	}
	defer marker.Close()
	dir, err := marker.MakeDir(insideName, 0o755)
	if errors.Is(err, fs.ErrExist) {
		dir, err = marker.OpenDir(insideName)
	}
	return dir, exit.With(exit.Local, err, remedyUse)
}

// probe finds out whether entries of the copy can be renamed into dir and get second names there, or
// exchange their names with what is there. The answer for links is noted in b.
func (b *Dir) probe(dir *disk.Dir) error {
	staging := b.o.Staging.Dir()
	name := b.o.Staging.Name()
	there := ".tidemark-probe-" + checksum(name+b.o.Now().String(), b.key)
	if err := staging.MakeFile(name); err != nil {
		return exit.With(exit.Local, err, "")
	}
	defer func() { _ = staging.Unlink(name) }()
	err := staging.Link(name, dir, there)
	b.links = err == nil
	if disk.IsUnlinkable(err) {
		if err = staging.MoveTo(name, dir, there); err == nil {
			if err = staging.MakeFile(name); err == nil {
				err = staging.Swap(name, dir, there)
			}
		}
		if disk.IsNotSwapped(err) {
			err = exit.With(exit.Refused, fmt.Errorf("--backup-dir: this file system has neither hard links nor renames that exchange names (%w)", err), "use another file system for DEST, or no --backup-dir")
		}
	}
	_ = dir.Unlink(there)
	switch {
	case err == nil, exit.Of(err) == exit.Refused:
		return err
	case disk.IsBeyond(err): // guard: backup.txtar
		return exit.With(exit.Refused, fmt.Errorf("--backup-dir %q: %w", b.path, err), remedyOther)
	}
	return exit.With(exit.Local, fmt.Errorf("--backup-dir %q: %w", b.path, err), remedyUse)
}

// outward returns an error as others get it. To them "not there" would say that the entry of the
// copy is gone, and so that nothing is left to be deleted.
func outward(err error) error {
	if err == nil {
		return nil
	}
	if disk.IsGone(err) || errors.Is(err, fs.ErrExist) { // guard: TestADirectoryThatIsRemoved
		return fmt.Errorf("backup directory: %s", err)
	}
	return fmt.Errorf("backup directory: %w", err)
}
