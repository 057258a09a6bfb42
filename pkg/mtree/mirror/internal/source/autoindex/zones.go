package autoindex

import (
	"sync"
	"time"

	"tidemark/pkg/mtree"
)

// Zones says how far the times that one server lists are ahead of UTC: for each month,
// because of summer time. Listings do not say it, but the dates of files do. Without it,
// a file that is written every hour and always has the same size would look like an old
// one that is listed in another zone. The zero value knows nothing. Several goroutines
// may use it at once.
type Zones struct {
	mu     sync.Mutex
	months map[string]zone
}

type zone struct {
	ahead time.Duration
	known bool
	tries int // files that were asked for their date
}

// zoneTries is how many files of a month are asked for their date, if none of them has
// one.
const zoneTries = 3

func month(listed mtree.Stamp) string { return listed.Time().UTC().Format("2006-01") }

// allow reports whether a file that is listed so far ahead of the copy's may be the same.
// If the zone is not known, it may be.
func (z *Zones) allow(listed mtree.Stamp, ahead time.Duration) bool {
	if z == nil {
		return true
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	m := z.months[month(listed)]
	return !m.known || m.ahead == ahead
}

// offset returns how far a listed time is ahead of UTC, 0 if that is not known.
func (z *Zones) offset(listed mtree.Stamp) time.Duration {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.months[month(listed)].ahead
}

// learn records how far a listed time is ahead of UTC. For each month the first value
// counts.
func (z *Zones) learn(listed mtree.Stamp, ahead time.Duration) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if !z.months[month(listed)].known {
		z.set(listed, zone{ahead: ahead, known: true})
	}
}

// set replaces what is known of a month. The caller holds z.mu.
func (z *Zones) set(listed mtree.Stamp, m zone) {
	if z.months == nil {
		z.months = map[string]zone{}
	}
	z.months[month(listed)] = m
}

// ask reports whether a file should be asked for its date, and counts that.
func (z *Zones) ask(listed mtree.Stamp) bool {
	z.mu.Lock()
	defer z.mu.Unlock()
	m := z.months[month(listed)]
	if m.known || m.tries == zoneTries {
		return false
	}
	m.tries++
	z.set(listed, m)
	return true
}
