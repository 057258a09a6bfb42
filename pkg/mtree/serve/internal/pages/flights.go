package pages

import (
	"errors"
	"sync"

	"tidemark/pkg/mtree/wire"
)

// Flights lets requests that want one listing at one time share the work of making it.
type Flights struct {
	mu sync.Mutex
	by map[FlightKey]*lane
}

// errUnmade says that the goroutine that made a page ended before it was done.
var errUnmade = errors.New("the making of a listing ended early")

// FlightKey says what must be the same for one making to serve several.
type FlightKey struct {
	Key
	Fingerprint string // of the tree, its epoch and the options
	State       wire.State
}

// lane has the flights of one listing: the one under way, and the one that follows it.
type lane struct{ under, next *flight }

// flight is one making.
type flight struct {
	time Time // of the directory, as the maker saw it; zero: no stamp proves the listing
	done chan struct{}
	page *Page
	err  error
}

// NewFlights returns a Flights that makes nothing.
func NewFlights() *Flights { return &Flights{by: map[FlightKey]*lane{}} }

// Do returns a page that make made, either for this call or for another one with the same
// key. A flight that begins after this call will do. One under way may have read what has
// changed since, so it will do only if it is of the same time, which proves it. So a
// directory that keeps changing is read by one call after another, each for all that
// wait.
func (f *Flights) Do(key FlightKey, time Time, make func() (*Page, error)) (*Page, error) {
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

// join returns the flight to wait for. If mine is true, the caller makes the page, but
// waits first for the end of before, if that is not nil.
func (f *Flights) join(key FlightKey, time Time) (own, before *flight, mine bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.by[key]
	if l == nil {
		l = &lane{}
		f.by[key] = l
	}
	if l.under != nil && time != (Time{}) && l.under.time == time {
		return l.under, nil, false
	}
	if l.next != nil {
		return l.next, nil, false
	}
	l.next = &flight{time: time, done: make(chan struct{})}
	return l.next, l.under, true
}

// begin makes own the flight that is under way.
func (f *Flights) begin(key FlightKey, own *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.by[key].under, f.by[key].next = own, nil
}

// end wakes all who wait for own.
func (f *Flights) end(key FlightKey, own *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.by[key]
	if l.under = nil; l.next == nil {
		delete(f.by, key)
	}
	close(own.done)
}
