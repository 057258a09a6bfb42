package watch

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"tidemark/pkg/mtree/internal/notify"
)

// trouble is what makes the state degraded: something cannot be heard, read or
// stamped. Safe for all goroutines.
type trouble struct {
	log   *slog.Logger
	stats *Stats

	mu      sync.Mutex
	refused map[string]error // directories whose time could not be set, by path
	deaf    error            // directories could not be armed
	said    string           // about that, so that it is not said again by each audit
	unread  int64            // directories that the last audit could not read
	passed  map[string]bool  // directories on other file systems, named once
}

// maxRefused bounds the paths remembered for another try.
const maxRefused = 10_000

func newTrouble(log *slog.Logger, stats *Stats) *trouble {
	return &trouble{log: log, stats: stats, refused: map[string]error{}, passed: map[string]bool{}}
}

// refuse remembers a directory that could not be stamped, and names it once.
func (t *trouble) refuse(path string, err error) {
	t.stats.Refused.Add(1)
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, known := t.refused[path]; known {
		return
	}
	if len(t.refused) >= maxRefused {
		return
	}
	t.refused[path] = err
	t.log.Warn("cannot set a directory's time: the tree is degraded; setting it takes the owner or CAP_FOWNER, a writable mount, and no chattr +i",
		"path", dirLine(path), "err", err)
}

// accept notes that a directory could be stamped.
func (t *trouble) accept(path string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.refused, path)
}

// retry returns the directories that refused, as findings of an audit.
func (t *trouble) retry() (findings []finding) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, path := range slices.Sorted(maps.Keys(t.refused)) {
		findings = append(findings, finding{path: path})
	}
	return findings
}

// unheard notes that a directory could not be armed, and says so once.
func (t *trouble) unheard(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.deaf == nil && t.said == "" {
		t.log.Error("cannot hear all directories: the rest is covered by frequent audits", "err", err)
		t.said = err.Error()
	}
	t.deaf = err
}

// audited starts the count of what an audit cannot do anew, or sets it.
func (t *trouble) audited(directories, unread int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.unread = unread
	if errors.Is(t.deaf, notify.ErrLimit) {
		if text := notify.WatchShortage(int(directories)); text != "" {
			t.deaf = fmt.Errorf("%d directories: %s", directories, text)
			if t.said != text {
				t.log.Error("out of watches", "err", t.deaf)
				t.said = text
			}
		}
	}
}

// hearsAgain forgets that directories could not be armed, before an audit that
// tries it again.
func (t *trouble) hearsAgain() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.deaf = nil
}

// pass remembers a directory on another file system; new says for the first time.
func (t *trouble) pass(path string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.passed[path] && len(t.passed) < maxRefused {
		t.passed[path] = true
		t.stats.Foreign.Add(1)
		t.log.Warn("another file system begins here: passed over (see --cross-mounts)", "path", dirLine(path))
	}
}

// what returns in one line why the tree is degraded, without paths; "" if it
// is not.
func (t *trouble) what() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.deaf != nil:
		return t.deaf.Error()
	case len(t.refused) > 0:
		return fmt.Sprintf("%d directories refuse their time", len(t.refused))
	case t.unread > 0:
		return fmt.Sprintf("%d directories cannot be read", t.unread)
	}
	return ""
}
