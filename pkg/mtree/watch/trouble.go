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
// stamped. Only an audit that finds nothing of the kind ends it. Safe for all
// goroutines.
type trouble struct {
	log   *slog.Logger
	stats *Stats

	mu      sync.Mutex
	refused map[string]error // directories whose time could not be set, by path
	unread  map[string]bool  // directories that the last audit could not read, by path; never changed
	more    bool             // there are more of both than are remembered
	deaf    error            // directories could not be armed
	said    string           // about that, so that it is not said again by each audit
	untold  error            // the tree file could not be written
	lasting string           // what was, and only an audit can end
	mended  bool             // all that refused was stamped, and no audit asked for since
	found   auditTrouble
	passed  map[string]bool // directories on other file systems, named once
}

// auditTrouble is what the audit that is running could not do so far.
type auditTrouble struct {
	unread map[string]bool
	more   bool
	deaf   error
}

// Bounds of the paths remembered for another try.
const (
	maxRefused = 10_000
	maxUnread  = 1_000
)

func newTrouble(log *slog.Logger, stats *Stats) *trouble {
	return &trouble{log: log, stats: stats, refused: map[string]error{}, passed: map[string]bool{}}
}

// refuse remembers a directory that could not be stamped, and names it once.
func (t *trouble) refuse(path string, err error) {
	t.stats.Refused.Add(1)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mended = false
	if _, known := t.refused[path]; known {
		t.refused[path] = err
		return
	}
	if len(t.refused) >= maxRefused {
		t.more, t.found.more = true, true
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
	if len(t.refused) == 0 {
		return
	}
	delete(t.refused, path)
	if len(t.refused) == 0 {
		t.lasting, t.mended = "directories refused their time until now", true
	}
}

// loses reports whether the directory did not hold the time that it was given last.
func (t *trouble) loses(path string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return errors.Is(t.refused[path], errNotHeld)
}

// mends reports, once, that an audit may end what the refusals began.
func (t *trouble) mends() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	mended := t.mended
	t.mended = false
	return mended
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

// cannotRead notes a directory that an audit could not read.
func (t *trouble) cannotRead(path string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.found.unread) < maxUnread {
		t.found.unread[path] = true
	} else {
		t.found.more = true
	}
	if !t.unread[path] {
		t.log.Warn("cannot read a directory: changes below it are not published", "err", err)
	}
}

// closed returns the directories that the last audit could not read.
func (t *trouble) closed() map[string]bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.unread
}

// unheard notes that a directory could not be armed, and says so once.
func (t *trouble) unheard(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.deaf == nil && t.said == "" {
		t.log.Error("cannot hear all directories: the rest is covered by frequent audits", "err", err)
		t.said = err.Error()
	}
	t.deaf, t.found.deaf = err, err
}

// begin starts the count of what an audit cannot do anew. What the one before
// could not holds until this one has ended.
func (t *trouble) begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.found = auditTrouble{unread: map[string]bool{}}
}

// audited takes what an audit, now at its end, could not do.
func (t *trouble) audited(directories int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.unread, t.more, t.deaf, t.lasting, t.mended = t.found.unread, t.found.more, t.found.deaf, "", false
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

// tell notes whether the tree file could be written.
func (t *trouble) tell(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil && t.untold == nil {
		t.log.Error("cannot write .tidemark/tree: readers and the next start do not know what this watcher does", "err", err)
	}
	t.untold = err
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
	if t.deaf != nil {
		return t.deaf.Error()
	}
	return t.left()
}

// hears reports whether every directory is heard.
func (t *trouble) hears() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.deaf == nil && t.found.deaf == nil && t.lasting == ""
}

// unpublished returns what was not read or not stamped, "" if everything was.
func (t *trouble) unpublished() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.left()
}

// forgotten reports whether more was left out than is known by path.
func (t *trouble) forgotten() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.more
}

func (t *trouble) left() string {
	switch {
	case t.untold != nil:
		return "the tree file cannot be written"
	case t.more:
		return "too many directories refuse their time or cannot be read"
	case len(t.refused) > 0:
		return fmt.Sprintf("%d directories refuse their time", len(t.refused))
	case len(t.unread) > 0:
		return fmt.Sprintf("%d directories cannot be read", len(t.unread))
	}
	return t.lasting
}
