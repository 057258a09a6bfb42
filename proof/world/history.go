package world

import (
	"bytes"
	"slices"
	"sync"
	"time"
)

// history knows what ever was in the source, and when what was gone. It is what a copy is
// judged by while nothing rests: a copy may lag, but it shows nothing that never was, and
// lacks nothing that always was.
type history struct {
	mu     sync.Mutex
	places map[string]*place
	seq    int              // one more with each change
	leaves func(*node) bool // whether mirror may leave a file out now; nil: it leaves out none
	going  map[string]int   // what a change that is under way may have taken away
}

// place is what is known of one path.
type place struct {
	kinds    map[kind]int   // by kind: the last change after which it was there
	contents map[digest]int // likewise by contents
	targets  map[string]int
	left     int // the last change after which it was a file that mirror may leave out
	skipped  int // the last change after which it was a FIFO, or a symlink that leads out
	growing  []growth
	absences []absence
	there    bool
	kind     kind // while it is there
	first    int  // the change by which it first came
}

// growth is a file that is written by and by: by tar as the blocks of its archive come, by cp
// in pieces, and even by one write(2) the kernel shows one page after the other. Until it is
// whole it has any beginning of these bytes; or, if it had others of the same size, each byte
// is the old one or the new one.
type growth struct {
	data, over []byte
	seq        int // the change before
}

// piece is what beginnings are multiples of: a block of tar, the smallest of all.
const piece = 512

// had reports whether the file had just these bytes for a moment.
func (g *growth) had(data []byte) bool {
	if g.over == nil {
		return len(data)%piece == 0 && bytes.HasPrefix(g.data, data)
	}
	if len(data) != len(g.data) {
		return false
	}
	for i, b := range data {
		if b != g.data[i] && b != g.over[i] {
			return false
		}
	}
	return true
}

// absence is a time without an entry there, or with one of another kind.
type absence struct {
	from, to       time.Time // to is zero while it lasts
	fromSeq, toSeq int
}

func newHistory() *history { return &history{places: map[string]*place{}, going: map[string]int{}} }

func (h *history) place(p string) *place {
	at := h.places[p]
	if at == nil {
		at = &place{kinds: map[kind]int{}, contents: map[digest]int{}, targets: map[string]int{}}
		h.places[p] = at
	}
	return at
}

// coming notes what a change will show, and how it leads there: bytes that a file has for a
// moment. Call it before the change.
func (h *history) coming(before, after *model, moments map[string][][]byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for p, n := range before.entries() {
		h.note(p, n)
	}
	for p, all := range moments {
		for _, data := range all {
			h.note(p, newFile(data))
		}
	}
	h.seq++
	for p, n := range after.entries() {
		h.note(p, n)
	}
}

// grow notes files that are about to be written by and by. Call it before coming.
func (h *history) grow(files map[string]growth) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for p, g := range files {
		at := h.place(p)
		g.seq = h.seq
		at.growing = append(at.growing, g)
	}
}

// grew reports whether a file had just these bytes while it was written, at or after change
// number since.
func (at *place) grew(data []byte, since int) bool {
	return slices.ContainsFunc(at.growing, func(g growth) bool { return g.seq >= since && g.had(data) })
}

func (h *history) note(p string, n *node) {
	at := h.place(p)
	at.kinds[n.kind] = h.seq
	switch n.kind {
	case file:
		at.contents[n.hash] = h.seq
		if h.leaves != nil && h.leaves(n) {
			at.left = h.seq
		}
	case link:
		at.targets[n.target] = h.seq
		if leadsOut(p, n.target) {
			at.skipped = h.seq
		}
	case fifo:
		at.skipped = h.seq
	}
}

// begin notes that a change is under way from before to after, and returns a function for
// its end. away are paths that are gone for a moment, and everything below them.
func (h *history) begin(before, after *model, away []string) (end func()) {
	var going []string
	is := after.entries()
	for p, n := range before.entries() {
		if is[p] == nil || is[p].kind != n.kind || slices.ContainsFunc(away, func(top string) bool { return within(p, top) }) {
			going = append(going, p)
		}
	}
	add := func(n int) {
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, p := range going {
			h.going[p] += n
		}
	}
	add(1)
	return func() { add(-1) }
}

// done notes what has gone and come by a change. away are as for begin.
func (h *history) done(before, after *model, away []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now, was, is := time.Now(), before.entries(), after.entries()
	for p, n := range was {
		if is[p] == nil {
			h.leave(p, now)
		} else if is[p].kind != n.kind {
			h.leave(p, now)
			h.arrive(p, is[p].kind, now)
		}
		for _, top := range away {
			if within(p, top) && is[p] != nil {
				h.leave(p, now)
				h.arrive(p, is[p].kind, now)
			}
		}
	}
	for p, n := range is {
		if was[p] == nil {
			h.arrive(p, n.kind, now)
		}
	}
}

func (h *history) leave(p string, now time.Time) {
	at := h.place(p)
	at.there = false
	at.absences = append(at.absences, absence{from: now, fromSeq: h.seq})
}

func (h *history) arrive(p string, k kind, now time.Time) {
	at := h.place(p)
	at.there, at.kind = true, k
	if at.first == 0 {
		at.first = h.seq
	}
	if n := len(at.absences); n > 0 && at.absences[n-1].to.IsZero() {
		at.absences[n-1].to, at.absences[n-1].toSeq = now, h.seq
	}
}

// now is the number of the last change.
func (h *history) now() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.seq
}

// everWas reports whether that was ever at p, at or after change number since.
func (h *history) everWas(p string, n *node, since int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := h.places[p]
	if at == nil {
		return false
	}
	var last int
	var ok bool
	switch n.kind {
	case file:
		if at.grew(n.data, since) {
			return true
		}
		last, ok = at.contents[n.hash]
	case link:
		last, ok = at.targets[n.target]
	default:
		last, ok = at.kinds[n.kind]
	}
	return ok && last >= since
}

// mayLack reports whether p was absent at some time at or after since, or is of another kind
// than a copy had: a FIFO in the place of a file may be there for long when the copy hears of it.
func (h *history) mayLack(p string, had kind, since time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := h.places[p]
	if at == nil || h.going[p] > 0 || !at.there && len(at.absences) == 0 || at.there && at.kind != had {
		return true
	}
	for _, a := range at.absences {
		if a.to.IsZero() || !a.to.Before(since) {
			return true
		}
	}
	return false
}

// leftOut reports whether there was a file at p, at or after change number since, that mirror may leave out.
func (h *history) leftOut(p string, since int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := h.places[p]
	return at != nil && at.left >= since && at.left > 0
}

// lackedSince reports whether p was absent at or after change number since, or was what is not copied.
func (h *history) lackedSince(p string, since int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := h.places[p]
	if at == nil || h.going[p] > 0 || !at.there || at.first > since || at.skipped >= since && at.skipped > 0 {
		return true
	}
	for _, a := range at.absences {
		if a.to.IsZero() || a.toSeq > since {
			return true
		}
	}
	return false
}
