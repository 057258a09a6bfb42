package health

import (
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"tidemark/pkg/mtree"
)

// Borders are the directories below the root in which another watch or mirror runs. That
// other program stamps what is below them, and this watcher does not. No event shows that
// it ended, so borders are looked at once a second, or once in as many seconds as there are
// thousands of them. Safe for all goroutines.
type Borders struct {
	log   *slog.Logger
	count *atomic.Int64
	timer *time.Timer

	mu      sync.Mutex
	live    map[string]bool // by path
	logged  map[string]bool // named in the log
	changed bool            // live has changed since Changed
}

const (
	borderPause = time.Second
	maxBorders  = 1000 // in the tree file; if there are more, any directory may have been one
)

// NewBorders returns no borders. Their number goes to count.
func NewBorders(log *slog.Logger, count *atomic.Int64) *Borders {
	b := &Borders{log: log, count: count, timer: time.NewTimer(borderPause), live: map[string]bool{}, logged: map[string]bool{}}
	b.timer.Stop()
	return b
}

// Due returns the channel that says when the borders are to be looked at.
func (b *Borders) Due() <-chan time.Time { return b.timer.C }

// Wait makes Due say so after a pause: a look at many borders takes its time.
func (b *Borders) Wait() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.timer.Reset(borderPause * time.Duration(max(1, len(b.live)/maxBorders))) // guard (max(1, len(b.live)/maxBorders) -> 1): TestWhenBordersAreLookedAt
}

// Add remembers a border. The log names it once.
func (b *Borders) Add(path string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.live[path] {
		return
	}
	b.live[path], b.changed = true, true // guard: TestBorderFromTheStart
	b.count.Store(int64(len(b.live)))
	if !b.logged[path] && len(b.logged) < maxBorders {
		b.logged[path] = true
		b.log.Info("another watch or mirror runs here: nothing below is stamped by this one", "path", mtree.DirPath(path))
	}
}

// Remove forgets a border.
func (b *Borders) Remove(path string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.live, path) // guard: TestBorder
	b.changed = true
	b.count.Store(int64(len(b.live)))
}

// Changed reports, once, that there are other borders than before.
func (b *Borders) Changed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	changed := b.changed
	b.changed = false
	return changed
}

// Record returns the borders, and those of an earlier run, as the tree file has them:
// escaped, for names need not be text. If there are too many it returns "", which stands for
// every directory.
func (b *Borders) Record(earlier map[string]bool) []string {
	paths := b.List(earlier)
	if len(paths) > maxBorders { // guard: TestBorders
		return []string{""}
	}
	for i, path := range paths {
		paths[i] = string(mtree.AppendEscaped(nil, path))
	}
	return paths
}

// List returns the borders, and those of an earlier run, in order.
func (b *Borders) List(earlier map[string]bool) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := maps.Clone(b.live)
	maps.Copy(all, earlier)
	return slices.Sorted(maps.Keys(all))
}
