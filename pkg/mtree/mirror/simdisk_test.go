package mirror

import (
	"errors"
	"io"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/filetime"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/state"
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
	node     uint64      // the number of the inode of a file
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
	r := copyReader{all: all, record: func(dir *disk.Dir, _ string) (records.Record, bool) { return records.Of(dir) }}
	if errors.Is(records.Probe(root), records.ErrNoXattr) {
		r.record = func(*disk.Dir, string) (is records.Record, ok bool) { return is, false }
		if log, err := new(records.LogReader).Read(root, ""); err == nil && log != nil {
			r.record = func(_ *disk.Dir, path string) (records.Record, bool) { return log.Get(path) }
		}
	}
	r.readDir(root, "")
	return all
}

// copyReader reads a copy into all.
type copyReader struct {
	all    map[string]simEntry
	record func(dir *disk.Dir, path string) (records.Record, bool)
}

func (r *copyReader) readDir(dir *disk.Dir, path string) {
	info, err := dir.Self()
	if err != nil {
		panic(err)
	}
	is := simEntry{kind: mtree.Dir, mode: info.Mode & 0o777, mtime: info.MTime, ctime: info.CTime}
	if record, ok := r.record(dir, path); ok {
		_, begun := replica.DoubtsOf(record)
		is.complete, is.stamp = !begun && filetime.SameStored(info.MTime, record.Stamp), record.Stamp
	}
	r.all[path] = is
	names, err := dir.Names()
	if err != nil {
		panic(err)
	}
	for _, name := range names {
		r.readEntry(dir, name, mtree.JoinPath(path, name))
	}
}

func (r *copyReader) readEntry(dir *disk.Dir, name, path string) {
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
		r.readDir(sub, path)
		return
	case mtree.Symlink:
		is.text, err = dir.Readlink(name)
	case mtree.File:
		var f disk.File
		if f, _, err = dir.OpenFile(name); err == nil {
			var text []byte
			text, err = io.ReadAll(f)
			is.text, is.node = string(text), info.Node.Ino
			_ = f.Close()
		}
	}
	if err != nil {
		panic(err)
	}
	r.all[path] = is
}

// readMarker reads which tree a copy is of, and what is held.
func readMarker(path string) (tree state.Tree, held replica.HeldList) {
	l, err := replica.LookAt(path, "")
	if err != nil {
		return tree, held
	}
	defer l.Close()
	held, _ = l.Held()
	return l.Tree, held
}

// read reads the copy. That is no part of the simulation.
func (s *sim) read() map[string]simEntry {
	defer sys.Simulate(s.shell.Process)()
	return readCopy(simDest)
}

// marker reads of which tree the copy is, and what is held.
func (s *sim) marker() (id string, held replica.HeldList) {
	defer sys.Simulate(s.shell.Process)()
	tree, held := readMarker(simDest)
	return tree.ID, held
}

// follow reads which epoch of its source the copy follows.
func (s *sim) follow() uint64 {
	defer sys.Simulate(s.shell.Process)()
	tree, _ := readMarker(simDest)
	return tree.Epoch
}
