package serve

import (
	"errors"
	"log/slog"
	"sync"
	"time"

	"tidemark/pkg/mtree/internal/dirwatch"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/wire"
)

const (
	// wakeEvery bounds how often those who wait for one directory are woken:
	// the first time after quiet at once, then at most this often.
	wakeEvery = 100 * time.Millisecond
	// stateEvery is how often the state of the tree is looked at on behalf of
	// those who wait: no directory tells that the watcher died. Bells that hear
	// nothing, for want of inotify watches, ring as often.
	stateEvery = time.Second
)

// errCrowded says that no more requests may wait.
var errCrowded = errors.New("too many requests wait")

// belfry holds a bell for each directory that somebody waits for.
type belfry struct {
	tree  *tree
	most  int
	stats *Stats
	log   *slog.Logger
	watch *dirwatch.Watch // nil: this host has no inotify instance left

	mu      sync.Mutex
	bells   map[int32]*bell // by the id of their watch; gone with their last waiter
	deaf    int32           // id of the last bell that hears nothing: below 0, counted down
	waiting int
	said    *snapshot // what those who wait were told last
	done    sync.WaitGroup
}

// bell wakes those who wait for one directory. All fields but id are guarded by
// belfry.mu.
type bell struct {
	id      int32
	hears   dirwatch.Hearing
	waiters int
	sound   chan struct{} // closed to wake, then replaced
	last    time.Time     // when it rang last
	pending *time.Timer   // set while a ring is put off
}

// newBelfry starts the two goroutines that ring: one reads inotify, one looks
// at the state. close ends both.
func newBelfry(t *tree, c *Config, stop <-chan struct{}) *belfry {
	b := &belfry{tree: t, most: c.MaxWaiters, stats: c.Stats, log: c.Log, bells: map[int32]*bell{}, said: t.now()}
	watch, err := dirwatch.New()
	if err != nil {
		b.log.Warn("long polls look once a second", "err", err)
	} else {
		b.watch = watch
		b.done.Go(b.listen)
	}
	b.done.Go(func() { b.attend(stop) })
	return b
}

func (b *belfry) close() {
	if b.watch != nil {
		_ = b.watch.Close()
	}
	b.done.Wait()
}

// join returns the bell of the directory, made if need be, and the channel that
// is closed at its next ring. old is the bell the caller has joined before, or
// nil; it is left if it is another. Each bell needs a leave in the end.
func (b *belfry) join(dir *disk.Dir, state wire.State, old *bell) (*bell, <-chan struct{}, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if old == nil && b.waiting >= b.most {
		return nil, nil, errCrowded
	}
	id := b.hear(dir, state)
	one := b.bells[id]
	if one == nil {
		one = &bell{id: id, sound: make(chan struct{})}
		b.bells[id] = one
	}
	one.hears = hearing(state)
	if one != old {
		b.drop(old)
		one.waiters++
		b.waiting++
		b.stats.Waiting.Store(int64(b.waiting))
	}
	return one, one.sound, nil
}

// hear returns the id of a watch on the directory, or one below 0 where there
// is none to be had.
func (b *belfry) hear(dir *disk.Dir, state wire.State) int32 {
	if b.watch != nil {
		id, err := b.watch.Add(dir, hearing(state))
		if err == nil {
			return id
		}
		if b.deaf == 0 {
			b.log.Warn("long polls look once a second", "err", b.tree.cfg.quoted(err))
		}
	}
	b.deaf--
	return b.deaf
}

// hearing says what tells that a directory has another stamp. While a program
// keeps stamps only its own setting of one counts: the kernel's, a moment
// before, would wake everybody for a stamp that is replaced at once.
func hearing(state wire.State) dirwatch.Hearing {
	switch state {
	case wire.Watched, wire.Auditing, wire.Mirrored:
		return dirwatch.OwnTimes
	}
	return dirwatch.AnyChange
}

// leave gives up waiting; the last one takes the bell down. one may be nil.
func (b *belfry) leave(one *bell) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.drop(one)
}

func (b *belfry) drop(one *bell) {
	if one == nil {
		return
	}
	b.waiting--
	b.stats.Waiting.Store(int64(b.waiting))
	if one.waiters--; one.waiters > 0 {
		return
	}
	if one.pending != nil {
		one.pending.Stop()
	}
	delete(b.bells, one.id)
	if one.id >= 0 {
		b.watch.Remove(one.id)
	}
}

// listen rings for events until the watch is closed.
func (b *belfry) listen() {
	var events []dirwatch.Event
	for {
		var err error
		if events, err = b.watch.Next(events[:0]); err != nil {
			return
		}
		b.mu.Lock()
		for _, e := range events {
			if e.Lost {
				b.ringAll()
			} else if one := b.bells[e.ID]; one != nil && (e.Self || one.hears == dirwatch.AnyChange) {
				b.ring(one)
			}
		}
		b.mu.Unlock()
	}
}

// attend rings all bells when the tree's state, epoch or id changes, for those
// who wait to hear what fits the new state, and those that hear nothing always.
func (b *belfry) attend(stop <-chan struct{}) {
	tick := time.NewTicker(stateEvery)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		b.mu.Lock()
		if b.waiting > 0 {
			s := b.tree.now()
			if !s.same(b.said) {
				b.said = s
				b.ringAll()
			}
		}
		for id, one := range b.bells {
			if id < 0 {
				one.strike()
			}
		}
		b.mu.Unlock()
	}
}

// same reports whether s tells readers the same as t.
func (s *snapshot) same(t *snapshot) bool {
	return s.State == t.State && s.e == t.e && s.replaced == t.replaced && s.Status.Apart == t.Status.Apart
}

func (b *belfry) ringAll() {
	for _, one := range b.bells {
		one.strike()
	}
}

// ring wakes the waiters, now or when the last time is wakeEvery ago.
func (b *belfry) ring(one *bell) {
	if one.pending != nil {
		return
	}
	if wait := wakeEvery - time.Since(one.last); wait > 0 {
		one.pending = time.AfterFunc(wait, func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			one.strike()
		})
		return
	}
	one.strike()
}

func (one *bell) strike() {
	one.pending = nil
	one.last = time.Now()
	close(one.sound)
	one.sound = make(chan struct{})
}
