package lister

import (
	"cmp"
	"errors"
	"io/fs"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
)

// LostFound is the directory that mkfs makes at the root of a file system. It is not
// mirrored.
const LostFound = "lost+found"

// Names are looked at in blocks, by several goroutines where there are many: a statx
// takes one to two microseconds, most of it in the kernel.
const (
	lookBlock   = 512
	lookWorkers = 8
)

// look looks at every name of the directory at path, and returns one entry for each
// name, in order; those whose disposition is not listed are zero. self is what statx
// shows of the directory. The names of the entries share the memory of the table.
func (l *Lister) look(d *disk.Dir, path string, self disk.Info, t *nameTable) ([]mtree.Entry, error) {
	entries := make([]mtree.Entry, len(t.names))
	all := t.text()
	var next atomic.Int64
	var failed atomic.Pointer[error]
	block := func(from int) error {
		var pace disk.StatPace
		for i := from; i < min(from+lookBlock, len(t.names)); i++ {
			n := &t.names[i]
			text := all[n.start : n.start+uint32(n.size)]
			if err := l.lookAt(d, &pace, path, text, self, n, &entries[i]); err != nil {
				return err
			}
		}
		return nil
	}
	work := func() {
		for failed.Load() == nil {
			from := int(next.Add(lookBlock)) - lookBlock
			if from >= len(t.names) {
				return
			}
			if err := block(from); err != nil {
				failed.CompareAndSwap(nil, &err)
			}
		}
	}
	var others sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), lookWorkers, len(t.names)/(2*lookBlock)+1) - 1 {
		others.Go(work)
	}
	work()
	others.Wait()
	if err := failed.Load(); err != nil {
		return nil, *err
	}
	return entries, nil
}

// lookTries is how often a name is looked at whose type changes between two system
// calls: statx shows a symlink, and readlinkat finds none.
const lookTries = 10

// lookAt sets the disposition of the name text, which a NUL follows, and fills in its
// entry if it is listed. Cost: statx; readlinkat for a symlink.
func (l *Lister) lookAt(d *disk.Dir, pace *disk.StatPace, path, text string, self disk.Info, n *name, e *mtree.Entry) error {
	var info disk.Info
	for try := 1; ; try++ {
		var err error
		if info, err = pace.Stat(d, unsafe.StringData(text)); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				n.disposition = vanished
				return nil
			}
			return d.PathError("stat", text, err)
		}
		if n.disposition = l.dispose(path, text, self, info); n.disposition != listed {
			return nil
		}
		if err = fill(e, d, text, info); err == nil {
			break
		}
		n.disposition = retyped
		switch {
		case !disk.IsRetyped(err) && !errors.Is(err, fs.ErrNotExist):
			return err
		case try == lookTries:
			return nil
		}
	}
	if !l.Owner {
		e.Has &^= mtree.HasOwner
	}
	l.setSame(e, info)
	if l.Copy && e.Kind == mtree.Dir && isCoarse(info) {
		if sub, err := d.OpenDir(text); err == nil {
			e.MTime = l.recorded(sub, mtree.JoinPath(path, text), e.MTime)
			_ = sub.Close()
		}
	}
	return nil
}

// setSame says which file with more than one name an entry is a name of.
func (l *Lister) setSame(e *mtree.Entry, info disk.Info) {
	key := cmp.Or(l.TreeID, l.SameKey)
	switch {
	case l.special:
		SetNode(e, info)
	case key != "" && info.Kind == mtree.File && info.Links > 1: // guard (without info.Links): TestSameOfLinkedFiles
		e.Same, e.Has = fileID(key, info), e.Has|mtree.HasSame
	}
}

// dispose says whether the entry text of the directory at path is listed, and if
// not, why not.
func (l *Lister) dispose(path, text string, self, info disk.Info) disposition {
	switch {
	case info.Kind == mtree.Other && !l.special && (l.Mounts || !info.MountRoot): // guard: TestSpecialFilesAreNotListed
		return unlisted
	case l.Copy && path == "" && text == LostFound && info.Kind == mtree.Dir:
		return unlisted // it belongs to the copy's own file system
	case !l.Hidden && text[0] == '.':
		return dotted
	case l.Exclude != nil && l.Exclude(mtree.JoinPath(path, text), info.Kind == mtree.Dir):
		return excluded
	case l.CopyFilter != nil && l.CopyFilter(mtree.JoinPath(path, text), info.Kind == mtree.Dir):
		return excluded // no mirror completes it
	case !l.Mounts && disk.IsBorder(self, info):
		if l.OtherFileSystem != nil {
			l.OtherFileSystem(mtree.JoinPath(path, text))
		}
		if info.Kind == mtree.Dir {
			return border
		}
		return covered
	}
	return listed
}
