package mtree

import (
	"unsafe"
)

// pieceSize is how many entries a piece of a large listing has. A large listing is held
// in pieces until its end, because a slice that grows exists twice while it is copied.
const pieceSize = 64 << 10

// pieces are the parts of a large listing before the one that is being filled.
type pieces struct {
	kept  [][]Entry
	count int
}

// keep keeps a piece and returns the next one. That begins with the last entry of the
// piece, because the order is checked against it.
func (p *pieces) keep(piece []Entry) []Entry {
	last := len(piece) - 1
	p.kept, p.count = append(p.kept, piece[:last:last]), p.count+last
	return append(make([]Entry, 0, pieceSize), piece[last])
}

// join returns all pieces and the last one as one slice.
func (p *pieces) join(last []Entry) []Entry {
	if p.count == 0 {
		return last
	}
	all := make([]Entry, 0, p.count+len(last))
	for i, piece := range p.kept {
		all, p.kept[i] = append(all, piece...), nil
	}
	return append(all, last...)
}

// entrySize is the memory that an entry takes without the bytes of its strings, in
// bytes: itself, and the overhead of allocating two strings.
const entrySize = int(unsafe.Sizeof(Entry{})) + 16

// roomStep is how many bytes Room is asked for at once, at least.
const roomStep = 64 << 10

// makeRoom asks Room for the memory of one more entry.
func (d *Decoder) makeRoom(e *Entry) error {
	if d.Room == nil {
		return nil
	}
	d.unasked += entrySize + len(e.Name) + len(e.Link)
	if d.unasked < roomStep {
		return nil
	}
	bytes := d.unasked
	d.unasked = 0
	return d.Room(bytes)
}
