package watch_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/watch"
	"tidemark/pkg/mtree/watch/internal/stamprule"
	"tidemark/pkg/mtree/wire"
)

// Directories that refuse their time, or cannot be read: .tidemark/stamps and
// .tidemark/unread.

// as runs a watcher by setpriv with less than root's rights.
func as(t *testing.T, root, backend string, rights ...string) *running {
	binary := filepath.Join(t.TempDir(), "watch.test") // go's own directory is closed to others
	text, err := os.ReadFile(os.Args[0])
	must(t, err)
	must(t, os.WriteFile(binary, text, 0o755))
	r := &running{t: t, root: root, log: new(logged)}
	cmd := exec.Command("setpriv", append(rights, binary)...)
	cmd.Env = append(os.Environ(), "WATCH_TEST_ROOT="+root, "WATCH_TEST_BACKEND="+backend)
	cmd.Stderr = r.log
	must(t, cmd.Start())
	p := &process{t, cmd}
	r.cancel = p.kill
	t.Cleanup(p.kill)
	require.Eventually(t, func() bool {
		s := r.status()
		return s.Status.PID == cmd.Process.Pid && s.State != wire.Auditing && s.State != wire.Unwatched
	}, deadline, time.Millisecond, r.log)
	return r
}

// user are the rights of the ordinary user who owns the trees below.
var user = []string{"--reuid", "1000", "--regid", "1000", "--clear-groups"}

// usersTree makes a tree of that user with a directory in it that belongs to root, with mode
// 0700 or 0755.
func usersTree(t *testing.T, mode os.FileMode) string {
	t.Helper()
	root := newTree(t, "a/theirs/deep/f = one", "b/f = one")
	for _, path := range []string{".", "a", "b", "b/f"} {
		must(t, os.Chown(filepath.Join(root, path), 1000, 1000))
	}
	must(t, os.Chmod(filepath.Join(root, "a/theirs"), mode))
	return root
}

// fixedTree makes a tree with the directory a/fixed, which refuses its time from
// then on.
func fixedTree(t *testing.T) (root, fixed string) {
	t.Helper()
	root = t.TempDir() // chattr needs a real file system
	fixed = filepath.Join(root, "a/fixed")
	for _, dir := range []string{"a/fixed/below", "b"} {
		must(t, os.MkdirAll(filepath.Join(root, dir), 0o755))
	}
	write(t, filepath.Join(fixed, "f"), "one")
	write(t, filepath.Join(fixed, "below/g"), "one")
	must(t, watch.Once(t.Context(), watch.Config{Root: root}))
	chattr(t, "+i", fixed)
	t.Cleanup(func() { _ = exec.Command("chattr", "-i", fixed).Run() })
	return root, fixed
}

// One directory that refused its time made the whole tree degraded: each pass of a mirror
// was a full walk, every ten minutes. Now .tidemark/stamps has its stamp, a new one for each
// change in it and below. When it takes its time again it shows that stamp.
func TestARefusalIsToldApart(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		root, fixed := fixedTree(t)
		var clock movable
		audits := make(chan struct{})
		r := start(t, watch.Config{Root: root, Backend: backend, Now: clock.now, Audit: audits})
		state := r.status().State
		seen := logStamps(t, root)
		for i := range 3 {
			write(t, filepath.Join(fixed, "f"), fmt.Sprint(i))
			r.sync()
			seen.fresh("in it", "a/fixed")
			seen.note()
			write(t, filepath.Join(fixed, "below/g"), fmt.Sprint(i))
			r.sync()
			seen.fresh("below it", "a/fixed/below")
			seen.note()
			require.Equal(t, state, r.status().State)
		}
		require.Contains(t, r.log.String(), "path=a/fixed/")
		require.Equal(t, 1, r.status().Status.Stamps)
		require.Equal(t, int64(1), r.config.Stats.Refusing.Load())
		checkpoint := *r.status().Status.Checkpoint
		clock.ahead.Store(int64(6 * stamprule.LookBack))
		write(t, filepath.Join(root, "b/g"), "elsewhere")
		r.sync()
		seen.fresh("elsewhere", "b")
		require.Eventually(t, func() bool {
			write(t, filepath.Join(root, "b/g"), "all is published, so the checkpoint moves")
			r.sync()
			return r.status().Status.Checkpoint.Sub(checkpoint) > 3*stamprule.LookBack
		}, deadline, time.Millisecond)

		before := stampOf(t, root, "a/fixed")
		audits <- struct{}{}
		r.sync()
		require.Equal(t, before, stampOf(t, root, "a/fixed"), "an audit finds nothing new in it")
		chattr(t, "-i", fixed)
		r.sync()
		audits <- struct{}{} // no sync waits for it
		require.Eventually(t, func() bool { return r.status().Status.Stamps == 0 }, deadline, time.Millisecond)
		require.Empty(t, exceptions(t, root).Stamps)
		seen.note()
		write(t, filepath.Join(fixed, "f"), "taken")
		r.sync()
		seen.fresh("it takes its time again", "a/fixed")
	})
}

// A watcher without the right to stamp a directory put the stamp into .tidemark/stamps. The
// next one has the right: then the directory shows that stamp.
func TestARefusalEndsWhileNobodyWatches(t *testing.T) {
	root, fixed := fixedTree(t)
	write(t, filepath.Join(fixed, "f"), "two")
	must(t, watch.Once(t.Context(), watch.Config{Root: root}))
	r := &running{t: t, root: root}
	require.Equal(t, wire.Audited, r.status().State)
	require.Equal(t, 1, r.status().Status.Stamps)
	must(t, watch.Once(t.Context(), watch.Config{Root: root, Now: later}))
	before := stamps(t, root)
	must(t, watch.Once(t.Context(), watch.Config{Root: root, Now: later}))
	require.Equal(t, before, stamps(t, root), "nothing has changed")
	chattr(t, "-i", fixed)
	must(t, watch.Once(t.Context(), watch.Config{Root: root, Now: later}))
	require.Zero(t, r.status().Status.Stamps)
	require.Empty(t, exceptions(t, root).Stamps)
	require.Equal(t, before, stamps(t, root), "it shows its published stamp")
}

// What changed while nobody watched is published by whoever may stamp it then.
func TestARefusalEndsWithAChange(t *testing.T) {
	root, fixed := fixedTree(t)
	write(t, filepath.Join(fixed, "f"), "two")
	must(t, watch.Once(t.Context(), watch.Config{Root: root}))
	seen := logStamps(t, root)
	write(t, filepath.Join(fixed, "below/g"), "two")
	chattr(t, "-i", fixed)
	must(t, watch.Once(t.Context(), watch.Config{Root: root}))
	seen.fresh("while nobody watched", "a/fixed/below")
	require.Empty(t, exceptions(t, root).Stamps)
}

// A kill at any time loses no change of a directory that refuses its time, and never gives
// it a stamp that it had before.
func TestKilledWhileARefusalIsTold(t *testing.T) {
	root, fixed := fixedTree(t)
	r := &running{t: t, root: root, log: new(logged)}
	seen := logStamps(t, root)
	for i := range 10 {
		p := startProcess(t, root, "auto", r.log)
		if i%2 == 0 {
			r.await(wire.Watched)
		}
		write(t, filepath.Join(fixed, "f"), fmt.Sprint(i))
		if i%3 == 0 {
			r.sync()
		}
		p.kill()
		write(t, filepath.Join(fixed, "below/g"), fmt.Sprint(i))
		must(t, watch.Once(t.Context(), watch.Config{Root: root}))
		seen.fresh("killed", "a/fixed/below")
		seen.note()
	}
}

// A directory that is renamed, replaced or removed while the file has a line for it is not
// taken for what it was.
func TestWhatRefusedMoves(t *testing.T) {
	root := usersTree(t, 0o777)
	r := as(t, root, "auto", user...)
	in := func(path string) string { return filepath.Join(root, path) }
	seen := logStamps(t, root)
	write(t, in("a/theirs/f"), "one")
	r.sync()
	seen.fresh("theirs", "a/theirs")
	must(t, os.Rename(in("a"), in("moved")))
	r.sync()
	seen.fresh("moved", "moved/theirs")
	require.Len(t, exceptions(t, root).Stamps, 2, "theirs and theirs/deep")
	seen.note()
	must(t, os.Rename(in("moved"), in("a")))
	write(t, in("a/theirs/deep/f"), "two")
	r.sync()
	seen.fresh("and back", "a/theirs/deep")
	seen.note()
	must(t, os.Rename(in("a/theirs"), in("b/theirs")))
	must(t, os.Mkdir(in("a/theirs"), 0o777))
	must(t, os.Chown(in("a/theirs"), 1000, 1000))
	r.sync()
	seen.fresh("replaced", "a/theirs")
	seen.fresh("moved", "b/theirs/deep")
	require.Len(t, exceptions(t, root).Stamps, 2)
	must(t, os.RemoveAll(in("b/theirs")))
	r.sync()
	require.Equal(t, wire.Watched, r.status().State)
}

// .tidemark may go and come back; an old file in its place is not believed.
func TestWhatIsToldApartIsPutBack(t *testing.T) {
	root, fixed := fixedTree(t)
	r := start(t, watch.Config{Root: root})
	file := filepath.Join(root, mtree.MarkerName, "stamps")
	write(t, filepath.Join(fixed, "f"), "two")
	r.sync()
	old, err := os.ReadFile(file)
	must(t, err)
	write(t, filepath.Join(fixed, "f"), "three")
	r.sync()
	want, err := os.ReadFile(file)
	must(t, err)
	saved := exceptions(t, root)
	require.NotEqual(t, old, want)
	for _, harm := range []func() error{
		func() error { return removeMarker(root) },
		func() error { return os.Remove(file) },
		func() error { // as tar and rsync restore it: what is written into a file of .tidemark is not heard
			earlier := filepath.Join(t.TempDir(), "stamps")
			return errors.Join(os.WriteFile(earlier, old, 0o644), os.Rename(earlier, file))
		},
	} {
		must(t, harm())
		require.Eventually(t, func() bool {
			now, err := os.ReadFile(file)
			return err == nil && string(now) != string(old) && len(now) == len(want)
		}, deadline, time.Millisecond)
		require.Equal(t, saved, exceptions(t, root))
	}
	r.sync()
	r.await(wire.Watched) // not degraded: a writing may have failed while .tidemark was removed

	// While nobody watches: continuity is in doubt, and everything is stamped.
	r.stop()
	epoch := r.status().Tree.Epoch
	must(t, os.Remove(file))
	r = start(t, watch.Config{Root: root})
	require.Greater(t, r.status().Tree.Epoch, epoch)
	r.stop()
	must(t, os.WriteFile(file, []byte("tidemark stamps 1\n"), 0o644))
	epoch = r.status().Tree.Epoch
	r = start(t, watch.Config{Root: root})
	require.Greater(t, r.status().Tree.Epoch, epoch)
	require.Len(t, exceptions(t, root).Stamps, 1)
}

// If the files could not be written before the stamps above were, everything in them is
// stamped again.
func TestUnwrittenStamps(t *testing.T) {
	root, fixed := fixedTree(t)
	audits := make(chan struct{})
	r := start(t, watch.Config{Root: root, Audit: audits})
	r.sync()
	marker := filepath.Join(root, mtree.MarkerName)
	chattr(t, "+i", marker)
	t.Cleanup(func() { _ = exec.Command("chattr", "-i", marker).Run() })
	seen := logStamps(t, root)
	write(t, filepath.Join(fixed, "f"), "two")
	r.await(wire.Degraded)
	require.True(t, seen.seen["a/fixed"][stampOf(t, root, "a/fixed")])
	seen.note()
	chattr(t, "-i", marker)
	audits <- struct{}{}
	r.await(wire.Watched)
	seen.fresh("written late", "a/fixed")
}

// A directory that could not be read made the whole tree degraded. Now it is not published.
// When it can be read, everything below counts as arrived, for nobody knows what changed
// there.
func TestUnreadIsReadAgain(t *testing.T) {
	for _, backend := range []string{"inotify", "none"} {
		root := usersTree(t, 0o700)
		theirs := filepath.Join(root, "a/theirs")
		r := as(t, root, backend, user...)
		state := r.status().State
		require.NotEqual(t, wire.Degraded, state)
		require.Contains(t, exceptions(t, root).Unread, "a/theirs")
		seen := logStamps(t, root)
		write(t, filepath.Join(theirs, "deep/f"), "two")
		write(t, filepath.Join(root, "b/f"), "two")
		r.sync()
		seen.fresh("beside it", "b")
		require.Equal(t, state, r.status().State)
		for range 2 {
			seen.note()
			must(t, os.Chmod(theirs, 0o755))
			r.sync()
			seen.fresh("read again", "a/theirs/deep")
			require.Empty(t, exceptions(t, root).Unread)
			seen.note()
			write(t, filepath.Join(theirs, "deep/f"), time.Now().String())
			r.sync()
			seen.fresh("and heard", "a/theirs/deep")
			for _, mode := range []os.FileMode{0, 0o711, 0o744} { // not to be opened, listed, or looked into
				must(t, os.Chmod(theirs, mode))
				write(t, filepath.Join(theirs, "deep/f"), time.Now().String())
				r.sync()
			}
			must(t, os.Chmod(theirs, 0))
			r.sync()
			require.Contains(t, exceptions(t, root).Unread, "a/theirs")
		}
		before := stampOf(t, root, "a")
		write(t, filepath.Join(theirs, "deep/f"), "unheard")
		r.sync()
		require.Equal(t, before, stampOf(t, root, "a"), "what is not published moves nothing")
		must(t, os.RemoveAll(theirs))
		r.sync()
		require.Empty(t, exceptions(t, root).Unread)
	}
}

// The checkpoint advances while directories cannot be read, for the file names them. A
// watcher that may read them, however much later, takes everything in them for arrived.
func TestUnreadIsReadByTheNext(t *testing.T) {
	root := usersTree(t, 0o700)
	r := as(t, root, "inotify", user...)
	write(t, filepath.Join(root, "a/theirs/deep/f"), "two")
	write(t, filepath.Join(root, "b/f"), "two")
	r.sync()
	require.NotNil(t, r.status().Status.Checkpoint)
	r.cancel()
	seen, epoch := logStamps(t, root), r.status().Tree.Epoch
	brokenOff(t, watch.Config{Root: root, Now: later}) // moves nothing
	must(t, watch.Once(t.Context(), watch.Config{Root: root, Now: later}))
	seen.fresh("read by root", "a/theirs/deep")
	require.Equal(t, epoch, r.status().Tree.Epoch)
	require.Empty(t, exceptions(t, root).Unread)
}

// A directory that became unreadable while nobody watched was in nobody's stamps: the audit that
// found it moved the checkpoint, but stamped nothing above it and did not write
// .tidemark/unread. Copies kept its old mode and showed it as complete; the state was watched.
func TestAnAuditPublishesThatADirectoryCannotBeRead(t *testing.T) {
	root := usersTree(t, 0o755)
	as(t, root, "inotify", user...).cancel()
	seen := logStamps(t, root)
	must(t, os.Chmod(filepath.Join(root, "a/theirs"), 0o700))
	r := as(t, root, "inotify", user...)
	seen.fresh("chmod 0700 while nobody watched", "a")
	require.Equal(t, 1, r.status().Status.Unread)
	require.FileExists(t, filepath.Join(root, ".tidemark/unread"))
	r.cancel()
	seen.note()
	as(t, root, "inotify", user...)
	text, err := os.ReadFile(filepath.Join(root, ".tidemark/unread"))
	must(t, err)
	require.Contains(t, string(text), "a/theirs")
}

// An audit that took a directory for arrived did not note that it read an unread directory
// below it. Then the finding there was left out, and its old stamp stayed for good.
func TestUnreadBelowWhatArrived(t *testing.T) {
	root := usersTree(t, 0o700)
	r := as(t, root, "inotify", user...)
	write(t, filepath.Join(root, "a/theirs/deep/f"), "two")
	r.cancel()
	seen := logStamps(t, root)
	must(t, os.Chmod(filepath.Join(root, "a"), 0o711)) // for the audit, it may have arrived
	must(t, watch.Once(t.Context(), watch.Config{Root: root}))
	seen.fresh("read by root", "a/theirs/deep")
	require.Empty(t, exceptions(t, root).Unread)
}

// Once without the right to stamp a directory published the tree as degraded, with
// exit code 1. Everything is published.
func TestOnceWithoutRights(t *testing.T) {
	root, fixed := fixedTree(t)
	write(t, filepath.Join(fixed, "f"), "two")
	must(t, watch.Once(t.Context(), watch.Config{Root: root}))
	r := &running{t: t, root: root}
	require.Equal(t, wire.Audited, r.status().State)
}

// The file has a stamp before anything above is stamped: a reader that sees the new stamp of
// the parent relies on the file. Readers who know of no exceptions look at the status only
// now and then, so the first time the watcher waits for them.
func TestToldBeforeWhatIsAbove(t *testing.T) {
	root, fixed := fixedTree(t)
	chattr(t, "-i", fixed)
	var before mtree.Stamp
	var begun, late atomic.Bool
	untold := func() mtree.Stamp { // asked before each write
		if begun.Load() && stampOf(t, root, "a") != before && len(exceptions(t, root).Stamps) == 0 {
			late.Store(true)
		}
		return machine.Now()
	}
	r := start(t, watch.Config{Root: root, Now: untold})
	r.sync()
	before = stampOf(t, root, "a")
	begun.Store(true)
	chattr(t, "+i", fixed)
	write(t, filepath.Join(fixed, "f"), "two")
	var written time.Time
	require.Eventually(t, func() bool { written = time.Now(); return r.status().Status.Stamps == 1 }, deadline, time.Millisecond)
	require.Equal(t, before, stampOf(t, root, "a"))
	require.Eventually(t, func() bool { return stampOf(t, root, "a") != before }, deadline, time.Millisecond)
	require.Greater(t, time.Since(written), state.StatusAge)
	r.sync()
	require.False(t, late.Load())
}
