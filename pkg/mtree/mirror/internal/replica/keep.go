package replica

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/mirror/internal/backup"
)

// What is done with entries that are deleted or overwritten while there is a backup directory, and the same
// without one.

// keep is Delete with a backup directory.
func (r *Replica) keep(dir *disk.Dir, d *Deletion) (entries int64, replaced bool, err error) {
	p := r.prune(d.Path)
	p.Trees, p.Stays = d.Why == WhyTree, r.finish
	if d.IsReplacement() {
		entries, err = r.Backup.Replace(r.Staging.Dir(), d.Staged, dir, d.Name(), p)
		return entries, err == nil, err
	}
	info, err := dir.Stat(d.Name())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return d.Entries, false, nil // somebody else has deleted it
	case d.Kind != mtree.Dir && info.Kind == mtree.Dir: // nobody measured that
		err = dir.PathError("unlink", d.Name(), errDir)
	}
	if err != nil {
		return 0, false, err
	}
	entries, err = r.Backup.Move(dir, d.Name(), p)
	return entries, false, err
}

// errDir is what unlink(2) says of a directory.
var errDir = errors.New("it is a directory now")

// Place gives a file its name in dir, path in the copy, as disk.TempFile.Place does. With a backup directory, what
// has the name goes there.
func (r *Replica) Place(temp *disk.TempFile, dir *disk.Dir, path string) error {
	name := mtree.BaseName(path)
	if r.Backup == nil || temp.Has(dir, name) { // guard (without temp.Has): TestBackupOfStagedDirectories
		return temp.Place(dir, name)
	}
	done, err := r.Backup.Overwrite(dir, name, path, func() error { return temp.Place(dir, name) })
	if done || err != nil {
		return err
	}
	if temp.IsForFreeName() && dir.Respelled(name) { // guard: TestAnotherSpellingIsNotExchanged
		return disk.ErrCollides
	}
	staged, err := temp.Stage()
	if err == nil {
		err = r.Backup.Exchange(r.Staging.Dir(), staged, dir, name, path, 1)
	}
	if err == nil {
		err = temp.Keep()
	}
	return err
}

// PlaceStaged does so for the entry staged in Staging, as disk.Staging.Place does.
func (r *Replica) PlaceStaged(staged string, dir *disk.Dir, path string, free bool) error {
	name := mtree.BaseName(path)
	place := func() error { return r.Staging.Place(staged, dir, name, free) }
	if r.Backup == nil {
		return place()
	}
	done, err := r.Backup.Overwrite(dir, name, path, place)
	if done || err != nil {
		return err
	}
	if free && dir.Respelled(name) { // guard: TestAnotherSpellingIsNotExchanged
		return disk.ErrCollides
	}
	return r.Backup.Exchange(r.Staging.Dir(), staged, dir, name, path, 1)
}

// PlaceDir puts the empty directory staged in Staging in the place of the entry at path, which is no
// directory.
func (r *Replica) PlaceDir(staged string, dir *disk.Dir, path string) error {
	if r.Backup != nil {
		return r.Backup.Exchange(r.Staging.Dir(), staged, dir, mtree.BaseName(path), path, 1)
	}
	if err := r.Staging.Exchange(staged, dir, mtree.BaseName(path)); err != nil {
		return err
	}
	return r.Staging.Dir().RemoveTree(staged)
}

// backupName is the file in the marker that names the backup directory, so that whoever releases deletions,
// or repairs, keeps what goes.
const backupName = "backup-dir"

// NoteBackup writes down where the backup directory is; "": there is none.
func (r *Replica) NoteBackup(path string) error { return r.note(backupName, path) }

// limitName is the file in the marker that has --max-delete, so that whoever repairs holds what it holds.
const limitName = "max-delete"

// NoteLimit writes down --max-delete; "": it is the default.
func (r *Replica) NoteLimit(text string) error { return r.note(limitName, text) }

// note writes a line into a file of the marker. With none, there is no file.
func (r *Replica) note(name, line string) error {
	if line == "" {
		return r.marker.Remove(name)
	}
	if was, _ := state.ReadFile(r.marker.Dir(), name); string(was) == line+"\n" {
		return nil
	}
	return state.WriteFile(r.marker.Dir(), name, []byte(line+"\n"))
}

// noted returns what note wrote down.
func noted(m *state.Marker, name string) (string, error) {
	text, err := state.ReadFile(m.Dir(), name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	line, _ := strings.CutSuffix(string(text), "\n")
	return line, err
}

// NotedBackup returns what NoteBackup wrote down.
func (r *Replica) NotedBackup() (string, error) { return notedBackup(r.marker) }

func notedBackup(m *state.Marker) (string, error) {
	path, err := noted(m, backupName)
	if path != "" && !filepath.IsAbs(path) && path != backup.Inside {
		err = m.Dir().PathError("read", backupName, errors.New("no absolute path"))
	}
	return path, err
}
