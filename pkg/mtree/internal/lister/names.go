package lister

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"unsafe"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
)

// nameTable holds all names of one directory: in one piece of memory, each followed
// by a NUL as system calls need it, and 16 bytes for each name to sort them by. A
// million names of 16 bytes take 33 MB.
type nameTable struct {
	slab  []byte
	names []name
}

// name is one name of a nameTable. key is its first eight bytes after what all names
// of the table begin with: it orders most names without a look at the slab.
type name struct {
	key         uint64
	start       uint32
	size        uint8       // NAME_MAX is 255
	disposition disposition // set by look
}

// disposition says what became of a name when it was looked at.
type disposition uint8

const (
	unlisted disposition = iota // no file, directory or symlink
	vanished
	listed
	dotted   // left out because its name begins with a dot
	excluded // left out by a rule
	border   // left out because it is a directory on another file system
	covered  // left out because something that is no directory is mounted there
	retyped  // had another type each time it was looked at
)

var errManyNames = errors.New("more than 4 GiB of names")

// The names of a large directory get their memory at once, because a list that grows is
// copied again and again. The directory's size shows how much: 20 bytes a name on tmpfs,
// more elsewhere. Memory that is not used is never touched.
const (
	largeDir = 64 << 10 // bytes
	maxGuess = 64 << 20 // bytes
)

// readNames reads all names of a directory of this size in bytes (0 if it is not
// known) and sorts them bytewise. Cost: as disk.Dir.Scan.
func readNames(d *disk.Dir, size int64) (*nameTable, error) {
	t := &nameTable{}
	if size > largeDir {
		size = min(size, maxGuess)
		t.slab, t.names = make([]byte, 0, size), make([]name, 0, size/20)
	}
	err := d.Scan(func(raw []byte, _ mtree.Kind) error {
		if len(t.slab) > math.MaxUint32-2*mtree.MaxName {
			return d.PathError("readdir", ".", errManyNames)
		}
		t.names = append(t.names, name{start: uint32(len(t.slab)), size: uint8(len(raw))})
		t.slab = append(append(t.slab, raw...), 0)
		return nil
	})
	t.sort()
	// Some file systems give a name twice that was made anew while they were read.
	t.names = slices.CompactFunc(t.names, func(a, b name) bool { return bytes.Equal(t.bytes(a), t.bytes(b)) }) // guard: TestANameThatIsReadTwice
	return t, err
}

// add adds a name. The table stays sorted if it comes after those that are there.
func (t *nameTable) add(text string) {
	t.names = append(t.names, name{start: uint32(len(t.slab)), size: uint8(len(text))})
	t.slab = append(append(t.slab, text...), 0)
}

// text returns all names as one string, each followed by a NUL. What the slab has by now must not
// change afterwards; it may grow.
func (t *nameTable) text() string { return unsafe.String(unsafe.SliceData(t.slab), len(t.slab)) }

func (t *nameTable) bytes(n name) []byte { return t.slab[n.start : n.start+uint32(n.size)] }

// sort compares eight bytes at once: those after what all names begin with.
func (t *nameTable) sort() {
	if len(t.names) == 0 {
		return
	}
	common := t.bytes(t.names[0])
	for _, n := range t.names[1:] {
		common = common[:shared(common, t.bytes(n))]
	}
	skip := len(common)
	for i := range t.names {
		var key [8]byte
		copy(key[:], t.bytes(t.names[i])[skip:])
		t.names[i].key = binary.BigEndian.Uint64(key[:])
	}
	slices.SortFunc(t.names, func(a, b name) int {
		if a.key != b.key {
			return cmp.Compare(a.key, b.key)
		}
		return bytes.Compare(t.bytes(a), t.bytes(b))
	})
}

// shared returns how many bytes a and b have in common at their start.
func shared(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}
