package serve

import (
	"container/list"
	"errors"
	"net/http"
	"sync"
	"time"

	"tidemark/pkg/mtree"
)

// held bounds the memory that requests under way keep for their clients: listings
// being sent, lists of paths coming in. What several are sent counts once. Where
// there is no room for more, those are let go who have taken longest: else a few who
// read slowly would keep all others out. It may be used by many goroutines at once.
type held struct {
	most int64 // bytes

	mu    sync.Mutex
	bytes int64
	order *list.List    // of *load, the oldest in front
	freed chan struct{} // closed when something is given back, then replaced
}

const (
	heldMost     = 128 << 20       // bytes
	heldLeast    = 64 << 10        // bytes: the kernel's socket buffer takes less than that
	heldGrace    = time.Second     // so long nobody is let go
	heldPatience = 5 * time.Second // how long a request waits for room
)

// load is memory that one request or several keep; its fields are guarded by held.mu.
type load struct {
	bytes   int64
	holders map[*holder]struct{}
	place   *list.Element // nil: nobody keeps it
}

// holder is one request that keeps a load.
type holder struct {
	load  *load
	since time.Time
	cut   func() // ends what it waits for its client; called once
	gone  bool
}

// errHeld says that there is no room for another answer: 429.
var errHeld = errors.New("too much is being sent to slow clients")

func newHeld(most int64) *held {
	return &held{most: most, order: list.New(), freed: make(chan struct{})}
}

// take keeps l for a request, which cut ends should it be too slow. It waits for
// room, errHeld if there is none in the end. give must follow.
func (m *held) take(l *load, cut func()) (*holder, error) {
	one := &holder{load: l, since: time.Now(), cut: cut}
	err := m.wait(l, func() int64 {
		if l.place != nil {
			return 0
		}
		return l.bytes
	}, func() {
		if l.place == nil {
			l.place, l.holders = m.order.PushBack(l), map[*holder]struct{}{}
			m.bytes += l.bytes
		}
		l.holders[one] = struct{}{}
	})
	if err != nil {
		return nil, err
	}
	return one, nil
}

// grow keeps n bytes more for one, which is alone with its load.
func (m *held) grow(one *holder, n int64) error {
	return m.wait(one.load, func() int64 { return n }, func() {
		one.load.bytes += n
		m.bytes += n
	})
}

// then replaces what ends one, if it is not being ended already.
func (m *held) then(one *holder, cut func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	one.cut = cut
}

// give gives back what one kept.
func (m *held) give(one *holder) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := one.load
	delete(l.holders, one)
	if len(l.holders) > 0 {
		return
	}
	m.order.Remove(l.place)
	l.place = nil
	m.bytes -= l.bytes
	close(m.freed)
	m.freed = make(chan struct{})
}

// wait calls admit, with mu held, as soon as there is room for what need says.
// Something that is larger than all may be is let in alone.
func (m *held) wait(own *load, need func() int64, admit func()) error {
	var end <-chan time.Time
	for {
		m.mu.Lock()
		n := need()
		if n == 0 || m.bytes+n <= m.most || m.bytes == 0 {
			admit()
			m.mu.Unlock()
			return nil
		}
		retry := m.letGo(own, n)
		freed := m.freed
		m.mu.Unlock()
		if end == nil {
			end = time.After(heldPatience)
		}
		select {
		case <-freed:
		case <-retry:
		case <-end:
			return errHeld
		}
	}
}

// letGo ends the oldest loads until n bytes will be free, and returns what tells when
// to look again: when the grace of those who are left may have ended. own is spared.
func (m *held) letGo(own *load, n int64) <-chan time.Time {
	free := m.most - m.bytes
	for e := m.order.Front(); e != nil && free < n; e = e.Next() {
		l := e.Value.(*load)
		if l == own || !l.old() {
			continue
		}
		for one := range l.holders {
			if !one.gone {
				one.gone = true
				one.cut()
			}
		}
		free += l.bytes
	}
	return time.After(heldGrace / 4)
}

// old reports whether all who keep l have had their grace.
func (l *load) old() bool {
	for one := range l.holders {
		if time.Since(one.since) < heldGrace {
			return false
		}
	}
	return true
}

// listingMemory is what a listing takes that is kept as it was read, in bytes.
func listingMemory(l *mtree.Listing) int64 { return 200 * int64(len(l.Entries)) }

// cutting returns what ends the writing of w at once, from another goroutine.
func cutting(w http.ResponseWriter) func() {
	return func() {
		if own, ok := w.(interface{ CutOff() }); ok {
			own.CutOff()
			return
		}
		_ = http.NewResponseController(w).SetWriteDeadline(time.Unix(1, 0)) // in-memory writers have none
	}
}
