package notify

import (
	"bytes"

	"golang.org/x/sys/unix"
)

// nearby is the greatest number of events between the event of a link count and the one
// that explains it. The kernel queues the two one after the other; events of other
// processors come between.
const nearby = 32

// linkCounts remembers which names came or went in the last events: the reasons why link
// counts changed.
type linkCounts struct {
	named bool // events have the handle of the file that came or went: Linux 5.17
	last  [nearby]struct {
		number int // of the event; 0: none
		file   []byte
		pid    int32
		over   bool // a rename, perhaps over a file; the event does not say
	}
	next   int
	events int
}

// note remembers an event that names a file that came or went. It reports whether e is
// such an event.
func (l *linkCounts) note(e fanEvent) bool {
	if len(e.file) == 0 || e.isDir() || e.mask&namesMask == 0 {
		return false
	}
	at := &l.last[l.next%nearby]
	at.number, at.file, at.pid, at.over = l.events, append(at.file[:0], e.file...), e.pid, e.mask&unix.FAN_MOVED_TO != 0
	l.next++
	return true
}

// forget is called when the queue is empty: later events do not explain earlier ones.
func (l *linkCounts) forget() {
	for i := range l.last {
		l.last[i].number = 0
	}
}

// explain reports whether another event shows the same change as the event e of a link
// count: an unlink or a link with the handle of the file, or a rename over it by the same
// process. later are the events after e. If events have no handles, all count as
// explained.
func (l *linkCounts) explain(e fanEvent, later []byte) bool {
	if !l.named {
		return true
	}
	for i := range nearby {
		at := &l.last[(l.next+nearby-1-i)%nearby] // the latest first
		if at.number == 0 {
			continue
		}
		if l.events-at.number > nearby {
			break
		}
		if bytes.Equal(at.file, e.file) {
			return true
		}
		if at.over && at.pid == e.pid {
			at.number = 0
			return true
		}
	}
	return e.isExplainedBy(later)
}

// isExplainedBy reports whether one of the next events names a file that came or went: that of
// the link count e.
func (e fanEvent) isExplainedBy(later []byte) bool {
	for range nearby {
		next, size := nextFanEvent(later)
		if size == 0 {
			return false
		}
		if next.mask&namesMask != 0 && bytes.Equal(next.file, e.file) {
			return true
		}
		later = later[size:]
	}
	return false
}
