package mirror

import (
	"io"
	"os"
	"path/filepath"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/mirror/internal/replica"
)

// simDisk is where the copy of a simulation is. What these methods do is not part of the
// pass under way.
type simDisk interface {
	path() string
	read() map[string]simEntry
	marker() (id string, held replica.HeldList) // of which tree it is, and what is held
	write(path, text string)
	mkdir(path string)
	remove(path string)
	move(from, to string)
	close()
}

// simEntry is an entry of the copy.
type simEntry struct {
	kind     mtree.Kind
	mode     uint32
	mtime    mtree.Stamp
	ctime    mtree.Stamp
	text     string      // bytes of a file, target of a symlink
	complete bool        // it is a directory that carries its stamp
	stamp    mtree.Stamp // this one
}

// readCopy reads everything but the marker at the root.
func readCopy(path string) map[string]simEntry {
	all := map[string]simEntry{}
	root, err := disk.OpenRoot(path)
	if err != nil {
		return all
	}
	defer root.Close()
	readDir(root, "", all)
	return all
}

func readDir(dir *disk.Dir, path string, all map[string]simEntry) {
	info, err := dir.Self()
	if err != nil {
		panic(err)
	}
	is := simEntry{kind: mtree.Dir, mode: info.Mode & 0o777, mtime: info.MTime, ctime: info.CTime}
	if record, ok := records.Of(dir); ok {
		_, begun := replica.DoubtsOf(record)
		is.complete, is.stamp = !begun && record.Stamp == info.MTime, record.Stamp
	}
	all[path] = is
	names, err := dir.Names()
	if err != nil {
		panic(err)
	}
	for _, name := range names {
		readEntry(dir, name, mtree.JoinPath(path, name), all)
	}
}

func readEntry(dir *disk.Dir, name, path string, all map[string]simEntry) {
	info, err := dir.Stat(name)
	if err != nil {
		panic(err)
	}
	is := simEntry{kind: info.Kind, mode: info.Mode & 0o777, mtime: info.MTime, ctime: info.CTime}
	switch info.Kind {
	case mtree.Dir:
		sub, err := dir.OpenDir(name)
		if err != nil {
			panic(err)
		}
		defer sub.Close()
		readDir(sub, path, all)
		return
	case mtree.Symlink:
		is.text, err = dir.Readlink(name)
	case mtree.File:
		var f disk.File
		if f, _, err = dir.OpenFile(name); err == nil {
			var text []byte
			text, err = io.ReadAll(f)
			is.text = string(text)
			_ = f.Close()
		}
	}
	if err != nil {
		panic(err)
	}
	all[path] = is
}

// readMarker reads which tree a copy is of, and what is held.
func readMarker(path string) (id string, held replica.HeldList) {
	l, err := replica.LookAt(path, "")
	if err != nil {
		return "", held
	}
	defer l.Close()
	held, _ = l.Held()
	return l.Tree.ID, held
}

// realDisk is a directory of this machine.
type realDisk struct{ dir string }

func newRealDisk() simDisk {
	dir, err := os.MkdirTemp("/dev/shm", "tidemark-sim-")
	if err != nil {
		panic(err)
	}
	return &realDisk{dir}
}

func (d *realDisk) path() string                       { return filepath.Join(d.dir, "copy") }
func (d *realDisk) read() map[string]simEntry          { return readCopy(d.path()) }
func (d *realDisk) marker() (string, replica.HeldList) { return readMarker(d.path()) }
func (d *realDisk) write(path, text string) {
	_ = os.WriteFile(filepath.Join(d.path(), path+".new"), []byte(text), 0o644)
	_ = os.Rename(filepath.Join(d.path(), path+".new"), filepath.Join(d.path(), path))
	_ = os.Remove(filepath.Join(d.path(), path+".new"))
}
func (d *realDisk) mkdir(path string)  { _ = os.Mkdir(filepath.Join(d.path(), path), 0o755) }
func (d *realDisk) remove(path string) { _ = os.RemoveAll(filepath.Join(d.path(), path)) }
func (d *realDisk) move(from, to string) {
	_ = os.Rename(filepath.Join(d.path(), from), filepath.Join(d.path(), to))
}
func (d *realDisk) close() { _ = os.RemoveAll(d.dir) }
