package world

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// eye looks at the copies all the while. What it sees must once have been in the source, as
// a whole and in that place; what it saw must not go while the source has it; and a copy
// that is complete by its stamp must have what was published under that stamp.
type eye struct {
	w       *World
	mu      sync.Mutex // held while it looks
	since   [2]map[string]sight
	doubts  []doubt
	told    map[string]bool
	ended   chan struct{}
	done    chan struct{}
	looks   atomic.Int64
	promise promise
}

// promise is what watch --sync answered: all changes up to a number are published.
type promise struct {
	stamp time.Time
	seq   int
}

// sight is what was seen somewhere, since when.
type sight struct {
	kind  kind
	since time.Time
}

// doubt is something that must not be, unless a change that is under way explains it.
type doubt struct {
	copy int
	path string
	node *node // nil: it is missing
	was  sight // if it is missing
	at   time.Time
}

// open begins to look.
func (w *World) open() {
	w.eye = &eye{w: w, told: map[string]bool{}, ended: make(chan struct{}), done: make(chan struct{})}
	w.eye.forget()
	go w.eye.run()
}

func (e *eye) stop() { close(e.ended); <-e.done }

// closed calls f while the eye is closed; after it everything is new to it.
func (e *eye) closed(f func() error) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	err := f()
	e.forget()
	return err
}

func (e *eye) forget() {
	e.since = [2]map[string]sight{{}, {}}
	e.doubts, e.promise = nil, promise{}
}

func (e *eye) run() {
	defer close(e.done)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-e.ended:
			return
		case <-tick.C:
			e.look()
		}
	}
}

// look looks at both copies once.
func (e *eye) look() {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	for i, root := range e.w.copies {
		promised, seq := e.promised(root)
		m, err := scan(root)
		if err != nil || m == nil {
			continue // no copy yet, or no right to look
		}
		e.looks.Add(1)
		seen := m.entries()
		for p, n := range seen {
			if !e.w.history.everWas(p, n, 0) {
				e.doubts = append(e.doubts, doubt{i, p, n, sight{}, now})
			}
			was, ok := e.since[i][p]
			if !ok {
				was.since = now
			}
			e.since[i][p] = sight{n.kind, was.since}
		}
		for p, was := range e.since[i] {
			if seen[p] == nil {
				delete(e.since[i], p)
				if i == 1 && e.cameToCopy1(p, now) || was.kind == link && e.w.linkless.Load() {
					continue
				}
				e.doubts = append(e.doubts, doubt{i, p, nil, was, now})
			}
		}
		if promised {
			e.keeps(i, seq, m)
		}
	}
	e.judge()
}

// take takes a promise.
func (e *eye) take(p promise) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.promise = p
}

// cameToCopy1 reports whether the first copy lacks a path, or has it only for a moment: then
// the second one may lack it too, whatever the source has.
func (e *eye) cameToCopy1(p string, now time.Time) bool {
	was, has := e.since[0][p]
	return !has || now.Sub(was.since) < slack
}

// slack is how far a copy may be behind what it copies while it runs.
const slack = 10 * time.Second

// promised reports whether a copy is complete by a stamp that includes what was promised.
func (e *eye) promised(root string) (bool, int) {
	if e.promise.seq == 0 {
		return false, 0
	}
	info, err := os.Lstat(root)
	if err != nil {
		return false, 0
	}
	buf := make([]byte, 4096)
	n, err := unix.Lgetxattr(root, "user.tidemark", buf)
	complete := err == nil && bytes.HasPrefix(buf[:n], []byte(stamp(info.ModTime())))
	return complete && !info.ModTime().Before(e.promise.stamp), e.promise.seq
}

// keeps checks that a copy has everything up to a change.
func (e *eye) keeps(i, seq int, m *model) {
	lines := e.w.behind(m, seq)
	if len(lines) > 0 { // btrfs leaves out a name that another file takes while the directory is listed
		again, err := scan(e.w.copies[i])
		if err != nil || again == nil {
			return
		}
		both := e.w.behind(again, seq)
		lines = slices.DeleteFunc(lines, func(line string) bool { return !slices.Contains(both, line) })
	}
	if len(lines) > 0 {
		e.tell("stamped", fmt.Sprintf("copy %d is complete by a stamp under which change %d was published, and does not show it: %s", i+1, seq, brief(lines)))
	}
}

// behind says what a copy does not show although it happened up to a change. What a mount
// covers is left to hard rests.
func (w *World) behind(m *model, seq int) (lines []string) {
	seen := m.entries()
	for p, n := range seen {
		if !w.history.everWas(p, n, seq) && !(n.kind == file && w.history.leftOut(p, seq)) {
			lines = append(lines, fmt.Sprintf("%q: %c %s is older", p, n.kind, begins(n.data)))
		}
	}
	w.mu.Lock()
	wanted := w.model.copyable().entries()
	w.mu.Unlock()
	for p := range wanted {
		if seen[p] == nil && !within(p, "mnt") && !w.history.lackedSince(p, seq) && !w.history.leftOut(p, seq) {
			lines = append(lines, fmt.Sprintf("%q is missing", p))
		}
	}
	slices.Sort(lines)
	return lines
}

// judge decides the doubts of a while ago.
func (e *eye) judge() {
	var later []doubt
	for _, d := range e.doubts {
		if time.Since(d.at) < time.Second {
			later = append(later, d)
			continue
		}
		switch {
		case d.node == nil:
			name := e.w.copies[d.copy] + "/" + d.path
			if !exists(name) && !e.w.history.mayLack(d.path, d.was.kind, d.was.since.Add(-slack)) {
				e.tell("deleted", fmt.Sprintf("%q has gone from copy %d, the source always had it", d.path, d.copy+1))
			}
		case e.w.unsure.Load() || e.w.history.everWas(d.path, d.node, 0):
		default:
			e.tell("torn", fmt.Sprintf("%q in copy %d: %c %s %q never was there in the source", d.path, d.copy+1, d.node.kind, begins(d.node.data), d.node.target))
		}
	}
	e.doubts = later
}

// tell tells a finding once.
func (e *eye) tell(kind, text string) {
	if !e.told[text] {
		e.told[text] = true
		e.w.finding(kind, "%s", text)
	}
}
