package links

// table finds lines by a hash of what they are about: slots with a part of the hash and the place of
// the line, open addressing. Lines are never taken out. The zero value is empty.
type table struct {
	slots []uint64
	n     int
}

const (
	hashBits  = 28
	placeBits = 64 - hashBits
	mostPlace = 1<<placeBits - 1
	mostSlots = 1 << 22
	someSlots = 1 << 10
)

// isFull reports whether no more lines may be added.
func (t *table) isFull() bool { return t.n >= mostSlots/4*3 }

// find returns where a line with this hash is for which is says so, and its slot. If there is none, at
// is 0 and slot is free.
func (t *table) find(hash uint64, is func(at int64) bool) (slot int, at int64) {
	if len(t.slots) == 0 {
		return -1, 0
	}
	hash >>= placeBits
	mask := len(t.slots) - 1
	for slot = int(hash) & mask; ; slot = (slot + 1) & mask {
		s := t.slots[slot]
		if s == 0 {
			return slot, 0
		}
		if at = int64(s & mostPlace); s>>placeBits == hash && is(at) {
			return slot, at
		}
	}
}

// put makes at the line with this hash in the place of the one for which is says so.
func (t *table) put(hash uint64, at int64, is func(at int64) bool) {
	if t.n >= len(t.slots)/4*3 {
		t.grow()
	}
	slot, was := t.find(hash, is)
	if was == 0 {
		t.n++
	}
	t.slots[slot] = hash>>placeBits<<placeBits | uint64(at)
}

// grow doubles the table.
func (t *table) grow() {
	old := t.slots
	t.slots = make([]uint64, max(someSlots, 2*len(old)))
	none := func(int64) bool { return false }
	for _, s := range old {
		if s != 0 {
			slot, _ := t.find(s, none)
			t.slots[slot] = s
		}
	}
}
