package simkernel

import (
	"fmt"
	"hash/fnv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Options are what differs between machines.
type Options struct {
	Granule    time.Duration // of file times; 0: 1 ns
	First      int64         // the first second that file times keep; 0: that of ext4
	Tick       time.Duration // of the clock that file times are taken from; 0: exact
	OldTimes   bool          // before Linux 6.13: no time is finer than the tick
	Queue      int           // fs.inotify.max_queued_events; 0: 16384
	MaxWatches int           // fs.inotify.max_user_watches; 0: 100000
	NoXattrs   bool          // user attributes are refused
	XFS        bool          // files that are exchanged keep their ctimes, and directories within one parent
	Batch      int           // names that one getdents64 returns at most; 0: as many as fit
}

// Kernel is a machine with one file system, whose root is "/".
type Kernel struct {
	Options

	// Before is called before each system call of a process that is Scheduled, without
	// locks: it may wait. nil: nothing.
	Before func(p *Process, call string)

	Shuffle func(n int) []int // in which order a process looks at n channels; nil: the first ones first

	Full     bool // the file system has no room
	ReadOnly bool

	mu      sync.Mutex
	root    *inode
	lastIno uint64
	lastPID int
	procs   map[int]*Process // by pid
	began   time.Time        // of this boot
	offset  time.Duration    // of the clock from that of the bubble
	fine    time.Time        // the latest time that is finer than a tick
	boot    int
	cookie  uint32
	disk    *inode // what a crash leaves: see image.go
	steps   chan struct{}
	mounts  chan struct{}

	sum   uint64
	lines []string
	keep  bool
	calls int
}

// New returns a machine that is just booted, with an empty file system.
func New(o Options) *Kernel {
	if o.Granule == 0 {
		o.Granule = 1
	}
	if o.Queue == 0 {
		o.Queue = 16384
	}
	if o.MaxWatches == 0 {
		o.MaxWatches = 100_000
	}
	k := &Kernel{Options: o, lastIno: 1, procs: map[int]*Process{}, steps: make(chan struct{}, 1), mounts: make(chan struct{}, 1)}
	k.offset = 26 * 365 * 24 * time.Hour // a bubble begins in 2000
	k.began = time.Now().Add(-time.Hour)
	k.root = k.make(unix.S_IFDIR|0o755, 0)
	k.root.nlink = 1
	k.commit()
	return k
}

func (k *Kernel) now() time.Time { return time.Now().Add(k.offset) }

// StepClock sets the clock forward, or back, and tells who listens for that.
func (k *Kernel) StepClock(by time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.note("the clock steps by %v", by)
	k.offset += by
	if by < 0 {
		k.fine = time.Time{}
	}
	select {
	case k.steps <- struct{}{}:
	default:
	}
}

// StandStill takes back d, which has just passed while only killed processes ended: a kill takes
// no time on a real machine, and here their goroutines may sleep.
func (k *Kernel) StandStill(d time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.offset -= d
	k.began = k.began.Add(d)
}

// Note adds a line to the trace.
func (k *Kernel) Note(format string, args ...any) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.note(format, args...)
}

func (k *Kernel) note(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%x %s", k.sum, line)
	k.sum = h.Sum64()
	if k.keep {
		k.lines = append(k.lines, time.Since(k.began).String()+" "+line)
	}
}

// Keep makes the kernel keep the lines of its trace.
func (k *Kernel) Keep() { k.keep = true }

// Trace returns a sum of all that was called and done, and the lines if they are kept.
func (k *Kernel) Trace() (sum uint64, lines []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.sum, k.lines
}

// Calls returns how many system calls Scheduled processes made.
func (k *Kernel) Calls() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.calls
}
