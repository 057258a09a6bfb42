package pages

import (
	"container/list"
	"errors"
	"sync"
	"time"
)

// Room bounds the memory that requests under way keep for their clients: listings being
// sent, lists of paths coming in. What several requests keep counts once. If there is no
// room for more, the requests that have taken longest are cut: otherwise a few clients
// that read slowly would keep out all others.
type Room struct {
	most int64 // bytes

	mu    sync.Mutex
	bytes int64
	order *list.List    // of *Load, the oldest in front
	freed chan struct{} // closed when something is given back, then replaced
}

// RoomBytes is the memory that all requests of a server may keep for their clients.
const RoomBytes = 128 << 20

const (
	grace    = time.Second     // no request is cut before this time
	patience = 5 * time.Second // how long a request waits for room
)

// Load is memory that one or more requests keep. A Room guards its fields.
type Load struct {
	Bytes   int64
	holders map[*Holder]struct{}
	place   *list.Element // nil: no request keeps it
}

// Holder is one request that keeps a load.
type Holder struct {
	room  *Room
	load  *Load
	since time.Time
	cut   func() // ends its wait for its client; called once
	gone  bool
}

// ErrFull says that there is no room for another answer.
var ErrFull = errors.New("too much is being sent to slow clients")

// NewRoom returns a Room of this size, in bytes.
func NewRoom(most int64) *Room {
	return &Room{most: most, order: list.New(), freed: make(chan struct{})}
}

// Bytes returns how much is kept now.
func (m *Room) Bytes() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.bytes
}

// Take keeps l for a request. It waits up to 5 s for room, and returns ErrFull if there
// is none by then. Give must follow. If the request turns out to be too slow, cut is
// called, from another goroutine, and must make it end soon.
func (m *Room) Take(l *Load, cut func()) (*Holder, error) {
	one := &Holder{room: m, load: l, since: time.Now(), cut: cut}
	err := m.wait(l, func() int64 {
		if l.place != nil {
			return 0
		}
		return l.Bytes
	}, func() {
		if l.place == nil {
			l.place, l.holders = m.order.PushBack(l), map[*Holder]struct{}{}
			m.bytes += l.Bytes
		}
		l.holders[one] = struct{}{}
	})
	if err != nil {
		return nil, err
	}
	return one, nil
}

// Grow keeps n more bytes for one, which must be the only holder of its load. It waits
// and fails as Take does.
func (one *Holder) Grow(n int64) error {
	return one.room.wait(one.load, func() int64 { return n }, func() {
		one.load.Bytes += n
		one.room.bytes += n
	})
}

// Resize lets one, which must be the only holder of its load, keep n bytes from now on. It does
// not wait, so n should not be more than before.
func (one *Holder) Resize(n int64) {
	m, l := one.room, one.load
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bytes += n - l.Bytes
	l.Bytes = n
	m.wake()
}

// SetCut replaces the function that ends one. If that was called already, cut is called now.
func (one *Holder) SetCut(cut func()) {
	one.room.mu.Lock()
	defer one.room.mu.Unlock()
	if one.cut = cut; one.gone { // guard: TestCutBeforeSetCut
		cut()
	}
}

// Give gives back what one kept.
func (one *Holder) Give() {
	m, l := one.room, one.load
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(l.holders, one)
	if len(l.holders) > 0 {
		return
	}
	m.order.Remove(l.place)
	l.place = nil
	m.bytes -= l.Bytes
	m.wake()
}

// wake lets those who wait for room look again; mu is held.
func (m *Room) wake() {
	close(m.freed)
	m.freed = make(chan struct{})
}

// wait calls admit, with mu held, as soon as there is room for as many bytes as need
// returns. A load larger than the whole room gets the room alone.
func (m *Room) wait(own *Load, need func() int64, admit func()) error {
	var end <-chan time.Time
	for {
		m.mu.Lock()
		n := need()
		if n == 0 || m.bytes+n <= m.most || m.bytes == 0 {
			admit()
			m.mu.Unlock()
			return nil
		}
		retry := m.cutOldest(own, n)
		freed := m.freed
		m.mu.Unlock()
		if end == nil {
			end = time.After(patience)
		}
		select {
		case <-freed:
		case <-retry:
		case <-end:
			return ErrFull
		}
	}
}

// cutOldest ends the oldest loads, except own, until n bytes will be free. The channel
// that it returns says when to look again: the grace of the remaining loads may have
// ended.
func (m *Room) cutOldest(own *Load, n int64) <-chan time.Time {
	free := m.most - m.bytes
	for e := m.order.Front(); e != nil && free < n; e = e.Next() {
		l := e.Value.(*Load)
		if l == own || !l.old() {
			continue
		}
		for one := range l.holders {
			if !one.gone {
				one.gone = true
				one.cut()
			}
		}
		free += l.Bytes
	}
	return time.After(grace / 4)
}

// old reports whether the grace of all holders of l has ended.
func (l *Load) old() bool {
	for one := range l.holders {
		if time.Since(one.since) < grace {
			return false
		}
	}
	return true
}
