package replica

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/state"
)

// held writes a list, and returns it as it is read.
func (k *faulty) held(r *Replica, all ...Deletion) *HeldList {
	require.NoError(k.t, r.SetHeld(&HeldList{Entries: all}))
	l, err := r.Held()
	require.NoError(k.t, err)
	return &l
}

// A release deletes what has not changed since it was held, and no more. What changed is no
// longer held, what cannot be deleted is.
func TestARelease(t *testing.T) {
	const why = "too many"
	for name, c := range map[string]struct {
		path    string
		change  func(k *faulty)
		fails   string // the call that fails
		deleted int64
		kept    bool
		says    string
	}{
		"as it was":            {path: "d", deleted: 3},
		"in a directory":       {path: "d/e", deleted: 1},
		"a file":               {path: "f", deleted: 1},
		"it is gone":           {path: "f", change: func(k *faulty) { _ = k.Shell.Remove("/copy/f") }, says: "changed since"},
		"all above it is gone": {path: "d/e", change: func(k *faulty) { _ = k.Shell.Remove("/copy/d") }, says: "changed since"},
		"one entry more":       {path: "d", change: func(k *faulty) { k.tree("d/e/n"); _ = k.Shell.Touch("/copy/d", time.Unix(5, 0), false) }, says: "changed since"},
		"a tree since":         {path: "t", change: func(k *faulty) { k.tree("t/.tidemark/"); _ = k.Shell.Touch("/copy/t", time.Unix(5, 0), false) }, says: "changed since"},
		"no look above":        {path: "d/e", fails: "open d", kept: true},
		"no look at it":        {path: "f", fails: "statx f", kept: true},
		"no look into it":      {path: "d", fails: "open d", kept: true},
		"not begun":            {path: "f", fails: "setxattr copy", kept: true},
		"not deleted":          {path: "f", fails: "unlink f", kept: true},
		"no new time":          {path: "f", fails: "utimes copy", kept: true},
	} {
		k, r := simulated(t)
		k.tree("d/", "d/a", "d/e/", "f", "t/")
		for _, path := range []string{"", "d"} {
			require.NoError(t, r.SetRecord(k.dir(r, path), path, listed))
		}
		_ = k.Shell.Touch("/copy/d", time.Unix(5, 0), false)
		_ = k.Shell.Touch("/copy/t", time.Unix(5, 0), false)
		require.NoError(t, k.dir(r, "").SetTime(listed.Stamp))
		_, d, _ := k.measured(r, c.path)
		d.Why = why
		was := k.names("")
		l := k.held(r, d)
		if c.change != nil {
			c.change(k)
			was = k.names("")
		}
		if c.fails != "" {
			k.Refuse(c.fails, unix.EIO, -1)
		}
		k.log.Reset()
		var done []Deletion
		deleted, kept, err := r.Release(l, func(d *Deletion) { done = append(done, *d) })
		k.Fail = nil
		if went := c.deleted > 0 || c.fails == "utimes copy"; went {
			require.Len(t, done, 1, name)
			require.Equal(t, c.path, done[0].Path)
			require.False(t, done[0].Stays)
		} else {
			require.Empty(t, done, name)
		}
		require.Equal(t, c.deleted, deleted, name)
		require.Equal(t, c.kept, err != nil, "%s: %v", name, err)
		now, heldErr := r.Held()
		require.NoError(t, heldErr)
		require.Equal(t, now.Entries, kept.Entries, name)
		if c.kept {
			require.ErrorIs(t, err, unix.EIO, name)
			require.ErrorContains(t, err, c.path)
			require.Equal(t, []Deletion{d}, kept.Entries, name)
		} else {
			require.Empty(t, kept.Entries)
		}
		require.Equal(t, c.says != "", k.log.Len() > 0, "%s: %s", name, &k.log)
		require.Contains(t, k.log.String(), c.says)
		if c.deleted == 0 && c.fails != "utimes copy" {
			require.Equal(t, was, k.names(""), name)
			continue
		}
		require.NotContains(t, k.names(""), "/"+c.path)
		record, _ := k.record(r, mtree.ParentPath(c.path))
		_, begun := DoubtsOf(record)
		require.True(t, begun, "%s: the directory is not complete", name)
	}
}

// A directory stays, when it is released, for what filters exclude in it.
func TestAReleaseThatLeavesSomething(t *testing.T) {
	k, r := simulated(t)
	k.tree("d/", "d/a", "d/x")
	r.Filters = excluded(t, "- x")
	_, d, stays := k.measured(r, "d")
	require.True(t, stays)
	told := false
	deleted, _, err := r.Release(k.held(r, d), func(d *Deletion) { told = d.Stays })
	require.NoError(t, err)
	require.EqualValues(t, 1, deleted)
	require.True(t, told)
	require.Equal(t, []string{"/d", "/d/x"}, k.names(""))
}

// A tree of somebody else goes only if its deletion was held for that reason.
func TestAReleasedTree(t *testing.T) {
	for why, deleted := range map[string]int64{WhyTree: 2, "too many": 0} {
		k, r := simulated(t)
		k.tree("d/", "d/.tidemark/", "d/a")
		_, d, _ := k.measured(r, "d")
		d.Why = why
		got, _, err := r.Release(k.held(r, d), func(*Deletion) {})
		require.NoError(t, err)
		require.Equal(t, deleted, got, why)
	}
}

// The status counts what a release deleted and what it left. The guard of --max-delete
// forgets its own hold when nothing is held for it any more.
func TestWhatAReleaseLeaves(t *testing.T) {
	other := func(why string) Deletion { return Deletion{Path: "x", Kind: mtree.File, Entries: 4, Why: why} }
	for _, c := range []struct {
		kept []Deletion
		ends bool
	}{
		{nil, true},
		{[]Deletion{other(WhyTree)}, true},
		{[]Deletion{other(WhyEmptied), other(WhyTree)}, true},
		{[]Deletion{other("too many")}, false},
		{[]Deletion{other(WhyTree), other("too many")}, false},
	} {
		for _, entries := range []int64{-1, 0, 2, 100} {
			_, r := simulated(t)
			require.NoError(t, r.UpdateStatus(func(s *state.Status) bool {
				s.Deletions = &state.Deletions{Base: 9, Recent: [][2]int64{{1, 2}}, Shut: true}
				if entries >= 0 {
					s.Counters = Counters{Entries: entries, Held: 77, Walked: 5}.fields()
				}
				return true
			}))
			kept := &HeldList{Entries: c.kept}
			require.NoError(t, r.storeReleased(kept, 3))
			s, err := r.marker.ReadStatus()
			require.NoError(t, err)
			require.EqualValues(t, 9, s.Deletions.Base)
			require.Equal(t, !c.ends, s.Deletions.Shut)
			require.Equal(t, c.ends, s.Deletions.Recent == nil)
			if entries < 0 {
				require.Empty(t, s.Counters)
			} else {
				require.Equal(t, Counters{Entries: max(entries-3, 0), Held: kept.Total(), Walked: 5}, CountersOf(&s))
			}
			held, err := r.Held()
			require.NoError(t, err)
			require.Equal(t, c.kept, held.Entries)
		}
	}
	k, r := simulated(t)
	require.NoError(t, r.storeReleased(&HeldList{}, 0), "a status without a guard")
	for _, call := range []string{"write status.json", "rename held"} {
		k.Refuse(call, unix.EIO, 1)
		require.ErrorIs(t, r.storeReleased(&HeldList{Entries: []Deletion{other("")}}, 0), unix.EIO, call)
	}
	k.Refuse("write status.json", unix.EIO, 1)
	_, _, err := r.Release(&HeldList{}, nil)
	require.ErrorIs(t, err, unix.EIO)
}
