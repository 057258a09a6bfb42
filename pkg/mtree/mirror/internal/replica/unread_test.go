package replica

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/wire"
)

// A directory is on the list with the inode that it has, until the source gives it. Each
// change is one turn, and nothing else is.
func TestUnread(t *testing.T) {
	u := unread{lines: map[string]state.Unread{}}
	for _, c := range []struct {
		do    func()
		turns int64
		lines map[string]state.Unread
	}{
		{func() { u.deny("a", 0) }, 1, map[string]state.Unread{"a": {}}},
		{func() { u.deny("a", 0) }, 1, map[string]state.Unread{"a": {}}},
		{func() { u.deny("a", 5) }, 2, map[string]state.Unread{"a": {Inode: 5}}},
		{func() { u.give("b") }, 2, map[string]state.Unread{"a": {Inode: 5}}},
		{func() { u.deny("b", 6) }, 3, map[string]state.Unread{"a": {Inode: 5}, "b": {Inode: 6}}},
		{func() { u.give("a") }, 4, map[string]state.Unread{"b": {Inode: 6}}},
	} {
		was := u.turn
		u.dirty = false
		c.do()
		require.Equal(t, c.turns, u.turn)
		require.Equal(t, c.turns != was, u.dirty)
		require.Equal(t, c.lines, u.lines)
	}
	for i := range 2 * state.MaxUnread {
		u.deny(strconv.Itoa(i), 1)
	}
	require.Len(t, u.lines, state.MaxUnread)
	u.deny("b", 7)
	require.EqualValues(t, 7, u.lines["b"].Inode, "it has its place")
	require.Len(t, u.lines, state.MaxUnread)
}

// A directory that the source refuses is on the list unless it is complete.
func TestDeny(t *testing.T) {
	k, r := simulated(t)
	k.tree("none/", "begun/", "complete/", "touched/", "old/")
	require.NoError(t, r.SetRecord(k.dir(r, "begun"), "begun", unfinished(1, 0)))
	require.NoError(t, k.dir(r, "begun").SetTime(mtree.Stamp{})) // the least time of some file systems
	k.complete(r, "complete", listed)
	k.complete(r, "touched", listed)
	require.NoError(t, k.dir(r, "touched").SetTime(listed.Stamp.Add(1)))
	require.NoError(t, k.dir(r, "old").SetTime(mtree.Stamp{}))
	for path, denied := range map[string]bool{"none": true, "begun": true, "complete": false, "touched": true, "old": true, "missing": false} {
		r.Deny(path)
		require.Equal(t, denied, r.unread.lines[path] != state.Unread{}, path)
		if denied {
			info, err := k.dir(r, path).Self()
			require.NoError(t, err)
			require.Equal(t, info.Node.Ino, r.unread.lines[path].Inode)
		}
	}
	r.Give("none")
	require.NotContains(t, r.unread.lines, "none")
	k.Refuse("statx none", unix.EIO, 1)
	r.Deny("none")
	require.NotContains(t, r.unread.lines, "none", "its inode is not known")
}

// The list is written if it changed. Readers that know of none are told by the status, and
// have time to see it: only the first time.
func TestWriteUnread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, r := simulated(t)
		require.NoError(t, r.UpdateStatus(func(s *state.Status) bool { s.State = wire.Mirrored; return true }))
		for _, c := range []struct {
			do     func()
			waits  bool
			writes int
			lines  int
		}{
			{func() {}, false, 0, 0},
			{func() { r.unread.deny("a", 5) }, true, 1, 1},
			{func() {}, false, 0, 1},
			{func() { r.unread.deny("b", 5) }, false, 1, 2},
			{func() { r.Give("a") }, false, 1, 1},
			{func() { r.Give("b") }, false, 1, 0},
			{func() { r.unread.deny("c", 5); r.Give("c") }, false, 1, 0},
			{func() { r.unread.deny("c", 5) }, true, 1, 1},
		} {
			c.do()
			k.Made("")
			from, number := time.Now(), r.unread.number
			require.NoError(t, r.WriteUnread())
			calls := k.Calls
			require.Equal(t, c.writes, k.Made("rename unread"))
			k.Calls = calls
			require.Equal(t, c.waits, k.Made("write status.json") == 1)
			require.Equal(t, c.waits, time.Since(from) == state.StatusLag)
			if c.writes > 0 {
				require.Greater(t, r.unread.number, number, "a new number, also at the same time")
				require.GreaterOrEqual(t, r.unread.number, from.UnixNano(), "and after a restart")
			}
			have, err := r.marker.ReadExceptions()
			require.NoError(t, err)
			require.Len(t, have.Unread, c.lines)
			if c.waits {
				s, err := r.marker.ReadStatus()
				require.NoError(t, err)
				require.Equal(t, c.lines, s.Unread)
			}
		}
		for _, call := range []string{"rename stamps", "rename unread"} {
			r.unread.deny(call, 9)
			k.Refuse(call, unix.EIO, 1)
			err := r.WriteUnread()
			require.ErrorIs(t, err, unix.EIO)
			require.Equal(t, exit.Local, exit.Of(err))
			require.NoError(t, r.WriteUnread(), "it is tried again")
			have, err := r.marker.ReadExceptions()
			require.NoError(t, err)
			require.Contains(t, have.Unread, call)
		}
		r.unread.lines, r.unread.known = map[string]state.Unread{}, false
		r.unread.deny("d", 5)
		k.Refuse("write status.json", unix.EIO, 1)
		require.ErrorIs(t, r.WriteUnread(), unix.EIO)
	})
}

// The list of an earlier mirror is taken over, that of a watch is not.
func TestReadUnread(t *testing.T) {
	for name, c := range map[string]struct {
		set          func(k *faulty, r *Replica)
		lines        int
		dirty, known bool
	}{
		"none": {},
		"known to readers": {set: func(_ *faulty, r *Replica) {
			r.unread.deny("a", 5)
			r.unread.known = true
			_ = r.WriteUnread()
			r.status.Unread = 1
		}, lines: 1, known: true},
		"not known": {set: func(_ *faulty, r *Replica) { r.unread.deny("a", 5); r.unread.known = true; _ = r.WriteUnread() }, lines: 1},
		"of a watch": {set: func(_ *faulty, r *Replica) {
			r.unread.deny("a", 5)
			r.unread.known = true
			_ = r.WriteUnread()
			r.tree.Role = state.Source
		}, dirty: true},
		"it cannot be read":    {set: func(k *faulty, _ *Replica) { k.Refuse("open unread", unix.EIO, -1) }, dirty: true},
		"it is damaged":        {set: func(k *faulty, _ *Replica) { _ = k.Shell.Write("/copy/.tidemark/unread", "x") }, dirty: true},
		"a status of an older": {set: func(_ *faulty, r *Replica) { r.status.Unread = 1 }},
	} {
		k, r := simulated(t)
		if c.set != nil {
			c.set(k, r)
		}
		r.unread = unread{}
		r.readUnread()
		require.Len(t, r.unread.lines, c.lines, name)
		require.Equal(t, c.dirty, r.unread.dirty, name)
		require.Equal(t, c.known, r.unread.known, name)
		r.unread.deny("more", 5)
		require.Len(t, r.unread.lines, c.lines+1, name)
	}
}

// Directories stayed on the list after they were gone from source and copy. It counted them for copies of
// the copy, and after a thousand of them no other one had a place: it was published as unfinished, and no
// copy of the copy was ever complete again.
func TestTheListForgetsWhatIsGone(t *testing.T) {
	k, r := simulated(t)
	k.claimed(r)
	k.tree("d/", "d/gone/", "stays/", "other/", "file/")
	for _, path := range []string{"d/gone", "stays", "other", "file"} {
		r.Deny(path)
	}
	r.unread.deny("away/x", 9)
	require.NoError(t, r.WriteUnread())
	require.Len(t, r.unread.lines, 5)
	require.NoError(t, k.Shell.Remove("/copy/other"))
	require.NoError(t, k.Shell.Remove("/copy/file"))
	k.tree("more/", "other/", "file")
	require.NoError(t, r.WriteUnread())
	require.Len(t, r.unread.lines, 5, "the mirror itself deleted nothing")

	dir, d, _ := k.measured(r, "d/gone")
	_, _, err := r.Delete(dir, &d)
	require.NoError(t, err)
	k.Refuse("open stays", unix.EIO, 1)
	require.NoError(t, r.WriteUnread())
	info, err := k.dir(r, "stays").Self()
	require.NoError(t, err)
	require.Equal(t, map[string]state.Unread{"stays": {Inode: info.Node.Ino}}, r.unread.lines)
	there, err := r.marker.ReadExceptions()
	require.NoError(t, err)
	require.Equal(t, r.unread.lines, there.Unread)

	for i := range state.MaxUnread {
		r.unread.deny(strconv.Itoa(i), 1)
	}
	r.Deny("more")
	require.NotContains(t, r.unread.lines, "more")
	r.removed.Store(true)
	r.Deny("more")
	require.Len(t, r.unread.lines, 2, "there is room again")
	require.Contains(t, r.unread.lines, "more")
	r.unread.deny("an earlier one", 1)
	require.NoError(t, r.WriteUnread())
	r.Close()
	r = k.replica()
	require.NoError(t, r.WriteUnread())
	require.Len(t, r.unread.lines, 2, "a mirror that was killed may have left more")
}
