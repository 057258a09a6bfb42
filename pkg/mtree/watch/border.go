package watch

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/notify"
	"tidemark/pkg/mtree/internal/state"
)

// borders are the directories below the root in which another watch or mirror
// runs: it stamps what is below them, this one does not. No event tells that it
// ended, so they are looked at once a second. Then all below counts as arrived:
// nobody knows what it published. Safe for all goroutines.
type borders struct {
	log   *slog.Logger
	stats *Stats
	timer *time.Timer // fires when they are to be looked at; run's

	mu   sync.Mutex
	live map[string]bool // by path
	said map[string]bool // named in the log
	news bool            // live has changed since it was asked about
}

const (
	borderPause = time.Second
	maxBorders  = 1000 // in the tree file; where there are more, each directory may have been one
)

func newBorders(log *slog.Logger, stats *Stats) *borders {
	b := &borders{log: log, stats: stats, timer: time.NewTimer(borderPause), live: map[string]bool{}, said: map[string]bool{}}
	b.timer.Stop()
	return b
}

// note remembers a border, and names it once.
func (b *borders) note(path string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.live[path] {
		return
	}
	b.live[path], b.news = true, true
	b.stats.Borders.Store(int64(len(b.live)))
	if !b.said[path] && len(b.said) < maxBorders {
		b.said[path] = true
		b.log.Info("another watch or mirror runs here: nothing below is stamped by this one", "path", mtree.DirPath(path))
	}
}

func (b *borders) forget(path string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.live, path)
	b.news = true
	b.stats.Borders.Store(int64(len(b.live)))
}

// changed reports, once, that there are others than before.
func (b *borders) changed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	news := b.news
	b.news = false
	return news
}

// record returns the borders and those of an earlier run as the tree file has them:
// escaped, for names need not be text.
func (b *borders) record(earlier map[string]bool) []string {
	paths := b.list(earlier)
	for i, path := range paths {
		paths[i] = string(mtree.AppendEscaped(nil, path))
	}
	return paths
}

// list returns the borders and those of an earlier run; "" is all there may be.
func (b *borders) list(earlier map[string]bool) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := maps.Clone(b.live)
	maps.Copy(all, earlier)
	if len(all) > maxBorders {
		return []string{""}
	}
	return slices.Sorted(maps.Keys(all))
}

// noteBorders writes which borders there are before the checkpoint can move: the
// next start treats one that is none by then as arrived.
func (w *watcher) noteBorders() {
	if !w.borders.changed() {
		return
	}
	w.tree.Borders = w.borders.record(w.bordered)
	_ = w.writeTree()
	if len(w.tree.Borders) > 0 {
		w.borders.timer.Reset(borderPause)
	}
}

// lookAtBorders publishes what is below directories whose watcher has ended. One
// that has moved is noted under its new path, when its arrival is published.
func (w *watcher) lookAtBorders(ctx context.Context) error {
	var b batch
	b.paths = w.triggered()
	paths := w.borders.list(nil)
	if len(paths) > 0 {
		w.borders.timer.Reset(borderPause)
	}
	for _, path := range paths {
		dir, err := w.root.OpenDirPath(path, w.CrossMounts)
		if err == nil {
			live := state.IsLiveTree(dir)
			_ = dir.Close()
			if live {
				continue
			}
		}
		w.borders.forget(path)
		if !disk.IsGone(err) {
			t := b.at(path)
			t.entries = append(t.entries, notify.Entry{Name: mtree.MarkerName})
			b.size++
		}
	}
	if b.size == 0 {
		return nil
	}
	w.pause(ctx)
	if err := w.write(&b); err != nil {
		return err
	}
	w.noteBorders()
	w.wroteBatch(true)
	return nil
}
