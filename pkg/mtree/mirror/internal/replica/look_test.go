package replica

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/internal/sys/simkernel"
	"tidemark/pkg/mtree/wire"
)

// look opens a copy for reading.
func (k *faulty) look() *Look {
	k.t.Helper()
	l, err := LookAt("/copy", "")
	require.NoError(k.t, err)
	k.t.Cleanup(l.Close)
	return l
}

// A look is had at a copy only; what is none is refused, and what cannot be read is a
// failure of this machine.
func TestLookAt(t *testing.T) {
	for name, c := range map[string]struct {
		set  func(k *faulty, r *Replica)
		path string
		dir  string
		code exit.Code
	}{
		"a copy":          {path: "/copy"},
		"nothing":         {path: "/nothing", code: exit.Local},
		"a directory":     {path: "/other", code: exit.Refused},
		"not claimed yet": {path: "/copy", set: func(k *faulty, r *Replica) { _ = k.Shell.Remove("/copy/.tidemark/tree") }, code: exit.Refused},
		"a source": {path: "/copy", set: func(k *faulty, r *Replica) {
			require.NoError(k.t, r.SetTree(state.Tree{ID: state.NewTreeID(), Role: state.Source}))
		}, code: exit.Refused},
		"a damaged one":        {path: "/copy", set: func(k *faulty, r *Replica) { require.NoError(k.t, k.Shell.Write("/copy/.tidemark/tree", "x")) }, code: exit.Local},
		"the disk fails":       {path: "/copy", set: func(k *faulty, r *Replica) { k.Refuse("read tree", unix.EIO, -1) }, code: exit.Local},
		"a state within":       {path: "/copy", dir: "/copy/state", code: exit.Usage},
		"no state there":       {path: "/copy", dir: "/state", code: exit.Refused},
		"the marker fails":     {path: "/copy", set: func(k *faulty, r *Replica) { k.Refuse("open .tidemark", unix.EIO, -1) }, code: exit.Local},
		"the status is damage": {path: "/copy", set: func(k *faulty, r *Replica) { k.Refuse("read status.json", unix.EIO, -1) }, code: exit.Local},
	} {
		k, r := simulated(t)
		tree := k.claimed(r)
		require.NoError(t, k.Shell.Mkdir("/other", 0o755))
		if c.set != nil {
			c.set(k, r)
		}
		open := len(k.Open)
		l, err := LookAt(c.path, c.dir)
		require.Equal(t, c.code, exit.Of(err), "%s: %v", name, err)
		if err != nil {
			require.Nil(t, l)
			require.Len(t, k.Open, open, "%s: nothing stays open", name)
			continue
		}
		require.Equal(t, tree.ID, l.Tree.ID)
		l.Close()
		require.Len(t, k.Open, open, name)
	}
}

// What a look tells of a copy that a mirror keeps.
func TestALook(t *testing.T) {
	k, r := simulated(t)
	k.claimed(r)
	l := k.look()
	is, err := l.IsKept()
	require.NoError(t, err)
	require.True(t, is)
	require.ErrorIs(t, l.CanLock(), state.ErrLocked)

	held, err := l.Held()
	require.NoError(t, err)
	require.Empty(t, held.Entries)
	require.NoError(t, r.SetHeld(&HeldList{Entries: []Deletion{{Path: "a", Entries: 5}}}))
	held, err = l.Held()
	require.NoError(t, err)
	require.EqualValues(t, 5, held.Total())
	require.NoError(t, r.UpdateUncopied(Uncopied{"d": 3}, nil, true))
	u, err := l.Uncopied()
	require.NoError(t, err)
	require.Equal(t, Uncopied{"d": 3}, u)

	r.Close()
	require.NoError(t, l.CanLock())
	require.NoError(t, l.CanLock(), "it was given back")
	is, err = l.IsKept()
	require.NoError(t, err)
	require.False(t, is)
}

// A list that is left for a mirror is there until the mirror takes it, or it is withdrawn.
func TestALeftRelease(t *testing.T) {
	k, r := simulated(t)
	k.claimed(r)
	l := k.look()
	list := HeldList{Entries: []Deletion{{Path: "a", Entries: 5}}}
	taken := func() bool {
		is, err := l.IsReleaseTaken()
		require.NoError(t, err)
		return is
	}
	require.True(t, taken())
	require.False(t, r.HasRelease())
	none, err := r.Released()
	require.NoError(t, err)
	require.Empty(t, none.Entries)
	require.NoError(t, l.Withdraw(), "there is none")
	for _, end := range []func() error{l.Withdraw, r.RemoveRelease} {
		require.NoError(t, l.Release(&list))
		require.False(t, taken())
		require.True(t, r.HasRelease())
		released, err := r.Released()
		require.NoError(t, err)
		require.Equal(t, list.Entries, released.Entries)
		k.Refuse("unlink release", unix.EIO, 1)
		require.ErrorIs(t, end(), unix.EIO)
		require.NoError(t, end())
		require.True(t, taken())
		require.False(t, r.HasRelease())
	}
	k.Refuse("rename release", unix.EIO, 1)
	require.ErrorIs(t, l.Release(&list), unix.EIO)
	k.Refuse("statx release", unix.EIO, 1)
	is, err := l.IsReleaseTaken()
	require.ErrorIs(t, err, unix.EIO)
	require.False(t, is)
	require.NoError(t, k.Shell.Mkdir("/copy/.tidemark/release", 0o755))
	require.False(t, r.HasRelease(), "it is no file")
	none, err = (&Replica{}).Released()
	require.NoError(t, err)
	require.Empty(t, none.Entries)
	none, err = (&Replica{}).Held()
	require.NoError(t, err)
	require.Empty(t, none.Entries)
}

// Up to when a copy is confirmed: what a living mirror announces comes first.
func TestConfirmed(t *testing.T) {
	k, r := simulated(t)
	k.claimed(r)
	require.Nil(t, k.look().Confirmed())
	require.NoError(t, r.UpdateStatus(func(s *state.Status) bool { s.Checkpoint = ptr(mtree.Unix(5, 0)); return true }))
	require.Equal(t, mtree.Unix(5, 0), *k.look().Confirmed())
	require.NoError(t, r.UpdateStatus(func(s *state.Status) bool { s.Confirmed = ptr(mtree.Unix(7, 5)); return true }))
	require.Equal(t, mtree.Unix(7, 5), *k.look().Confirmed())
	l := k.look()
	r.Confirm(mtree.Unix(9, 5))
	require.Equal(t, mtree.Unix(9, 0), *l.Confirmed())
	k.Refuse("open confirmed", unix.EIO, -1)
	require.Equal(t, mtree.Unix(7, 5), *l.Confirmed())
}

// A copy has reached a stamp if its root is complete with it, or with a later one that
// does not lie in the source's future.
func TestHasReached(t *testing.T) {
	stamp := listed.Stamp
	ahead := stamp.Add(-wire.ClockLag - aheadSlack)
	for name, c := range map[string]struct {
		unfinished bool
		touched    bool
		checkpoint mtree.Stamp
		asks       mtree.Stamp
		want       bool
	}{
		"that stamp":                      {asks: stamp, want: true},
		"an earlier one":                  {asks: stamp.Add(-1), want: true},
		"a later one":                     {asks: stamp.Add(1)},
		"touched":                         {asks: stamp, touched: true},
		"unfinished":                      {asks: stamp.Add(-1), unfinished: true},
		"just in the source's past":       {asks: stamp.Add(-1), checkpoint: ahead, want: true},
		"in the source's future":          {asks: stamp.Add(-1), checkpoint: ahead.Add(-1)},
		"that stamp, and in the future":   {asks: stamp, checkpoint: ahead.Add(-1), want: true},
		"a later one, and in the future":  {asks: stamp.Add(1), checkpoint: ahead.Add(-1)},
		"its own past, and in the future": {asks: stamp.Add(-time.Hour), checkpoint: ahead.Add(-1)},
	} {
		for _, o := range []simkernel.Options{{}, {NoXattrs: true}} {
			k := newFaulty(t, o, 0)
			r := k.replica()
			k.claimed(r)
			require.NoError(t, r.UpdateStatus(func(s *state.Status) bool {
				if !c.unfinished {
					s.Root = &stamp
				}
				if c.checkpoint != (mtree.Stamp{}) {
					s.Checkpoint = &c.checkpoint
				}
				return true
			}))
			if !c.unfinished {
				require.NoError(t, r.SetRecord(r.Root, "", listed))
			}
			at := stamp
			if c.touched {
				at = stamp.Add(1)
			}
			require.NoError(t, r.Root.SetTime(at))
			l := k.look()
			k.Made("")
			got, err := l.HasReached(c.asks)
			require.NoError(t, err, name)
			require.Equal(t, c.want, got, name)
			if name == "that stamp" && !o.NoXattrs {
				require.Len(t, k.Calls, 2, "it is asked for again and again")
			}
		}
	}
}

// Nothing is reached while the root cannot be looked at, or has no record at all: the time
// of a directory alone says nothing.
func TestHasReachedNothing(t *testing.T) {
	k, r := simulated(t)
	k.claimed(r)
	l := k.look()
	require.NoError(t, r.Root.SetTime(mtree.Stamp{}))
	got, err := l.HasReached(mtree.Stamp{})
	require.NoError(t, err)
	require.False(t, got)
	k.Refuse("statx copy", unix.EIO, 1)
	got, err = l.HasReached(mtree.Stamp{})
	require.ErrorIs(t, err, unix.EIO)
	require.False(t, got)

	k = newFaulty(t, simkernel.Options{NoXattrs: true}, 0)
	r = k.replica()
	k.claimed(r)
	l = k.look()
	k.Refuse("read status.json", unix.EIO, 1)
	got, err = l.HasReached(mtree.Stamp{})
	require.ErrorIs(t, err, unix.EIO)
	require.False(t, got)
}

// A mirror that does not know yet what it copies has the lock of what is no copy.
func TestIsBeingMade(t *testing.T) {
	k, r := simulated(t)
	open := len(k.Open)
	require.True(t, IsBeingMade("/copy", ""))
	require.False(t, IsBeingMade("/nothing", ""))
	require.False(t, IsBeingMade("/copy", "/nothing"))
	for _, call := range []string{"open lock", "open tree"} {
		k.Refuse(call, unix.EIO, 1)
		require.False(t, IsBeingMade("/copy", ""), call)
	}
	k.claimed(r)
	require.False(t, IsBeingMade("/copy", ""), "it is a copy")
	require.NoError(t, k.Shell.Remove("/copy/.tidemark/tree"))
	require.Len(t, k.Open, open)
	r.Close()
	require.False(t, IsBeingMade("/copy", ""), "nobody keeps it")
}
