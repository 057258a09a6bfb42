package health_test

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/notify"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/watch/internal/health"
)

func newMonitor() *health.Monitor {
	return health.NewMonitor(slog.New(slog.DiscardHandler), new(atomic.Int64), new(atomic.Int64))
}

// The root must show its own stamp: otherwise no reader is woken.
func TestARootThatRefuses(t *testing.T) {
	m := newMonitor()
	m.Refuse("", disk.Node{Ino: 1}, mtree.Unix(1, 0), os.ErrPermission)
	require.Contains(t, m.Degraded(), "the root refuses")
	m.Accept("")
	require.NotEmpty(t, m.Degraded(), "until an audit")
	require.True(t, m.Mended())
	m.BeginAudit()
	m.EndAudit(1)
	require.Empty(t, m.Degraded())
}

// More exceptions than the files have room for still degrade a tree, until an audit finds
// fewer.
func TestTooManyToTell(t *testing.T) {
	m := newMonitor()
	m.BeginAudit()
	for i := range state.MaxUnread {
		require.True(t, m.CannotRead(fmt.Sprint(i), uint64(i), os.ErrPermission))
	}
	require.Empty(t, m.Degraded())
	m.CannotRead("one more", 1, os.ErrPermission)
	require.Contains(t, m.Degraded(), "too many")
	m.EndAudit(1)
	require.Contains(t, m.Degraded(), "too many")
	m.BeginAudit()
	require.Len(t, m.EndAudit(1), state.MaxUnread)
	require.Empty(t, m.Degraded())

	for i := range state.MaxStamps {
		m.Refuse(fmt.Sprint(i), disk.Node{Ino: uint64(i)}, mtree.Unix(1, 0), os.ErrPermission)
	}
	require.Empty(t, m.Degraded())
	m.Refuse("one more", disk.Node{Ino: 1 << 40}, mtree.Unix(1, 0), os.ErrPermission)
	require.Contains(t, m.Degraded(), "too many")
	root, err := disk.OpenRoot(t.TempDir())
	require.NoError(t, err)
	defer root.Close()
	marker, err := state.CreateMarker(root, "")
	require.NoError(t, err)
	defer marker.Close()
	_, err = m.Exceptions.Save(marker, false)
	require.NoError(t, err)
	require.Len(t, m.Retries(), state.MaxStamps)
	left, err := marker.ReadExceptions()
	require.NoError(t, err)
	require.Len(t, left.Stamps, state.MaxStamps)
	require.Len(t, left.Unread, state.MaxUnread, "opened, for what is above them was not stamped")

	// Far fewer paths with as many bytes as the file has room for: it was written all the same,
	// and no reader read it.
	m = newMonitor()
	m.BeginAudit()
	const deep = 16 << 10
	path := func(i int) string { return strings.Repeat("\n/", deep/2-2) + fmt.Sprintf("%03d", i) } // escaped it is twice as long
	for i := range state.MaxExceptionBytes / deep {
		require.True(t, m.CannotRead(path(i), uint64(i), os.ErrPermission))
	}
	require.Empty(t, m.Degraded())
	m.CannotRead(path(999), 999, os.ErrPermission)
	require.Contains(t, m.Degraded(), "too many")
	_, err = m.Exceptions.Save(marker, false)
	require.NoError(t, err)
	left, err = marker.ReadExceptions()
	require.NoError(t, err, "what is written is read")
	require.Len(t, left.Unread, state.MaxExceptionBytes/deep)
}

// What makes a tree degraded, and what ends it. Readers believe the stamps of a tree that
// is not degraded, so nothing that was missed may end it but an audit that missed nothing.
func TestWhatDegrades(t *testing.T) {
	refused, foreign := new(atomic.Int64), new(atomic.Int64)
	m := health.NewMonitor(slog.New(slog.DiscardHandler), refused, foreign)
	audit := func() { m.BeginAudit(); m.EndAudit(1) }
	require.Empty(t, m.Degraded())
	require.True(t, m.HearsAll())
	require.False(t, m.Mended())
	m.Accept("")
	require.Empty(t, m.Degraded(), "it never refused")
	require.False(t, m.Mended())

	m.Refuse("a", disk.Node{Ino: 5}, mtree.Unix(1, 0), os.ErrPermission)
	m.Refuse("a", disk.Node{Ino: 5}, mtree.Unix(1, 0), health.ErrNotHeld)
	require.EqualValues(t, 2, refused.Load())
	require.Empty(t, m.Degraded(), "one that is named is no harm")
	require.True(t, m.DoesNotHold("a"))
	require.False(t, m.DoesNotHold(""))
	require.Equal(t, []health.Retry{{Path: "a", ShowOnly: true}}, m.Retries())
	m.Accept("a")
	require.Empty(t, m.Retries())

	m.Refuse("", disk.Node{Ino: 1}, mtree.Unix(1, 0), health.ErrNotHeld)
	require.True(t, m.DoesNotHold(""))
	require.Equal(t, []health.Retry{{}}, m.Retries())
	require.Equal(t, "the root refuses its time", m.Unpublished())
	m.Accept("a")
	require.Equal(t, "the root refuses its time", m.Unpublished(), "that was another one")
	m.Accept("")
	require.False(t, m.DoesNotHold(""))
	require.Empty(t, m.Retries())
	require.Equal(t, "the root refused its time until now", m.Unpublished())
	require.False(t, m.HearsAll())
	m.Refuse("", disk.Node{Ino: 1}, mtree.Unix(1, 0), os.ErrPermission)
	require.False(t, m.Mended(), "it refuses again")
	m.Accept("")
	require.True(t, m.Mended())
	require.False(t, m.Mended(), "once")
	m.Accept("")
	require.False(t, m.Mended())
	audit()
	require.True(t, m.HearsAll())

	m.Refuse("", disk.Node{Ino: 1}, mtree.Unix(1, 0), os.ErrPermission)
	m.Accept("")
	audit()
	require.False(t, m.Mended(), "that audit was it")

	m.TreeFile(os.ErrPermission)
	require.Equal(t, "the tree file cannot be written", m.Degraded())
	audit()
	require.NotEmpty(t, m.Degraded(), "an audit does not write it")
	m.TreeFile(nil)
	require.Empty(t, m.Degraded())

	m.PassOver("m")
	m.PassOver("m")
	m.PassOver("n")
	require.EqualValues(t, 2, foreign.Load())
}

// A directory that cannot be heard counts until an audit could arm all of them. One that
// fails while an audit runs is a failure of that audit, too.
func TestCannotHear(t *testing.T) {
	m := newMonitor()
	m.CannotHear(os.ErrPermission)
	require.False(t, m.HearsAll())
	require.Equal(t, os.ErrPermission.Error(), m.Degraded())
	require.Empty(t, m.Unpublished(), "everything was read")
	m.BeginAudit()
	require.False(t, m.HearsAll(), "until it has ended")
	require.NotEmpty(t, m.Degraded())
	m.EndAudit(1)
	require.True(t, m.HearsAll())
	require.Empty(t, m.Degraded())
	m.BeginAudit()
	m.CannotHear(os.ErrPermission)
	m.EndAudit(1)
	require.False(t, m.HearsAll())
	m.BeginAudit()
	m.CannotHear(fmt.Errorf("no: %w", notify.ErrLimit))
	m.EndAudit(1)
	require.Equal(t, "no: "+notify.ErrLimit.Error(), m.Degraded(), "there are enough watches for one directory")
	m.BeginAudit()
	m.CannotHear(notify.ErrLimit)
	m.EndAudit(1 << 30)
	require.Contains(t, m.Degraded(), "1073741824 directories: ", "how many watches it would take")
	m.BeginAudit()
	m.CannotHear(os.ErrPermission)
	m.EndAudit(1 << 30)
	require.Equal(t, os.ErrPermission.Error(), m.Degraded(), "watches are not what is missing")
}

// Overflow lasts until an audit finds fewer, and one that happens while an audit runs
// outlives it.
func TestOverflow(t *testing.T) {
	m := newMonitor()
	m.Overflow(os.ErrPermission)
	require.True(t, m.Overflowed())
	m.BeginAudit()
	require.True(t, m.Overflowed())
	m.Overflow(os.ErrPermission)
	m.EndAudit(1)
	require.True(t, m.Overflowed())
	require.Contains(t, m.Unpublished(), "too many")
	m.BeginAudit()
	m.EndAudit(1)
	require.False(t, m.Overflowed())
	m.Refuse("", disk.Node{Ino: 1}, mtree.Unix(1, 0), os.ErrPermission)
	m.Accept("")
	m.Overflow(os.ErrPermission)
	require.False(t, m.Mended(), "an audit would not end it")
}

// The root's own refusal is no exception; an unread directory is one, and new only once.
func TestCannotRead(t *testing.T) {
	m := newMonitor()
	m.BeginAudit()
	require.True(t, m.CannotRead("d/x", 5, os.ErrPermission))
	require.False(t, m.CannotRead("d/x", 5, os.ErrPermission))
	require.Empty(t, m.Unpublished())
	require.Empty(t, m.EndAudit(1))
	m.BeginAudit()
	require.Equal(t, []string{"d/x"}, m.EndAudit(1))
}

// If the files could not be written in time, what is above unread directories is stamped
// anew, too, and refusals are not only shown.
func TestRetriesAfterALateWrite(t *testing.T) {
	top := t.TempDir()
	root, err := disk.OpenRoot(top)
	require.NoError(t, err)
	defer root.Close()
	marker, err := state.CreateMarker(root, "")
	require.NoError(t, err)
	defer marker.Close()
	m := newMonitor()
	m.CannotRead("d/x", 5, os.ErrPermission)
	m.Refuse("a", disk.Node{Ino: 6}, mtree.Unix(1, 0), os.ErrPermission)
	m.Refuse("b", disk.Node{Ino: 7}, mtree.Unix(1, 0), os.ErrPermission)
	m.Accept("b")
	require.Equal(t, []health.Retry{{Path: "a", ShowOnly: true}}, m.Retries())
	require.NoError(t, os.Mkdir(top+"/.tidemark/stamps", 0o755))
	_, err = m.Exceptions.Save(marker, false)
	require.Error(t, err)
	all := []health.Retry{{Path: "d"}, {Path: "b"}, {Path: "a"}}
	require.Equal(t, all, m.Retries(), "the line of b may have outlived its refusal")
	require.Contains(t, m.Degraded(), "cannot be written")
	require.NoError(t, os.Remove(top+"/.tidemark/stamps"))
	_, err = m.Exceptions.Save(marker, false)
	require.NoError(t, err)
	require.Equal(t, all, m.Retries(), "until an audit has stamped them")
	m.BeginAudit()
	m.CannotRead("d/x", 5, os.ErrPermission)
	m.EndAudit(1)
	require.Equal(t, []health.Retry{{Path: "a", ShowOnly: true}}, m.Retries())

	m.Exceptions.Distrust()
	_, err = m.Exceptions.Save(marker, false)
	require.NoError(t, err, "in time")
	require.NoError(t, os.Remove(top+"/.tidemark/stamps"))
	require.NoError(t, os.Mkdir(top+"/.tidemark/stamps", 0o755))
	m.Exceptions.Distrust()
	_, err = m.Exceptions.Save(marker, false)
	require.Error(t, err)
	require.Equal(t, []health.Retry{{Path: "d"}, {Path: "a"}}, m.Retries(), "b is long past")
}

// Borders are remembered, counted and told once. A start that has too many of them
// trusts no directory.
func TestBorders(t *testing.T) {
	count := new(atomic.Int64)
	b := health.NewBorders(slog.New(slog.DiscardHandler), count)
	require.False(t, b.Changed())
	require.Empty(t, b.List(nil))
	b.Add("b")
	b.Add("a\n")
	require.True(t, b.Changed())
	require.False(t, b.Changed(), "once")
	b.Add("b")
	require.False(t, b.Changed(), "it was there")
	require.EqualValues(t, 2, count.Load())
	require.Equal(t, []string{"a\n", "b", "c"}, b.List(map[string]bool{"c": true}))
	require.Equal(t, []string{"a%0A", "b"}, b.Record(nil))
	b.Remove("b")
	require.True(t, b.Changed())
	require.EqualValues(t, 1, count.Load())
	require.Equal(t, []string{"a\n"}, b.List(nil))
	for i := range 999 {
		b.Add(fmt.Sprint(i))
	}
	require.Len(t, b.Record(nil), 1000)
	b.Add("more")
	require.Equal(t, []string{""}, b.Record(nil))
	require.Len(t, b.List(nil), 1001)
}

// Borders are looked at a second after Wait, and not before.
func TestWhenBordersAreLookedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := health.NewBorders(slog.New(slog.DiscardHandler), new(atomic.Int64))
		select {
		case <-b.Due():
			require.Fail(t, "nobody waits")
		case <-time.After(time.Hour):
		}
		begun := time.Now()
		b.Wait()
		<-b.Due()
		require.Equal(t, time.Second, time.Since(begun))
		for i := range 5000 {
			b.Add(fmt.Sprint(i))
		}
		begun = time.Now()
		b.Wait()
		<-b.Due()
		require.Equal(t, 5*time.Second, time.Since(begun), "a look takes longer")
	})
}
