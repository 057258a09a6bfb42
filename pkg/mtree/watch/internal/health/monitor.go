package health

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/notify"
)

// ErrNotHeld says that a directory took a time and did not keep it: some file systems
// take no times and report success. Such a directory counts as one that refuses.
var ErrNotHeld = errors.New("the time does not hold")

// RootRefuses is what a status says if the root has no stamp, because it refuses its time.
const RootRefuses = "the root refuses its time"

// Monitor knows why the tree is degraded: something cannot be heard, the root
// refuses its time, or there are more exceptions than can be named. Only an audit that
// finds nothing of the kind ends that. Safe for all goroutines.
type Monitor struct {
	Exceptions *Exceptions

	// Shows reports whether a directory is at a path: bind mounts show one at several. nil: it is at one path only.
	Shows func(path string, node disk.Node) bool

	log     *slog.Logger
	refused *atomic.Int64 // counts times that were refused
	foreign *atomic.Int64 // counts directories on other file systems

	mu         sync.Mutex
	root       error           // the root refuses its time: it must show its stamp
	overflow   bool            // there are more exceptions than there is room for
	deaf       error           // directories could not be armed
	deafLogged string          // the log's text about that, so that not each audit repeats it
	treeFile   error           // the tree file could not be written
	lasting    string          // a past problem, which lasts until an audit ends it
	mended     bool            // everything that refused was stamped, and no audit asked for since
	audit      failures        // of the running audit
	foreigners map[string]bool // directories on other file systems, named once
}

// failures are those of the running audit so far.
type failures struct {
	overflow bool
	deaf     error
}

// maxForeign is how many directories on other file systems the log names.
const maxForeign = 10_000

// NewMonitor returns a Monitor without any problem. It counts times that were refused,
// and directories on other file systems.
func NewMonitor(log *slog.Logger, refused, foreign *atomic.Int64) *Monitor {
	return &Monitor{Exceptions: newExceptions(), log: log, refused: refused, foreign: foreign, foreigners: map[string]bool{}}
}

// Refuse remembers a directory that could not be given its stamp. The log names it once in each
// run of watch: what earlier ones said may be gone.
func (m *Monitor) Refuse(path string, node disk.Node, stamp mtree.Stamp, err error) {
	m.refused.Add(1)
	named, ok := true, true
	if path == "" {
		named = m.refuseRoot(err)
	} else {
		if old := m.Exceptions.placeOf(node); old != path && m.Shows != nil && m.Shows(old, node) { // guard: TestRefusingAtTwoPlaces
			m.Exceptions.also(node)
		}
		named, ok = m.Exceptions.refuse(path, node, stamp, errors.Is(err, ErrNotHeld))
	}
	if !ok {
		m.Overflow(err)
	} else if !named {
		m.log.Warn("cannot set a directory's time: .tidemark/stamps has its stamp instead, except the root's",
			"path", mtree.DirPath(path), "error", err,
			"remedy", "run watch as its owner or with CAP_FOWNER; the mount must be writable, and the directory without chattr +i")
	}
}

func (m *Monitor) refuseRoot(err error) (named bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	named = m.root != nil
	m.root, m.mended = err, false
	return named
}

// Overflow records that there are more exceptions than there is room for.
func (m *Monitor) Overflow(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.overflow {
		m.log.Warn("too many directories refuse their time or cannot be read: the tree is degraded", "error", err,
			"remedy", "give watch the rights that it lacks there, or --exclude these directories at watch and serve; then start watch again")
	}
	m.overflow, m.audit.overflow, m.mended = true, true, false
}

// Accept records that a directory could be stamped, or is gone.
func (m *Monitor) Accept(path string) {
	if path != "" {
		m.Exceptions.accept(path)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.root != nil {
		m.root, m.lasting, m.mended = nil, "the root refused its time until now", true
	}
}

// DoesNotHold reports whether the directory did not keep the time that it was given
// last.
func (m *Monitor) DoesNotHold(path string) bool {
	if path != "" {
		return m.Exceptions.doesNotHold(path)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return errors.Is(m.root, ErrNotHeld)
}

// Mended reports, once, that an audit may end the degraded state that refusals began.
func (m *Monitor) Mended() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	mended := m.mended
	m.mended = false
	return mended
}

// Retry is a directory that an audit has to stamp again.
type Retry struct {
	Path     string
	ShowOnly bool // it refused its time: it only has to show the stamp that is published
}

// Retries returns the directories that the next audit has to stamp again: those that refused
// their time. They only have to show their published stamp. But if the files could not be
// written before the directories above were stamped, everything above counts as changed,
// too, and so it does above those that ceased to refuse their time meanwhile.
func (m *Monitor) Retries() (all []Retry) {
	late := m.Exceptions.writtenLate()
	if late {
		for path := range m.Exceptions.Unread() {
			all = append(all, Retry{Path: mtree.ParentPath(path)})
		}
		for _, path := range m.Exceptions.acceptedLate() {
			all = append(all, Retry{Path: path})
		}
	}
	for _, path := range m.Exceptions.refusing() {
		all = append(all, Retry{Path: path, ShowOnly: !late})
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.root != nil {
		all = append(all, Retry{})
	}
	return all
}

// CannotRead records a directory that could not be read. It reports whether that is new. The log names it once in each run
// of watch: what earlier ones said may be gone.
func (m *Monitor) CannotRead(path string, inode uint64, err error) (isNew bool) {
	known, named, ok := m.Exceptions.setUnread(path, inode)
	if !ok {
		m.Overflow(err)
	} else if !named { // guard (!named -> !named && !known): TestUnreadIsNamedInEachRun
		m.log.Warn("cannot read a directory: it is not published, nor what is below it, until it can be read", "path", mtree.DirPath(path), "error", err,
			"remedy", "run watch with the right to read it, or --exclude it at watch and serve")
	}
	return !known
}

// hearMore is what to do about directories that cannot be heard; where a limit of the kernel is the reason, the error says how to raise
// it.
const hearMore = "raise the limit that the error names, or --exclude what need not be heard; then start watch again"

// CannotHear records that a directory could not be armed. The log says so once.
func (m *Monitor) CannotHear(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.deafLogged == "" {
		m.log.Error("cannot hear all directories: the rest is covered by frequent audits", "error", err, "remedy", hearMore)
		m.deafLogged = err.Error()
	}
	m.deaf, m.audit.deaf = err, err
}

// BeginAudit begins to count failures anew. Those of the audit before hold until this one
// has ended.
func (m *Monitor) BeginAudit() {
	m.Exceptions.beginAudit()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.audit = failures{}
}

// EndAudit makes the failures of the audit that ends now the valid ones. It returns the
// directories that can be read again.
func (m *Monitor) EndAudit(directories int64) (readable []string) {
	readable = m.Exceptions.endAudit()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.overflow, m.deaf, m.lasting, m.mended = m.audit.overflow, m.audit.deaf, "", false
	if errors.Is(m.deaf, notify.ErrLimit) {
		if text := notify.WatchShortage(int(directories)); text != "" {
			m.deaf = fmt.Errorf("%d directories: %s", directories, text)
			if m.deafLogged != text {
				m.log.Error("out of watches", "error", m.deaf, "remedy", hearMore)
				m.deafLogged = text
			}
		}
	}
	return readable
}

// TreeFile records whether the tree file could be written.
func (m *Monitor) TreeFile(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil && m.treeFile == nil {
		m.log.Error("cannot write .tidemark/tree: readers and the next start do not know what this watcher does", "error", err,
			"remedy", "make room on the disk of .tidemark, and give watch the right to write there")
	}
	m.treeFile = err
}

// PassOver counts a directory on another file system. The log names it once.
func (m *Monitor) PassOver(path string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.foreigners[path] && len(m.foreigners) < maxForeign {
		m.foreigners[path] = true
		m.foreign.Add(1)
		m.log.Warn("another file system begins here: passed over (see --cross-mounts)", "path", mtree.DirPath(path),
			"remedy", "to publish it, start watch and serve with --cross-mounts; to be told no more, --exclude it")
	}
}

// CannotMoveCTime logs that a file was renamed, and shows that by nothing that mirrors compare.
func (m *Monitor) CannotMoveCTime(err error) {
	m.log.Warn("a file was renamed and its file system left its ctime, which cannot be moved: if another file had the name before, with the same size and mtime, mirrors keep its bytes",
		"error", err, "remedy", "run watch as the owner of the files or with CAP_FOWNER; mirror --verify --repair mends copies")
}

// Degraded returns why the tree is degraded, in one line without paths; "" if it is
// not.
func (m *Monitor) Degraded() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.deaf != nil {
		return m.deaf.Error()
	}
	return m.unpublished()
}

// HearsAll reports whether every directory is heard.
func (m *Monitor) HearsAll() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.deaf == nil && m.lasting == ""
}

// Unpublished returns why something was not read or not stamped, apart from the
// exceptions; "" if everything was.
func (m *Monitor) Unpublished() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.unpublished()
}

// Overflowed reports whether there are more exceptions than there is room for: then not
// everything that was left out is known by its path.
func (m *Monitor) Overflowed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.overflow
}

// unpublished is Unpublished with mu held.
func (m *Monitor) unpublished() string {
	switch {
	case m.treeFile != nil:
		return "the tree file cannot be written"
	case m.overflow:
		return "too many directories refuse their time or cannot be read"
	case m.root != nil:
		return RootRefuses
	}
	return cmp.Or(m.lasting, m.Exceptions.Trouble())
}
