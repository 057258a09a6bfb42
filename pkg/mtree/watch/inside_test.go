package watch

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/testfs"
	"tidemark/internal/testtree"
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/notify"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/watch/internal/audit"
	"tidemark/pkg/mtree/watch/internal/publish"
	"tidemark/pkg/mtree/watch/internal/stamprule"
)

// These tests reach into the package: they look at something that cannot be seen from
// outside, or not in time.

// memTree makes a tree in memory, where that is possible.
func memTree(t *testing.T, lines ...string) string {
	t.Helper()
	root, err := os.MkdirTemp("/dev/shm", "tidemark-watch-")
	if err != nil {
		root = t.TempDir()
	}
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(root)) })
	testtree.Make(t, root, lines...)
	return root
}

func selfOf(t *testing.T, d *disk.Dir) disk.Info {
	t.Helper()
	info, err := d.Self()
	require.NoError(t, err)
	return info
}

// showsAt returns what the directory at path shows.
func showsAt(t *testing.T, root, path string) disk.Info {
	t.Helper()
	dir, err := disk.OpenRoot(filepath.Join(root, path))
	require.NoError(t, err)
	defer dir.Close()
	return selfOf(t, dir)
}

// stampsIn returns the mtimes of directories.
func stampsIn(t *testing.T, root string, paths ...string) map[string]mtree.Stamp {
	t.Helper()
	all := map[string]mtree.Stamp{}
	for _, path := range paths {
		all[path] = showsAt(t, root, path).MTime
	}
	return all
}

// exceptionsOf returns what .tidemark says about directories that refuse or are unread.
func exceptionsOf(t *testing.T, path string) *state.Exceptions {
	t.Helper()
	root, err := disk.OpenRoot(path)
	require.NoError(t, err)
	defer root.Close()
	var r state.ExceptionsReader
	have, err := r.Read(root, "")
	require.NoError(t, err)
	return have
}

// muchLater is a clock so far ahead that what the tree shows now is older than what an
// audit looks back.
func muchLater() mtree.Stamp { return machine.Now().Add(6 * stamprule.LookBack) }

// After a kill between the note that a directory can be read again and the stamps above it,
// mirrors that were refused the directory would never learn of it.
func TestKilledBeforeWhatIsAboveIsStamped(t *testing.T) {
	root := memTree(t, "a/d/below/", "a/beside/")
	require.NoError(t, Once(t.Context(), Config{Root: root}))
	w, err := open(Config{Root: root}, "none")
	require.NoError(t, err)
	w.health.BeginAudit()
	w.health.CannotRead("a/d", showsAt(t, root, "a/d").Node.Ino, os.ErrPermission)
	w.health.EndAudit(4)
	w.saveExceptions()
	require.ErrorIs(t, exceptionsOf(t, root).Vouched(w.root, "a/d/below"), state.ErrUnread)
	require.NoError(t, exceptionsOf(t, root).Vouched(w.root, "a/beside"))
	w.exceptions.SetReadable("a/d")
	w.saveExceptions()
	require.NoError(t, exceptionsOf(t, root).Vouched(w.root, "a/d/below"))
	require.NoError(t, w.close())
	before := stampsIn(t, root, ".", "a", "a/d", "a/d/below", "a/beside")
	require.NoError(t, Once(t.Context(), Config{Root: root, Now: muchLater}))
	for dir, stamp := range stampsIn(t, root, ".", "a", "a/d", "a/d/below") {
		require.NotEqual(t, before[dir], stamp, "%s counts as arrived", dir)
	}
	require.Empty(t, exceptionsOf(t, root).Unread)
	require.Equal(t, before["a/beside"], showsAt(t, root, "a/beside").MTime)
}

// While an audit reads a directory that could not be read before, events in it count: the
// audit may have passed it already.
func TestHeardWhileItIsReadAgain(t *testing.T) {
	w, err := open(Config{Root: memTree(t, "d/")}, "none")
	require.NoError(t, err)
	defer w.close()
	w.health.BeginAudit()
	w.health.CannotRead("d", 1, os.ErrPermission)
	w.health.EndAudit(2)
	require.True(t, w.exceptions.IsUnread("", "d"))
	findings := make(chan []audit.Finding, 10)
	w.health.BeginAudit()
	r := audit.Run(t.Context(), w.auditedTree(), w.auditScope("asked for").Scope, findings)
	require.NoError(t, r.Err)
	require.False(t, w.exceptions.IsUnread("", "d"))
	require.Equal(t, []string{"d"}, w.health.EndAudit(2))
}

// Not every right that somebody gives is heard: a directory that cannot be read is tried now
// and then.
func TestUnreadIsTried(t *testing.T) {
	root := memTree(t, "a/d/below/", "a/gone/")
	w, err := open(Config{Root: root}, "none")
	require.NoError(t, err)
	defer w.close()
	w.health.CannotRead("a/d", showsAt(t, root, "a/d").Node.Ino, os.ErrPermission)
	w.health.CannotRead("a/gone", 1, os.ErrPermission)
	w.saveExceptions()
	require.NoError(t, os.Remove(filepath.Join(root, "a/gone")))
	dirs := []string{".", "a", "a/d", "a/d/below"}
	before := stampsIn(t, root, dirs...)
	require.NoError(t, w.retryUnread(t.Context()))
	require.Empty(t, exceptionsOf(t, root).Unread)
	tried := stampsIn(t, root, dirs...)
	for dir, stamp := range tried {
		require.NotEqual(t, before[dir], stamp, dir)
	}
	require.NoError(t, w.retryUnread(t.Context()))
	require.Equal(t, tried, stampsIn(t, root, dirs...))
}

// rm -r removes .tidemark first and then the root: the error says that the root is gone.
func TestMarkerWentWithTheRoot(t *testing.T) {
	root := memTree(t, "a/")
	w, err := open(Config{Root: root}, "none")
	require.NoError(t, err)
	defer w.close()
	require.NoError(t, os.RemoveAll(root))
	require.ErrorContains(t, w.handleMarker([]string{"tree"}, &publish.Batch{}), "moved, deleted or unmounted")
}

// A root that cannot be opened for lack of descriptors is not taken for one that was
// replaced: watch goes on.
func TestWithoutDescriptorsTheRootStands(t *testing.T) {
	root, err := disk.OpenRoot(t.TempDir())
	require.NoError(t, err)
	defer root.Close()
	w := &watcher{root: root, Config: Config{Root: root.Path()}}
	testfs.WithoutDescriptors(t, func() { require.NoError(t, w.checkRoot()) })
	require.NoError(t, os.Remove(root.Path()))
	require.Error(t, w.checkRoot())
}

// A queue that is too small for its tree overflows a hundred times a second.
func TestLossesAreLoggedOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text strings.Builder
		w := &watcher{Config: Config{Log: slog.New(slog.NewTextHandler(&text, nil))}}
		for range 100 {
			w.logLoss("overflow")
		}
		require.Equal(t, 1, strings.Count(text.String(), "lost track"))
		<-time.After(lossPause)
		w.logLoss("overflow")
		require.Equal(t, 2, strings.Count(text.String(), "lost track"))
		require.Contains(t, text.String(), "times=100")
	})
}

// A file is written in the tick in which its directory is stamped. The directory's mtime and
// ctime must differ: else the event of our write would be taken for somebody else's, and
// stamped again.
func TestStampedInTheTickOfTheChange(t *testing.T) {
	root := memTree(t, "a/f = x")
	w, err := open(Config{Root: root}, "none")
	require.NoError(t, err)
	defer func() { require.NoError(t, w.close()) }()
	for range 300 {
		require.NoError(t, os.WriteFile(filepath.Join(root, "a/f"), []byte("changed"), 0o644))
		b := w.newBatch()
		b.AddEntry("a", "f")
		result, err := w.publish(b)
		require.NoError(t, err)
		require.Equal(t, 2, result.Stamped)
		for _, path := range []string{"", "a"} {
			dir, err := disk.OpenRoot(filepath.Join(root, path))
			require.NoError(t, err)
			shows := selfOf(t, dir)
			require.NoError(t, dir.Close())
			require.NotEqual(t, shows.CTime, shows.MTime)
			require.True(t, w.ownWrites.Shows(shows), "known as ours")
		}
	}
}

// An audit that left something out has not published what other options left out before.
func TestOptionsOfAnIncompleteAudit(t *testing.T) {
	root := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(root, "log"), 0o755))
	require.NoError(t, Once(t.Context(), Config{Root: root, Exclude: []string{"log/"}}))
	w, err := open(Config{Root: root}, "none")
	require.NoError(t, err)
	w.health.Overflow(os.ErrPermission)
	w.recordAudit(auditReport{})
	require.NoError(t, w.close())
	before := showsAt(t, root, "log").MTime
	require.NoError(t, Once(t.Context(), Config{Root: root, Now: muchLater}))
	require.NotEqual(t, before, showsAt(t, root, "log").MTime)
}

// The order of options and their repetition do not matter.
func TestOptions(t *testing.T) {
	text := func(c Config) string { return (&watcher{Config: c}).options() }
	require.Equal(t, "--cross-mounts=false", text(Config{}))
	require.Equal(t, text(Config{Exclude: []string{"b", "a", "b"}}), text(Config{Exclude: []string{"a", "b"}}))
	require.NotEqual(t, text(Config{Exclude: []string{"a b"}}), text(Config{Exclude: []string{"a", "b"}}))
	require.NotEqual(t, text(Config{CrossMounts: true}), text(Config{}))
}

// A directory that a batch stamped meanwhile is not given its greatest mtime: a
// reader may have seen the stamp.
func TestFirstAuditKeepsStamps(t *testing.T) {
	root := memTree(t, "a/")
	w, err := open(Config{Root: root}, "none")
	require.NoError(t, err)
	defer w.close()
	publish := func(f audit.Finding) {
		var b publish.Batch
		b.AddFindings([]audit.Finding{f})
		require.NoError(t, w.write(&b))
	}
	publish(audit.Finding{Path: "a"})
	stamp := showsAt(t, root, "a").MTime
	publish(audit.Finding{Path: "a", First: true, Value: stamp.Add(time.Second), Showed: stamp})
	require.Equal(t, stamp, showsAt(t, root, "a").MTime)
}

// While one audit after another was asked for, the start audit never counted as
// done, for each began another.
func TestAskedForDuringTheStartAudit(t *testing.T) {
	w := &watcher{}
	w.audits.timer = time.NewTimer(time.Hour)
	w.audits.running, w.audits.owed = true, true
	w.Log = slog.New(slog.DiscardHandler)
	w.requestAudit(w.auditScope("asked for"))
	w.requestAudit(w.auditScope("asked for"))
	require.False(t, w.audits.next.loss)
	lost := w.auditScope("lost")
	lost.loss, lost.All = true, true
	w.requestAudit(lost)
	w.requestAudit(w.auditScope("asked for"))
	require.True(t, w.audits.next.loss && w.audits.next.All)
}

// In one process, what an audit left out is known by path. So the next audit need not go
// back to a checkpoint that does not move, and stamp again everything that was stamped
// since.
func TestKnownByPath(t *testing.T) {
	w := &watcher{}
	require.Nil(t, w.publishedUntil())
	swept, checkpoint := mtree.Unix(100, 0), mtree.Unix(50, 0)
	w.audits.swept = &swept
	require.Equal(t, &swept, w.publishedUntil())
	w.status.Checkpoint = &checkpoint
	require.Equal(t, &swept, w.publishedUntil())
	checkpoint = mtree.Unix(200, 0)
	require.Equal(t, &checkpoint, w.publishedUntil())
	require.Equal(t, mtree.Unix(190, 0), w.auditScope(periodic).Since)
}

// lockSeen is a source of events that looks whether .tidemark can be seen locked when it is
// first armed.
type lockSeen struct {
	notify.Source
	look func()
}

func (s lockSeen) Arm(parent notify.Ref, dir int, name string, fd int) (notify.Ref, bool, error) {
	s.look()
	return s.Source.Arm(parent, dir, name, fd)
}

// After .tidemark was removed, --sync wrote its cookie as soon as it saw the lock, into a
// directory that was not armed yet, and waited for ever.
func TestArmedBeforeItsLockIsSeen(t *testing.T) {
	root := memTree(t, "a/")
	w, err := open(Config{Root: root}, "inotify")
	require.NoError(t, err)
	defer w.close()
	require.NoError(t, os.RemoveAll(filepath.Join(root, mtree.MarkerName)))
	var locked []bool
	w.source = lockSeen{w.source, func() { locked = append(locked, state.IsLiveTree(w.root)) }}
	require.NoError(t, w.makeMarker())
	require.True(t, state.IsLiveTree(w.root))
	require.NotEmpty(t, locked)
	require.False(t, locked[0])
}

// slowTake is a source of events. Much time passes in each Take.
type slowTake struct {
	notify.Source
	pass func()
}

func (s slowTake) Take() notify.Events {
	s.pass()
	events := s.Source.Take()
	events.Drained = true
	return events
}

// What changes after a Take is not published by its batch, however long the machine slept
// since: the checkpoint does not cover it.
func TestTheCheckpointIsReadBeforeTheTake(t *testing.T) {
	now := machine.Now()
	w, err := open(Config{Root: memTree(t), Now: func() mtree.Stamp { return now }}, "none")
	require.NoError(t, err)
	defer w.close()
	w.backend, w.firstAudit, w.audits.owed = "inotify", false, false
	w.status.State = w.state()
	began := now
	w.source = slowTake{w.source, func() { now = now.Add(time.Minute) }}
	require.NoError(t, w.publishEvents(t.Context()))
	require.NotNil(t, w.status.Checkpoint)
	require.False(t, w.status.Checkpoint.After(began))
}

// That stamps may come again is on the disk before the first of them: where watch was killed in the
// audit that gives them, nothing else shows it any more.
func TestStampsThatMayComeAgainAreRecordedFirst(t *testing.T) {
	root := memTree(t)
	w, err := open(Config{Root: root}, "none")
	require.NoError(t, err)
	defer w.close()
	w.firstAudit, w.floor = false, machine.Now().Add(time.Hour)
	given := w.floor.Add(-time.Minute)
	w.abandonFloor(&auditRequest{epochRaised: true})
	read, err := state.ReadPublished(w.root, "")
	require.NoError(t, err)
	require.True(t, read.Tree.Again.Has(given))
}

// Where no directory takes its time, not even the root, a stamp that was told is still never
// told again: the floor is not below it.
func TestARefusedStampRaisesTheFloor(t *testing.T) {
	root := memTree(t, "d/")
	refuse := func(*disk.Dir, mtree.Stamp) error { return os.ErrPermission }
	w, err := open(Config{Root: root, setTime: refuse}, "none")
	require.NoError(t, err)
	defer w.close()
	b := w.newBatch()
	b.AddEntry("d", "gone")
	_, err = w.publish(b)
	require.NoError(t, err)
	stamp, ok := w.exceptions.StampOf("d", showsAt(t, root, "d").Node.Ino)
	require.True(t, ok)
	require.False(t, stamp.After(w.floor))
}
