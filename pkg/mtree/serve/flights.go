package serve

import (
	"sync"

	"tidemark/pkg/mtree/internal/disk"
)

// flights lets those who want one listing at one time share its making. It may be
// used by many goroutines at once.
type flights struct {
	mu sync.Mutex
	by map[flightKey]*lane
}

// flightKey says what must be the same for one making to serve several. time is
// zero, but for its e, where no stamp proves a listing.
type flightKey struct {
	pageKey
	time  pageTime
	state disk.State
}

// lane has the makings of one listing: the one under way, and the one that will
// follow it.
type lane struct{ under, next *flight }

// flight is one making.
type flight struct {
	done chan struct{}
	page *page
	err  error
}

func newFlights() *flights { return &flights{by: map[flightKey]*lane{}} }

// do returns what make makes, or somebody else's make of the same key: one that
// begins after this call, for one under way may have read already what has changed
// since; or also that one if the key's time proves it.
func (f *flights) do(key flightKey, proven bool, make func() (*page, error)) (*page, error) {
	own, before, mine := f.join(key, proven)
	if !mine {
		<-own.done
		return own.page, own.err
	}
	if before != nil {
		<-before.done
	}
	f.begin(key, own)
	defer f.end(key, own)
	own.err = errUnmade
	own.page, own.err = make()
	return own.page, own.err
}

// join returns the flight to wait for; one that is mine begins when before, if there
// is one, has ended.
func (f *flights) join(key flightKey, proven bool) (own, before *flight, mine bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.by[key]
	if l == nil {
		l = &lane{}
		f.by[key] = l
	}
	if proven && l.under != nil {
		return l.under, nil, false
	}
	if l.next != nil {
		return l.next, nil, false
	}
	l.next = &flight{done: make(chan struct{})}
	return l.next, l.under, true
}

func (f *flights) begin(key flightKey, own *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.by[key].under, f.by[key].next = own, nil
}

func (f *flights) end(key flightKey, own *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.by[key]
	if l.under = nil; l.next == nil {
		delete(f.by, key)
	}
	close(own.done)
}
