package health

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/disk/disktest"
	"tidemark/pkg/mtree/internal/state"
)

func at(sec int64) mtree.Stamp { return mtree.Unix(sec, 0) }

func markerIn(t *testing.T, top string) *state.Marker {
	m, err := state.CreateMarker(disktest.OpenRoot(t, top), "")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

// saved writes the files and returns what readers find.
func saved(t *testing.T, e *Exceptions, m *state.Marker) *state.Exceptions {
	_, err := e.Save(m, false)
	require.NoError(t, err)
	require.True(t, isSaved(e))
	have, err := m.ReadExceptions()
	require.NoError(t, err)
	return have
}

// isSaved reports whether the files hold all exceptions, wherever they are.
func isSaved(e *Exceptions) bool { return e.Saved(-1) }

// counts is Counts in one value.
func counts(e *Exceptions) [3]int64 {
	stamps, unread, changes := e.Counts()
	return [3]int64{int64(stamps), int64(unread), changes}
}

// The stamp of a directory that refuses it is the one in the file, as long as the name and
// the inode are its own. Another directory of that name has its own time.
func TestRefusals(t *testing.T) {
	e, m := newExceptions(), markerIn(t, t.TempDir())
	require.False(t, e.AnyRefuses())
	require.True(t, isSaved(e), "there is nothing to write")
	known, ok := e.refuse("a", disk.Node{Dev: 1, Ino: 5}, at(1), false)
	require.Equal(t, [2]bool{false, true}, [2]bool{known, ok})
	require.True(t, e.AnyRefuses())
	require.False(t, isSaved(e))
	require.Equal(t, [3]int64{1, 0, 1}, counts(e))
	known, ok = e.refuse("a", disk.Node{Dev: 1, Ino: 5}, at(2), true)
	require.Equal(t, [2]bool{true, true}, [2]bool{known, ok})
	require.Equal(t, [3]int64{1, 0, 1}, counts(e), "no other directory")
	require.True(t, e.doesNotHold("a"))
	require.False(t, e.doesNotHold("b"))
	stamp, ok := e.StampOf("a", 5)
	require.True(t, ok)
	require.Equal(t, at(2), stamp)
	_, ok = e.StampOf("a", 6)
	require.False(t, ok)
	_, ok = e.StampOf("b", 0)
	require.False(t, ok, "no inode is 0, and none is known")
	require.Equal(t, map[string]state.Refusal{"a": {Inode: 5, Stamp: at(2)}}, saved(t, e, m).Stamps)

	_, _ = e.refuse("a", disk.Node{Dev: 1, Ino: 7}, at(3), false)
	require.Equal(t, [3]int64{1, 0, 2}, counts(e), "another directory")
	require.Equal(t, map[string]state.Refusal{"a": {Inode: 7, Stamp: at(3)}}, saved(t, e, m).Stamps)

	_, _ = e.refuse("b", disk.Node{Dev: 1, Ino: 7}, at(4), false) // it was moved
	require.Equal(t, []string{"b"}, e.refusing())
	_, _ = e.refuse("c", disk.Node{Dev: 2, Ino: 7}, at(4), false) // elsewhere
	require.Equal(t, []string{"b", "c"}, e.refusing())
	_, _ = e.refuse("b", disk.Node{Dev: 1, Ino: 9}, at(5), false)
	_, _ = e.refuse("d", disk.Node{Dev: 1, Ino: 7}, at(5), false)
	require.Equal(t, []string{"b", "c", "d"}, e.refusing(), "b is another one by now")

	before := counts(e)
	e.accept("none")
	require.Equal(t, before, counts(e))
	saved(t, e, m)
	e.accept("c")
	require.False(t, isSaved(e))
	require.Equal(t, before[2]+1, counts(e)[2])
	require.Equal(t, []string{"b", "d"}, e.refusing())
}

// The files have room for so many bytes of paths. What went makes room.
func TestRoomForPaths(t *testing.T) {
	e := newExceptions()
	long := strings.Repeat("x", state.MaxExceptionBytes/4)
	for i := range 4 {
		_, ok := e.refuse(fmt.Sprint(long[1:], i), disk.Node{Ino: uint64(i)}, at(1), false)
		require.True(t, ok, "exactly full is not too much")
	}
	_, ok := e.refuse("a", disk.Node{Ino: 9}, at(1), false)
	require.False(t, ok)
	known, ok := e.refuse(long[1:]+"0", disk.Node{Ino: 0}, at(1), false)
	require.True(t, known && ok, "that has its place")
	e.accept(long[1:] + "1")
	_, ok = e.refuse("a", disk.Node{Ino: 9}, at(1), false)
	require.True(t, ok)

	e = newExceptions()
	e.Load(&state.Exceptions{Stamps: map[string]state.Refusal{long + long + long + long: {Inode: 1}}}, func(string, bool) bool { return false })
	_, ok = e.refuse("a", disk.Node{Ino: 9}, at(1), false)
	require.False(t, ok, "what is taken over counts")
}

// A watcher that starts goes on with what the one before left, but for what is excluded
// now, and writes the files: nobody else's are relied on.
func TestLoad(t *testing.T) {
	m := markerIn(t, t.TempDir())
	none := func(string, bool) bool { return false }
	e := newExceptions()
	e.Load(&state.Exceptions{}, none)
	require.True(t, isSaved(e))
	for _, have := range []*state.Exceptions{
		{Stamps: map[string]state.Refusal{"a": {Inode: 5, Stamp: at(1)}}},
		{Unread: map[string]state.Unread{"b": {Inode: 6, Opened: true}}},
		{Unread: map[string]state.Unread{"b": {Inode: 6}}},
	} {
		e := newExceptions()
		e.Load(have, none)
		require.False(t, isSaved(e))
		first, err := e.Save(m, false)
		require.NoError(t, err)
		require.False(t, first, "readers know of the files already")
		left, err := m.ReadExceptions()
		require.NoError(t, err)
		require.Equal(t, len(have.Stamps), len(left.Stamps))
		require.Equal(t, have.Stamps["a"], left.Stamps["a"])
		require.Equal(t, have.Unread["b"], left.Unread["b"])
	}
	e = newExceptions()
	e.Load(&state.Exceptions{Stamps: map[string]state.Refusal{"a": {}}, Unread: map[string]state.Unread{"b": {}}},
		func(path string, isDir bool) bool { return isDir && (path == "a" || path == "b") })
	require.Equal(t, [3]int64{0, 0, 0}, counts(e))
}

// A directory that cannot be read is not published, until it is read with all that is
// below it. The next start still treats it as unread until what is above is stamped.
func TestUnreadDirectories(t *testing.T) {
	e, m := newExceptions(), markerIn(t, t.TempDir())
	require.Empty(t, e.Unpublished())
	require.False(t, e.IsUnread("d", "x"))
	e.beginAudit()
	known, _, ok := e.setUnread("d/x", 5)
	require.Equal(t, [2]bool{false, true}, [2]bool{known, ok})
	require.Equal(t, [3]int64{0, 1, 1}, counts(e))
	require.True(t, e.IsUnread("d", "x"))
	require.False(t, e.IsUnread("d", "y"))
	require.Contains(t, e.Unpublished(), "1 directories")
	require.Equal(t, map[string]state.Unread{"d/x": {Inode: 5}}, saved(t, e, m).Unread)
	require.Empty(t, e.endAudit(), "it could not be read in this one")

	known, _, _ = e.setUnread("d/x", 5)
	require.True(t, known)
	require.True(t, isSaved(e), "as before")
	require.EqualValues(t, 1, counts(e)[2])
	known, _, _ = e.setUnread("d/x", 6)
	require.True(t, known)
	require.False(t, isSaved(e), "another directory")
	require.EqualValues(t, 2, counts(e)[2])
	saved(t, e, m)

	e.beginAudit()
	e.Enter("d/x")
	e.Enter("other")
	require.False(t, e.IsUnread("d", "x"), "what is heard in it counts from now on")
	require.True(t, isSaved(e), "and that is nobody's business")
	require.Equal(t, map[string]bool{"d/x": true}, e.Unread())
	require.Equal(t, []string{"d/x"}, e.endAudit())
	require.False(t, isSaved(e))
	require.EqualValues(t, 3, counts(e)[2])
	require.Equal(t, map[string]state.Unread{"d/x": {Inode: 6, Opened: true}}, saved(t, e, m).Unread)
	require.Equal(t, []string{"d/x"}, e.endAudit(), "until what is above is stamped")
	require.True(t, isSaved(e))
	require.EqualValues(t, 3, counts(e)[2])
	require.False(t, e.IsUnread("d", "x"))

	known, _, _ = e.setUnread("d/x", 6)
	require.False(t, known, "again, after it could be read")
	require.False(t, isSaved(e))
	saved(t, e, m)
	e.DropReadable()
	require.True(t, isSaved(e), "none is readable")
	require.EqualValues(t, 1, counts(e)[1])

	e.beginAudit()
	_, _, _ = e.setUnread("d/x", 6)
	e.SetReadable("d/x")
	e.SetReadable("d/none")
	require.EqualValues(t, 1, counts(e)[1])
	require.False(t, e.IsUnread("d", "x"), "at once")
	require.Equal(t, []string{"d/x"}, e.endAudit())
	changes := counts(e)[2]
	e.SetReadable("d/x")
	require.Equal(t, changes, counts(e)[2], "as before")
	saved(t, e, m)
	e.DropReadable()
	require.False(t, isSaved(e))
	require.Zero(t, counts(e)[1])
	require.Empty(t, saved(t, e, m).Unread)
}

// At most so many are named. One that is named already has its place.
func TestRoomForUnread(t *testing.T) {
	e := newExceptions()
	for i := range state.MaxUnread {
		_, _, ok := e.setUnread(fmt.Sprint(i), 1)
		require.True(t, ok)
	}
	_, _, ok := e.setUnread("more", 1)
	require.False(t, ok)
	known, _, ok := e.setUnread("0", 1)
	require.True(t, known && ok)
	e.beginAudit()
	_, _, _ = e.setUnread("1", 1)
	readable := e.endAudit()
	require.Len(t, readable, state.MaxUnread-1)
	require.IsIncreasing(t, readable)

	e = newExceptions()
	long := strings.Repeat("x", state.MaxExceptionBytes/4)
	for i := range 4 {
		_, _, ok := e.setUnread(fmt.Sprint(long[1:], i), 1)
		require.True(t, ok, "exactly full is not too much")
	}
	_, _, ok = e.setUnread("a", 1)
	require.False(t, ok)
	known, _, ok = e.setUnread(long[1:]+"0", 1)
	require.True(t, known && ok)
}

// Stamps that were set before the files had the directories below are not believed by
// readers that came meanwhile: after a failed write an audit stamps everything anew.
func TestAWriteThatFails(t *testing.T) {
	top := t.TempDir()
	e, m := newExceptions(), markerIn(t, top)
	_, _ = e.refuse("a", disk.Node{Ino: 5}, at(1), false)
	require.NoError(t, os.Mkdir(top+"/.tidemark/unread", 0o755)) // in its way
	_, err := e.Save(m, false)
	require.Error(t, err)
	require.Contains(t, e.Trouble(), "cannot be written")
	require.False(t, isSaved(e))
	require.NoError(t, os.Remove(top+"/.tidemark/unread"))
	first, err := e.Save(m, false)
	require.NoError(t, err)
	require.True(t, first)
	require.Contains(t, e.Trouble(), "could not be written until now")
	require.True(t, e.writtenLate())
	require.Empty(t, e.endAudit())
	require.True(t, e.writtenLate(), "that audit had begun before")
	e.beginAudit()
	require.True(t, e.writtenLate())
	e.endAudit()
	require.False(t, e.writtenLate())
	require.Empty(t, e.Trouble())

	e.beginAudit()
	require.NoError(t, os.Remove(top+"/.tidemark/stamps"))
	require.NoError(t, os.Mkdir(top+"/.tidemark/stamps", 0o755))
	e.Distrust()
	_, err = e.Save(m, false)
	require.Error(t, err, "in the middle of an audit")
	e.endAudit()
	require.True(t, e.writtenLate(), "that one does not mend it")
	e.beginAudit()
	_, err = e.Save(m, false)
	require.Error(t, err, "in the middle of the next")
	e.endAudit()
	require.True(t, e.writtenLate(), "nor does the next")
}

// Where a write failed, the directories that can be read again stay named until an audit has stamped
// what is above them: readers of these stamps were refused there, and would not come back.
func TestReadableAfterAWriteThatFailed(t *testing.T) {
	top := t.TempDir()
	e, m := newExceptions(), markerIn(t, top)
	_, _, _ = e.setUnread("a/b", 5)
	e.SetReadable("a/b")
	require.NoError(t, os.Mkdir(top+"/.tidemark/unread", 0o755)) // in its way
	save := func() error {
		_, err := e.Save(m, false)
		return err
	}
	require.Error(t, save())
	e.beginAudit()
	e.endAudit()
	require.False(t, e.writtenLate(), "all is stamped anew")
	e.DropReadable()
	require.Contains(t, e.Unread(), "a/b", "still nobody is told")
	require.Error(t, save())
	require.NoError(t, os.Remove(top+"/.tidemark/unread"))
	require.NoError(t, save())
	e.DropReadable()
	require.Contains(t, e.Unread(), "a/b", "told late")
	e.beginAudit()
	e.endAudit()
	e.DropReadable()
	require.Empty(t, e.Unread())
}

// While the files cannot be written, directories may come and go for long: only so many of those
// that went are remembered.
func TestRoomForWhatWent(t *testing.T) {
	e := newExceptions()
	e.Untold()
	for i := range state.MaxStamps + 1 {
		_, _ = e.refuse(fmt.Sprint(i), disk.Node{Ino: uint64(i + 1)}, at(1), false)
		e.accept(fmt.Sprint(i))
	}
	require.Len(t, e.acceptedLate(), state.MaxStamps)
}

// If readers could not be told that there are files, it is as if these had not been written.
func TestUntold(t *testing.T) {
	e, m := newExceptions(), markerIn(t, t.TempDir())
	_, _ = e.refuse("a", disk.Node{Ino: 5}, at(1), false)
	for range 2 {
		first, err := e.Save(m, false)
		require.NoError(t, err)
		require.True(t, first)
		e.Untold()
		require.False(t, isSaved(e))
		require.True(t, e.writtenLate())
		require.NotEmpty(t, e.Trouble())
	}
	e.beginAudit()
	e.Untold()
	e.endAudit()
	require.True(t, e.writtenLate(), "that audit had begun before")
}

// Readers look into the files only when the status says that they hold anything.
func TestSave(t *testing.T) {
	top := t.TempDir()
	e, m := newExceptions(), markerIn(t, top)
	require.True(t, e.StillIn(m), "nothing was written yet")
	first, err := e.Save(m, false)
	require.NoError(t, err)
	require.False(t, first)
	_, err = os.Stat(top + "/.tidemark/stamps")
	require.True(t, errors.Is(err, os.ErrNotExist), "there is nothing to write")
	e.Rewrite()
	require.True(t, isSaved(e), "they were never written")
	e.Distrust()
	first, err = e.Save(m, false)
	require.NoError(t, err)
	require.False(t, first, "they are empty")

	_, _, _ = e.setUnread("a", 1)
	first, err = e.Save(m, false)
	require.NoError(t, err)
	require.True(t, first)
	require.True(t, e.StillIn(m))
	number := e.number
	_, err = e.Save(m, false)
	require.NoError(t, err)
	require.Equal(t, number, e.number, "nothing is new")
	first, err = e.Save(m, true)
	require.NoError(t, err)
	require.False(t, first)
	require.Greater(t, e.number, number, "durably")
	e.number += 1e15
	e.Distrust()
	require.False(t, isSaved(e))
	number = e.number
	_, err = e.Save(m, false)
	require.NoError(t, err)
	require.Equal(t, number+1, e.number, "it grows, whatever the clock says")
	e.Rewrite()
	require.False(t, isSaved(e))
	e.beginAudit()
	e.endAudit()
	e.DropReadable()
	first, err = e.Save(m, false)
	require.NoError(t, err)
	require.False(t, first, "they are empty")
	_, _ = e.refuse("a", disk.Node{Ino: 5}, at(1), false)
	first, err = e.Save(m, false)
	require.NoError(t, err)
	require.True(t, first, "again")
	require.NoError(t, os.Remove(top+"/.tidemark/stamps"))
	require.False(t, e.StillIn(m))
}

// Directories that cannot be read are tried once a minute, as long as there are any.
func TestWhenUnreadIsTried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newExceptions()
		fires := func() bool {
			select {
			case <-e.Due():
				return true
			case <-time.After(2 * retryPause):
				return false
			}
		}
		e.Wait()
		require.False(t, fires(), "there is nothing to try")
		_, _, _ = e.setUnread("a", 1)
		require.False(t, fires())
		begun := time.Now()
		e.Wait()
		<-time.After(retryPause / 2)
		e.Wait()
		require.True(t, fires())
		require.Equal(t, retryPause, time.Since(begun), "the second Wait does not put it off")
		e.Wait()
		require.False(t, fires(), "not tried yet")
		e.Tried()
		e.Wait()
		require.True(t, fires())
	})
}

// Whoever stamps a directory writes the files first, if they lack something that may be
// below it: not what refused before anything below was stamped, which is beside it.
func TestSavedBelow(t *testing.T) {
	top := t.TempDir()
	m := markerIn(t, top)
	loaded := func() *Exceptions {
		e := newExceptions()
		_, _ = e.refuse("a", disk.Node{Ino: 5}, at(1), false)
		_, _, _ = e.setUnread("u", 6)
		saved(t, e, m)
		return e
	}
	for name, c := range map[string]struct {
		do     func(e *Exceptions)
		beside bool // it is saved, for one who began after it
	}{
		"refuses":       {func(e *Exceptions) { _, _ = e.refuse("b", disk.Node{Ino: 7}, at(1), false) }, true},
		"still refuses": {func(e *Exceptions) { _, _ = e.refuse("a", disk.Node{Ino: 5}, at(2), false) }, true},
		"accepts":       {func(e *Exceptions) { e.accept("a") }, true},
		"was moved":     {func(e *Exceptions) { _, _ = e.refuse("b", disk.Node{Ino: 5}, at(1), false) }, false},
		"is unread":     {func(e *Exceptions) { _, _, _ = e.setUnread("b", 7) }, false},
		"is readable":   {func(e *Exceptions) { e.SetReadable("u") }, false},
		"is distrusted": {func(e *Exceptions) { e.Distrust() }, false},
		"is rewritten":  {func(e *Exceptions) { e.Rewrite() }, false},
		"is untold":     {func(e *Exceptions) { e.Untold() }, false},
		"is taken over": {func(e *Exceptions) {
			e.Load(&state.Exceptions{Unread: map[string]state.Unread{"v": {}}}, func(string, bool) bool { return false })
		}, false},
		"cannot be saved": {func(e *Exceptions) {
			require.NoError(t, os.Remove(top+"/.tidemark/unread"))
			require.NoError(t, os.Mkdir(top+"/.tidemark/unread", 0o755))
			_, _ = e.refuse("b", disk.Node{Ino: 7}, at(1), false)
			_, err := e.Save(m, false)
			require.Error(t, err)
			require.NoError(t, os.Remove(top+"/.tidemark/unread"))
		}, false},
	} {
		e := loaded()
		before := e.Placed()
		require.True(t, e.Saved(before), name)
		c.do(e)
		require.False(t, e.Saved(before), name)
		require.Equal(t, c.beside, e.Saved(e.Placed()), name)
		saved(t, e, m)
		require.True(t, e.Saved(before), name)
	}
	e := loaded()
	e.SetReadable("u")
	saved(t, e, m)
	e.DropReadable()
	require.False(t, e.Saved(e.Placed()))
	saved(t, e, m)
	_, _ = e.refuse("b", disk.Node{Ino: 7}, at(1), false)
	require.True(t, e.Saved(e.Placed()), "nothing is left of what was saved")
}

// A directory that refuses its time got its new stamp in .tidemark/stamps before
// .tidemark/unread said that one in it can be read again. A reader between the two was
// refused there, complete with the new stamp, and never came back.
func TestWhatMayBeReadIsToldBeforeTheStamp(t *testing.T) {
	e, m := newExceptions(), markerIn(t, t.TempDir())
	e.setUnread("a/b", 6)
	e.refuse("a", disk.Node{Dev: 1, Ino: 5}, at(1), false)
	saved(t, e, m)
	e.SetReadable("a/b")
	e.refuse("a", disk.Node{Dev: 1, Ino: 5}, at(2), false)
	require.NoError(t, os.Mkdir(m.Dir().Path()+"/.unread.new", 0o755)) // it cannot be written
	_, err := e.Save(m, false)
	require.Error(t, err)
	have, err := m.ReadExceptions()
	require.NoError(t, err)
	require.Equal(t, at(1), have.Stamps["a"].Stamp)
	require.False(t, have.Unread["a/b"].Opened)
}
