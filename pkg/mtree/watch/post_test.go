package watch

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/notify"
	"tidemark/pkg/mtree/internal/notify/notifytest"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/internal/sys/faultkernel"
	"tidemark/pkg/mtree/wire"
)

// post is a watcher of /tree on a machine in memory. Its tree is published, and it hears what
// the test tells it. Nothing happens by itself: the test does what its goroutine would do.
type post struct {
	*watcher
	*faultkernel.Kernel
	t       *testing.T
	ctx     context.Context // of the bubble
	tower   *tower
	text    strings.Builder // of the log
	later   time.Duration   // how far its clock is ahead
	told    []string        // to systemd
	options Config
	chunks  int // of findings
}

// tower is a source of events that the test gives it.
type tower struct {
	*notifytest.Ear
	events  []notify.Events // of the next Takes
	taken   int             // Takes
	marked  int             // how often .tidemark was armed
	deaf    error           // with which arming it fails
	forgot  int
	waiting []notify.Waiting // of the next looks; then there are none
	mounted int
}

func (s *tower) Take() (e notify.Events) {
	if s.taken++; len(s.events) == 0 {
		return notify.Events{Drained: true}
	}
	e, s.events = s.events[0], s.events[1:]
	return e
}

func (s *tower) Waiting() (w notify.Waiting) {
	w, s.waiting = s.waiting[0], s.waiting[1:]
	return w
}

func (s *tower) Arm(parent notify.Ref, parentFD int, name string, fd int) (notify.Ref, bool, error) {
	if parent == notify.Marker && parentFD < 0 {
		s.marked++
		return notify.Marker, false, s.deaf
	}
	return s.Ear.Arm(parent, parentFD, name, fd)
}

func (s *tower) Forget()      { s.forgot++ }
func (s *tower) Remounted()   { s.mounted++ }
func (s *tower) Close() error { return nil }

// manned makes a post of a tree of files, and of directories, whose names end in a slash. Time is
// that of a bubble: it passes only where everybody waits.
func manned(t *testing.T, paths []string, do func(t *testing.T, p *post)) {
	mannedWith(t, Config{}, paths, do)
}

// mannedWith is manned with some options.
func mannedWith(t *testing.T, c Config, paths []string, do func(t *testing.T, p *post)) {
	tryOpenat2(t)
	synctest.Test(t, func(t *testing.T) {
		p := &post{Kernel: faultkernel.New(t, 0), t: t, ctx: t.Context(), options: c}
		p.tower = &tower{Ear: notifytest.NewEar(t, p.Kernel)}
		p.Make(t, "/tree/")
		for _, path := range paths {
			p.Make(t, "/tree/"+path)
		}
		p.options.Root, p.options.Now, p.options.Log = "/tree", p.now, slog.New(slog.NewTextHandler(&p.text, nil))
		p.options.Notify = func(text string) { p.told = append(p.told, text) }
		require.NoError(t, Once(p.ctx, p.options))
		p.sleep(time.Minute)
		p.begin()
		defer func() {
			p.Fail = nil
			p.endAudits()
			_ = p.watcher.close()
		}()
		p.forget()
		do(t, p)
	})
}

// tryOpenat2 lets package beneath find out now what it finds out once in each process.
func tryOpenat2(t *testing.T) {
	d, err := disk.OpenRoot(t.TempDir())
	require.NoError(t, err)
	below, err := d.OpenDirPath("", true)
	require.NoError(t, err)
	require.NoError(t, below.Close())
	require.NoError(t, d.Close())
}

func (p *post) now() mtree.Stamp { return machine.Now().Add(p.later) }

// sleep lets time pass.
func (p *post) sleep(d time.Duration) { <-time.After(d) }

// begin starts the watcher and ends its first audit.
func (p *post) begin() {
	w, err := open(p.options, "none")
	require.NoError(p.t, err)
	require.NoError(p.t, w.source.Close())
	w.source, w.backend = p.tower, "inotify"
	w.published.Source, w.published.Hears = p.tower, true
	p.watcher = w
	w.beginAudits(p.ctx)
	p.audit()
	require.Equal(p.t, int64(1), w.Stats.Audits.Load())
	for range 2 { // until what the start has stamped is older than what audits look at
		p.sleep(time.Hour)
		w.requestAudit(w.auditScope("asked for"))
		p.audit()
	}
	require.Equal(p.t, wire.Watched, p.status(p.t).State)
}

// forget forgets what was logged, called and counted so far.
func (p *post) forget() {
	p.Made("")
	p.text.Reset()
	p.told, p.chunks, p.tower.taken, p.tower.marked, p.tower.Names = nil, 0, 0, 0, nil
}

// audit takes what the running audits find, until they are done.
func (p *post) audit() {
	for p.audits.running {
		p.takeOfAudit()
	}
}

// takeOfAudit takes what the running audit has next.
func (p *post) takeOfAudit() {
	select {
	case findings := <-p.audits.findings:
		p.chunks++
		require.NoError(p.t, p.publishFindings(p.ctx, findings))
	case r := <-p.audits.reports:
		require.NoError(p.t, p.finishAudit(p.ctx, r))
	}
}

// status is what readers are told.
func (p *post) status(t *testing.T) state.Status {
	s, err := p.marker.ReadStatus()
	require.NoError(t, err)
	return s
}

// treeFile is what the next start finds.
func (p *post) treeFile() state.Tree {
	tree, err := p.marker.ReadTree()
	require.NoError(p.t, err)
	return tree
}

// written reports whether the status was written since it was last asked.
func (p *post) written() bool { return p.Made("write status.json") > 0 }

// shows returns what a path shows.
func (p *post) shows(path string) mtree.Stamp {
	stx, err := p.Shell.Statx(unix.AT_FDCWD, "/tree/"+path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS)
	require.NoError(p.t, err)
	return mtree.Unix(stx.Mtime.Sec, int64(stx.Mtime.Nsec))
}

// changes does something, and returns which of some directories show another time after it.
func (p *post) changes(do func(), paths ...string) string {
	var before []mtree.Stamp
	for _, path := range paths {
		before = append(before, p.shows(path))
	}
	do()
	var changed []string
	for i, path := range paths {
		if p.shows(path) != before[i] {
			changed = append(changed, path)
		}
	}
	return strings.Join(changed, " ")
}

// hear lets the next Take tell of changes in directories.
func (p *post) hear(dirs ...*notify.DirEvents) {
	p.tower.events = append(p.tower.events, notify.Events{Dirs: dirs, Drained: true, Count: len(dirs)})
}

// waits does something and returns how long that waited.
func waits(do func()) time.Duration {
	began := time.Now()
	do()
	return time.Since(began)
}

// inode returns the inode of a path.
func (p *post) inode(path string) uint64 {
	stx, err := p.Shell.Statx(unix.AT_FDCWD, "/tree/"+path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS)
	require.NoError(p.t, err)
	return stx.Ino
}

// live lets another watch or mirror run in a directory, until end is called.
func (p *post) live(path string) (end func()) {
	d, err := disk.OpenRoot("/tree/" + path)
	require.NoError(p.t, err)
	m, err := state.CreateMarker(d, "")
	require.NoError(p.t, err)
	l, err := m.Lock()
	require.NoError(p.t, err)
	return func() { require.NoError(p.t, l.Unlock()) }
}
