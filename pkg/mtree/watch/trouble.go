package watch

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/notify"
)

// trouble is what makes the state degraded: something cannot be heard, or more cannot
// be read or stamped than can be told apart. Only an audit that finds nothing of the
// kind ends it. Safe for all goroutines.
type trouble struct {
	log   *slog.Logger
	stats *Stats

	mu      sync.Mutex
	apart   *apart
	refused error  // of the root, which must show its stamp
	more    bool   // there are more directories that refuse or cannot be read than apart has room for
	deaf    error  // directories could not be armed
	said    string // about that, so that it is not said again by each audit
	untold  error  // the tree file could not be written
	lasting string // what was, and only an audit can end
	mended  bool   // all that refused was stamped, and no audit asked for since
	found   auditTrouble
	passed  map[string]bool // directories on other file systems, named once
}

// auditTrouble is what the audit that is running could not do so far.
type auditTrouble struct {
	more bool
	deaf error
}

// maxPassed is how many directories on other file systems are named.
const maxPassed = 10_000

func newTrouble(log *slog.Logger, stats *Stats) *trouble {
	return &trouble{log: log, stats: stats, apart: newApart(), passed: map[string]bool{}}
}

// refuse remembers a directory that could not be given its stamp, and names it once.
func (t *trouble) refuse(path string, node disk.Node, stamp mtree.Stamp, err error) {
	t.stats.Refused.Add(1)
	known, ok := true, true
	if path == "" {
		known = t.refuseRoot(err)
	} else {
		known, ok = t.apart.refuse(path, node, stamp, errors.Is(err, errNotHeld))
	}
	if !ok {
		t.overflow(err)
	} else if !known {
		t.log.Warn("cannot set a directory's time: its stamp is told in .tidemark/stamps instead, but for the root; setting it takes the owner or CAP_FOWNER, a writable mount, and no chattr +i",
			"path", mtree.DirPath(path), "err", err)
	}
}

func (t *trouble) refuseRoot(err error) (known bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	known = t.refused != nil
	t.refused, t.mended = err, false
	return known
}

// overflow notes that there are more than can be told apart.
func (t *trouble) overflow(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.more {
		t.log.Warn("too many directories refuse their time or cannot be read: the tree is degraded", "err", err)
	}
	t.more, t.found.more, t.mended = true, true, false
}

// accept notes that a directory could be stamped, or is gone.
func (t *trouble) accept(path string) {
	if path != "" {
		t.apart.accept(path)
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.refused != nil {
		t.refused, t.lasting, t.mended = nil, "the root refused its time until now", true
	}
}

// loses reports whether the directory did not hold the time that it was given last.
func (t *trouble) loses(path string) bool {
	if path != "" {
		return t.apart.loses(path)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return errors.Is(t.refused, errNotHeld)
}

// mends reports, once, that an audit may end what the refusals began.
func (t *trouble) mends() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	mended := t.mended
	t.mended = false
	return mended
}

// retry returns the directories that refused, as findings of an audit. They are only
// to show what is published of them; all that is above them is to be stamped, too, if
// it was not written what that is.
func (t *trouble) retry() (findings []finding) {
	again := t.apart.again()
	if again {
		for path := range t.apart.unreads() {
			findings = append(findings, finding{path: mtree.ParentPath(path)})
		}
	}
	for _, path := range t.apart.refusals() {
		findings = append(findings, finding{path: path, settles: !again})
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.refused != nil {
		findings = append(findings, finding{})
	}
	return findings
}

// cannotRead notes a directory that could not be read, and reports whether it could
// before.
func (t *trouble) cannotRead(path string, inode uint64, err error) (news bool) {
	known, ok := t.apart.shut(path, inode)
	if !ok {
		t.overflow(err)
	} else if !known {
		t.log.Warn("cannot read a directory: it is not published, nor what is below it, until it can be read", "path", mtree.DirPath(path), "err", err)
	}
	return !known
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
	t.apart.begin()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.found = auditTrouble{}
}

// audited takes what an audit, now at its end, could not do. It returns the
// directories that can be read again.
func (t *trouble) audited(directories int64) (opened []string) {
	opened = t.apart.audited()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.more, t.deaf, t.lasting, t.mended = t.found.more, t.found.deaf, "", false
	if errors.Is(t.deaf, notify.ErrLimit) {
		if text := notify.WatchShortage(int(directories)); text != "" {
			t.deaf = fmt.Errorf("%d directories: %s", directories, text)
			if t.said != text {
				t.log.Error("out of watches", "err", t.deaf)
				t.said = text
			}
		}
	}
	return opened
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
	if !t.passed[path] && len(t.passed) < maxPassed {
		t.passed[path] = true
		t.stats.Foreign.Add(1)
		t.log.Warn("another file system begins here: passed over (see --cross-mounts)", "path", mtree.DirPath(path))
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
	case t.refused != nil:
		return "the root refuses its time"
	}
	return cmp.Or(t.lasting, t.apart.trouble())
}
