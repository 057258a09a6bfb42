package lister

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"io/fs"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
)

// roll is the names of one directory: all in one piece of memory, each ended by
// a NUL as system calls want it, and 16 bytes a name to sort them by. A million
// names of 16 bytes take 33 MB.
type roll struct {
	slab []byte
	refs []nameRef
}

// nameRef is one name of a roll. key orders most names without a look at the
// slab.
type nameRef struct {
	key   uint64
	start uint32
	size  uint8 // NAME_MAX is 255
	fate  fate  // set when it was looked at
}

// fate is what became of a name.
type fate uint8

const (
	unlisted fate = iota // gone meanwhile, or no file, directory or symlink
	listed
	dotted   // left out for its dot
	excluded // left out by Exclude, or a directory on another file system
	covered  // left out because something that is no directory is mounted there
	retyped  // of another type each time it was looked at
)

var errManyNames = errors.New("more than 4 GiB of names")

// A large directory's names get their room at once, for a list that grows is
// copied again and again: by its size, which is 20 bytes a name on tmpfs and
// more elsewhere. What is not used of it is never touched.
const (
	largeDir  = 64 << 10 // bytes
	mostGuess = 64 << 20 // bytes
)

// rollOf reads all names of a directory of this size and sorts them bytewise.
// Cost: as Scan.
func rollOf(d *disk.Dir, size int64) (*roll, error) {
	r := &roll{}
	if size > largeDir {
		size = min(size, mostGuess)
		r.slab, r.refs = make([]byte, 0, size), make([]nameRef, 0, size/20)
	}
	err := d.Scan(func(name []byte, _ mtree.Kind) error {
		if len(r.slab) > math.MaxUint32-2*mtree.MaxName {
			return d.PathError("readdir", ".", errManyNames)
		}
		r.refs = append(r.refs, nameRef{start: uint32(len(r.slab)), size: uint8(len(name))})
		r.slab = append(append(r.slab, name...), 0)
		return nil
	})
	r.sort()
	return r, err
}

func (r *roll) name(n nameRef) []byte { return r.slab[n.start : n.start+uint32(n.size)] }

// sort compares eight bytes at once, those behind what all names begin with.
func (r *roll) sort() {
	if len(r.refs) == 0 {
		return
	}
	common := r.name(r.refs[0])
	for _, n := range r.refs[1:] {
		common = common[:shared(common, r.name(n))]
	}
	skip := len(common)
	for i := range r.refs {
		var key [8]byte
		copy(key[:], r.name(r.refs[i])[skip:])
		r.refs[i].key = binary.BigEndian.Uint64(key[:])
	}
	slices.SortFunc(r.refs, func(a, b nameRef) int {
		if a.key != b.key {
			return cmp.Compare(a.key, b.key)
		}
		return bytes.Compare(r.name(a), r.name(b))
	})
}

// shared returns how many bytes a and b have in common from their start.
func shared(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// ScanSorted is ScanStat in bytewise order of the names, which share one piece
// of memory and stay valid. Cost: as ScanStat, and the names in memory.
func ScanSorted(d *disk.Dir, visit func(name string, info disk.Info) error) error {
	r, err := rollOf(d, 0)
	if err != nil {
		return err
	}
	var pace disk.StatPace
	for _, n := range r.refs {
		name := r.name(n)
		info, err := pace.Stat(d, unsafe.SliceData(name)) // a NUL follows it
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return d.PathError("stat", string(name), err)
		}
		// The slab is not written to any more.
		if err := visit(unsafe.String(unsafe.SliceData(name), len(name)), info); err != nil {
			return err
		}
	}
	return nil
}

// Names are looked at in blocks, by several goroutines where there are many: a
// statx takes one to two microseconds, most of it in the kernel.
const (
	rollBlock   = 512
	rollWorkers = 8
)

// look asks about every name, and returns the entries in order as they stand;
// those whose fate is not listed are zero. The entries' names share the slab.
func (l *Lister) look(d *disk.Dir, dir string, self disk.Info, r *roll) ([]mtree.Entry, error) {
	entries := make([]mtree.Entry, len(r.refs))
	all := unsafe.String(unsafe.SliceData(r.slab), len(r.slab)) // not written to any more
	var next atomic.Int64
	var failed atomic.Pointer[error]
	block := func(from int) error {
		var pace disk.StatPace
		for i := from; i < min(from+rollBlock, len(r.refs)); i++ {
			n := &r.refs[i]
			name := all[n.start : n.start+uint32(n.size)]
			if err := l.lookAt(d, &pace, dir, name, self, n, &entries[i]); err != nil {
				return err
			}
		}
		return nil
	}
	work := func() {
		for failed.Load() == nil {
			from := int(next.Add(rollBlock)) - rollBlock
			if from >= len(r.refs) {
				return
			}
			if err := block(from); err != nil {
				failed.CompareAndSwap(nil, &err)
			}
		}
	}
	var others sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), rollWorkers, len(r.refs)/(2*rollBlock)+1) - 1 {
		others.Go(work)
	}
	work()
	others.Wait()
	if err := failed.Load(); err != nil {
		return nil, *err
	}
	return entries, nil
}

// lookAt fills in one entry and its fate. name is followed by a NUL.
func (l *Lister) lookAt(d *disk.Dir, pace *disk.StatPace, dir, name string, self disk.Info, n *nameRef, e *mtree.Entry) error {
	var info disk.Info
	for try := 1; ; try++ {
		var err error
		if info, err = pace.Stat(d, unsafe.StringData(name)); errors.Is(err, fs.ErrNotExist) {
			n.fate = unlisted
			return nil
		}
		if err != nil {
			return d.PathError("stat", name, err)
		}
		if n.fate = l.fate(dir, name, self, info); n.fate != listed {
			return nil
		}
		if err = fill(d, e, name, info); err == nil {
			break
		}
		n.fate = retyped
		switch {
		case !disk.IsRetyped(err) && !errors.Is(err, fs.ErrNotExist):
			return err
		case try == disk.LookTries:
			return nil
		}
	}
	if !l.Owner {
		e.Has &^= mtree.HasOwner
	}
	if l.Copy && e.Kind == mtree.Dir && coarse(info) {
		if sub, err := d.OpenDir(name); err == nil {
			e.MTime = l.recorded(sub, mtree.JoinPath(dir, name), e.MTime)
			_ = sub.Close()
		}
	}
	return nil
}
