package serve

import (
	"sync"

	"tidemark/pkg/mtree/wire"
)

// flights lets those who want one listing at one time share its making. It may be
// used by many goroutines at once.
type flights struct {
	mu sync.Mutex
	by map[flightKey]*lane
}

// flightKey says what must be the same for one making to serve several.
type flightKey struct {
	pageKey
	e     string // tree, epoch and options
	state wire.State
}

// lane has the makings of one listing: the one under way, and the one that will
// follow it.
type lane struct{ under, next *flight }

// flight is one making.
type flight struct {
	time pageTime // what the directory showed to whoever makes it; zero: no stamp proves it
	done chan struct{}
	page *page
	err  error
}

func newFlights() *flights { return &flights{by: map[flightKey]*lane{}} }

// do returns what make makes, or somebody else's make of the same key: one that
// begins after this call, for one under way may have read already what has changed
// since; or also that one if it is of the same time, which proves it. So a directory
// that changes all the while is read by one after the other, for all who wait.
func (f *flights) do(key flightKey, time pageTime, make func() (*page, error)) (*page, error) {
	own, before, mine := f.join(key, time)
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
func (f *flights) join(key flightKey, time pageTime) (own, before *flight, mine bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.by[key]
	if l == nil {
		l = &lane{}
		f.by[key] = l
	}
	if l.under != nil && time != (pageTime{}) && l.under.time == time {
		return l.under, nil, false
	}
	if l.next != nil {
		return l.next, nil, false
	}
	l.next = &flight{time: time, done: make(chan struct{})}
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
