package longpoll

import (
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"tidemark/pkg/mtree/internal/dirwatch"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/wire"
)

const (
	// wakeEvery is the least time between two wakes of one topic. After a quiet time, a
	// topic wakes at once.
	wakeEvery = 100 * time.Millisecond
	// stateEvery is how often the hub looks at the state of the tree: no directory shows
	// that the watcher died. Topics that no inotify watch hears wake as often.
	stateEvery = time.Second
)

// ErrCrowded says that no more requests may wait.
var ErrCrowded = errors.New("too many requests wait")

// Config says what a hub needs. All fields but Watch are needed.
type Config struct {
	Watch      *dirwatch.Watch    // nil or closed: no directory is heard; Close closes it
	MaxWaiters int                // requests that may wait at once
	Waiting    *atomic.Int64      // set to how many wait now
	Log        *slog.Logger       // gets one line if directories cannot be heard
	Quoted     func(error) string // the text of an error for the log
	Changed    func() bool        // reports whether the state of the tree differs from the last call; called by one goroutine at a time
}

// Hub has a topic for each directory that somebody waits for. Many goroutines may use it
// at once.
type Hub struct {
	cfg Config

	mu      sync.Mutex
	topics  map[int32]*Topic // by the id of their watch; gone with their last waiter
	unheard int32            // id of the last topic that hears nothing: below 0, counted down
	waiting int
	done    sync.WaitGroup
}

// Topic wakes those who wait for one directory. Hub.mu guards all fields but id.
type Topic struct {
	id      int32
	hears   dirwatch.Hearing
	waiters int
	woken   chan struct{} // closed to wake, then replaced
	last    time.Time     // when it woke last
	pending *time.Timer   // set while waking is put off
}

// New starts the two goroutines of a hub: one reads inotify, one looks at the state of
// the tree until stop is closed. Close ends both.
func New(c Config, stop <-chan struct{}) *Hub {
	h := &Hub{cfg: c, topics: map[int32]*Topic{}}
	if c.Watch != nil {
		h.done.Go(h.hear)
	}
	h.done.Go(func() { h.watchState(stop) })
	return h
}

// Close ends the hub. No request may wait any more, and stop must be closed.
func (h *Hub) Close() {
	if h.cfg.Watch != nil {
		_ = h.cfg.Watch.Close()
	}
	h.done.Wait()
}

// Join returns the topic of the directory and a channel that is closed when it wakes next.
// old is the topic that the caller joined before, or nil; the caller leaves it if it is
// another one. Each topic needs a Leave in the end. The error is ErrCrowded.
func (h *Hub) Join(dir *disk.Dir, state wire.State, old *Topic) (*Topic, <-chan struct{}, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if old == nil && h.waiting >= h.cfg.MaxWaiters {
		return nil, nil, ErrCrowded
	}
	id := h.watch(dir, state)
	t := h.topics[id]
	if t == nil {
		t = &Topic{id: id, woken: make(chan struct{})}
		h.topics[id] = t
	}
	t.hears = hearing(state)
	if t != old {
		h.drop(old)
		t.waiters++
		h.waiting++
		h.cfg.Waiting.Store(int64(h.waiting))
	}
	return t, t.woken, nil
}

// HearAgain is what to do about directories that serve cannot hear.
const HearAgain = "raise the limit that the error names, then start serve again"

// watch returns the id of a watch on the directory, or one below 0 if the host has no
// watch left.
func (h *Hub) watch(dir *disk.Dir, state wire.State) int32 {
	if h.cfg.Watch != nil {
		id, err := h.cfg.Watch.Add(dir, hearing(state))
		if err == nil {
			return id
		}
		if h.unheard == 0 {
			h.cfg.Log.Warn("cannot hear all directories: mirrors that wait for these are told within a second, not at once",
				"error", h.cfg.Quoted(err), "remedy", HearAgain)
		}
	}
	h.unheard--
	return h.unheard
}

// hearing returns which events show that a directory has another stamp. While a program
// keeps the stamps, only times that it sets count: the kernel sets one a moment earlier,
// which would wake everybody for a stamp that is replaced at once.
func hearing(state wire.State) dirwatch.Hearing {
	switch state {
	case wire.Watched, wire.Auditing, wire.Mirrored:
		return dirwatch.OwnTimes
	}
	return dirwatch.AnyChange
}

// Leave ends waiting for a topic, which may be nil. The last to leave removes the topic.
func (h *Hub) Leave(t *Topic) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.drop(t)
}

// drop does what Leave does. The caller holds h.mu.
func (h *Hub) drop(t *Topic) {
	if t == nil {
		return
	}
	h.waiting--
	h.cfg.Waiting.Store(int64(h.waiting))
	if t.waiters--; t.waiters > 0 {
		return
	}
	if t.pending != nil {
		t.pending.Stop()
	}
	delete(h.topics, t.id)
	if t.id >= 0 {
		h.cfg.Watch.Remove(t.id)
	}
}

// hear wakes topics for events until the watch is closed.
func (h *Hub) hear() {
	var events []dirwatch.Event
	for {
		var err error
		if events, err = h.cfg.Watch.Next(events[:0]); err != nil {
			return
		}
		h.mu.Lock()
		for _, e := range events {
			if e.Lost {
				h.wakeAll()
			} else if t := h.topics[e.ID]; t != nil && (e.Self || t.hears == dirwatch.AnyChange) {
				h.wakeSoon(t)
			}
		}
		h.mu.Unlock()
	}
}

// watchState wakes all topics when the state of the tree changes, because their requests
// must wait as the new state demands. It always wakes the topics that hear nothing.
func (h *Hub) watchState(stop <-chan struct{}) {
	tick := time.NewTicker(stateEvery)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		h.mu.Lock()
		if h.waiting > 0 && h.cfg.Changed() {
			h.wakeAll()
		}
		for id, t := range h.topics {
			if id < 0 {
				t.wake()
			}
		}
		h.mu.Unlock()
	}
}

func (h *Hub) wakeAll() {
	for _, t := range h.topics {
		t.wake()
	}
}

// wakeSoon wakes the waiters now, or wakeEvery after the last time.
func (h *Hub) wakeSoon(t *Topic) {
	if t.pending != nil {
		return
	}
	if wait := wakeEvery - time.Since(t.last); wait > 0 {
		t.pending = time.AfterFunc(wait, func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			t.wake()
		})
		return
	}
	t.wake()
}

// wake wakes all who wait now. The caller holds Hub.mu.
func (t *Topic) wake() {
	t.pending = nil
	t.last = time.Now()
	close(t.woken)
	t.woken = make(chan struct{})
}
