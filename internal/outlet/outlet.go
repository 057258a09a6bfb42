// Package outlet writes lines to a reader who may be slow, or may have stopped to
// read, without letting the writer wait for him: a pipe holds 64 KiB, and then
// write(2) does not return.
//
// Lines keep their order. What the reader has not taken is kept up to a bound;
// beyond it lines are lost, from the first that finds no room until the reader has
// taken what is kept. One line in their place says how many they were:
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
	lost    int    // since the last line that was kept
	last    []byte // the last of them
	total   int64
	slow    bool // the reader was waited for in vain
	closed  bool
	err     error         // of w, which gets nothing more then
	idle    chan struct{} // closed when nothing is kept or being written; nil: nobody waits
}

// New returns an Outlet to w that keeps up to size bytes besides those that are
// being written, as many again. A Write waits so long for a reader that never was
// slow; then never again. lostLine makes the line, with its end, that stands for n
// lost ones; last is the last of these.
//
// A goroutine writes to w. It ends with Close, but not while w does not return.
func New(w io.Writer, size int, patience time.Duration, lostLine func(n int, last []byte) []byte) *Outlet {
	o := &Outlet{w: w, size: size, patience: patience, lostLine: lostLine}
	o.news.L = &o.mu
	go o.drain()
	return o
}

// Write takes whole lines. The error is that of a write to w, of these lines or of
// earlier ones: all fail after it.
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

// Close waits so long for the reader to take what is kept, and returns how many
// lines he did not take, which are lost, and what w said. It does not close w.
func (o *Outlet) Close(wait time.Duration) (left int, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.news.Signal()
	o.wait(wait)
	o.total += int64(o.writing + o.pending)
	return o.writing + o.pending + o.lost, o.err
}

// wait lets the reader take all that is kept, and reports whether he did so in
// time; mu is held before and after.
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

func (o *Outlet) empty() bool { return o.err != nil || o.pending+o.writing+o.lost == 0 }

// drain writes until Close, and what was kept by then.
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

// take takes out what is kept, and a line for what is lost behind it.
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

// reusable returns the memory of what was written, unless it is worth having back.
func reusable(text []byte) []byte {
	const little = 64 << 10
	if cap(text) > little {
		return nil
	}
	return text
}
