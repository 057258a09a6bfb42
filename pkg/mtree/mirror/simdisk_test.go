package mirror

import (
	"io"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/filetime"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/sys"
	"tidemark/pkg/mtree/mirror/internal/replica"
)

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
		is.complete, is.stamp = !begun && filetime.SameStored(info.MTime, record.Stamp), record.Stamp
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

// read reads the copy. That is no part of the simulation.
func (s *sim) read() map[string]simEntry {
	defer sys.Simulate(s.shell.Process)()
	return readCopy(simDest)
}

// marker reads of which tree the copy is, and what is held.
func (s *sim) marker() (id string, held replica.HeldList) {
	defer sys.Simulate(s.shell.Process)()
	return readMarker(simDest)
}
