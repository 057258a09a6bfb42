// Package outlet writes lines to a reader that may be slow, or may have stopped
// reading, so that the writer need not wait for it: a pipe holds 64 KiB, and then
// write(2) does not return.
//
// Lines keep their order. An Outlet keeps what the reader has not taken, up to a bound.
// From the first line for which there is no room, lines are lost until the reader has
// taken all that is kept. One line in their place says how many they were:
//
//	1795833957.000000001	a/f
//	1795833957.000000093	lost 92 lines
//	1795833958.000000000	a/f
package outlet

import (
	"bytes"
	"io"
	"sync"
	"time"
)

// Outlet is an io.Writer of lines. Safe for all goroutines.
type Outlet struct {
	w        io.Writer
	size     int
	patience time.Duration
	lostLine func(n int, last []byte) []byte

	mu      sync.Mutex
	news    sync.Cond
	kept    []byte // lines that the reader has not taken
	pending int    // lines in kept
	writing int    // lines that are being written
	lost    int    // lines lost since the last line that was kept
	last    []byte // the last of the lost lines
	total   int64  // lines lost so far
	slow    bool   // a Write has waited for the reader in vain
	closed  bool
	err     error         // of w, which gets nothing more after it
	idle    chan struct{} // closed when nothing is kept or being written; nil: nobody waits
}

// New returns an Outlet to w that keeps up to size bytes, and as many again that are
// being written. A Write waits for the reader up to patience, until that was in vain
// once; after that it never waits. lostLine makes the line, with its end, that stands
// for n lost lines; last is the last of these.
//
// A goroutine writes to w. It ends with Close, but not while w does not return.
func New(w io.Writer, size int, patience time.Duration, lostLine func(n int, last []byte) []byte) *Outlet {
	o := &Outlet{w: w, size: size, patience: patience, lostLine: lostLine}
	o.news.L = &o.mu
	go o.drain()
	return o
}

// Write takes whole lines. The error is that of writing these or earlier lines to w:
// after an error every Write fails.
func (o *Outlet) Write(lines []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return 0, o.err
	}
	for line := range bytes.Lines(lines) {
		o.keep(line)
	}
	o.news.Signal()
	if o.patience > 0 && !o.slow {
		o.slow = !o.wait(o.patience)
	}
	return len(lines), o.err
}

// keep keeps one line, or counts it as lost. mu is held.
func (o *Outlet) keep(line []byte) {
	if o.lost > 0 || len(o.kept)+len(line) > o.size {
		o.lost++
		o.total++
		o.last = append(o.last[:0], line...)
		return
	}
	o.kept = append(o.kept, line...)
	o.pending++
}

// Lost returns how many lines were lost so far.
func (o *Outlet) Lost() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.total
}

// Close waits up to wait until the reader has taken all that is kept. It returns how
// many lines the reader did not take, which are lost, and the error of w. It does not
// close w.
func (o *Outlet) Close(wait time.Duration) (left int, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.news.Signal()
	o.wait(wait)
	o.total += int64(o.writing + o.pending)
	return o.writing + o.pending + o.lost, o.err
}

// wait waits until the reader has taken all that is kept, and reports whether it did
// so in time. mu is held before and after.
func (o *Outlet) wait(long time.Duration) bool {
	if o.empty() {
		return true
	}
	if o.idle == nil {
		o.idle = make(chan struct{})
	}
	idle := o.idle
	o.mu.Unlock()
	timer := time.NewTimer(long)
	defer timer.Stop()
	select {
	case <-idle:
	case <-timer.C:
	}
	o.mu.Lock()
	return o.empty()
}

// empty reports whether the reader has taken everything, or never will. mu is held.
func (o *Outlet) empty() bool { return o.err != nil || o.pending+o.writing+o.lost == 0 }

// drain writes until Close, and then what is kept by then.
func (o *Outlet) drain() {
	var spare []byte
	o.mu.Lock()
	defer o.mu.Unlock()
	for {
		for o.pending+o.lost == 0 {
			if o.closed {
				return
			}
			o.news.Wait()
		}
		text := o.take(spare[:0])
		o.mu.Unlock()
		_, err := o.w.Write(text)
		spare = reusable(text)
		o.mu.Lock()
		o.writing = 0
		if err != nil {
			o.err = err
		}
		if o.idle != nil && o.empty() {
			close(o.idle)
			o.idle = nil
		}
		if o.err != nil {
			return
		}
	}
}

// take removes and returns what is kept, with a line for the lost lines after it.
func (o *Outlet) take(spare []byte) []byte {
	text := o.kept
	o.writing, o.kept, o.pending = o.pending, spare, 0
	if o.lost > 0 {
		text = append(text, o.lostLine(o.lost, o.last)...)
		o.writing += o.lost
		o.lost = 0
	}
	return text
}

// reusable returns the memory of what was written, to be used again; nil if it is so
// large that it should be freed.
func reusable(text []byte) []byte {
	const little = 64 << 10
	if cap(text) > little {
		return nil
	}
	return text
}
