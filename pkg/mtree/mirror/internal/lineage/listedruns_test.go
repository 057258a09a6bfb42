package lineage

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/internal/sys"
	"tidemark/pkg/mtree/internal/sys/simkernel"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/wire"
)

// A status remembers the latest run of the source's watch, and the highest stamp that it
// showed.
func TestRunsThatWereListed(t *testing.T) {
	b := made(t, Options{})
	at := func(run string, stamp mtree.Stamp, state wire.State) {
		t.Helper()
		require.NoError(t, b.Listed(rootOf(func(r *source.Root) { r.State, r.Runs = state, runsOf(run) }), &mtree.Listing{Stamp: stamp}, false))
	}
	is := func(run string, top mtree.Stamp) {
		t.Helper()
		require.Equal(t, run, b.replica.Status().SourceRun)
		require.Equal(t, top, *b.replica.Status().SourceTop)
	}
	one, two := "0000000000000001", "0000000000000002"
	is(one, mtree.Unix(100, 0))
	for _, s := range []wire.State{wire.Watched, wire.Auditing, wire.Degraded, wire.Mirrored} {
		top := b.replica.Status().SourceTop.Add(1)
		at(one, top, s)
		is(one, top)
		updated := b.replica.Status().Updated
		at(one, top.Add(-1), s)
		is(one, top)
		require.Equal(t, updated, b.replica.Status().Updated, "nothing was written")
		for _, no := range []wire.State{wire.Audited, wire.Unwatched, wire.Stale, wire.Filling} {
			at(one, top.Add(9), no)
			is(one, top)
		}
	}
	at("", mtree.Unix(200, 0), wire.Watched)
	is(one, mtree.Unix(200, 0))
	at(two, mtree.Unix(50, 0), wire.Watched)
	is(two, mtree.Unix(50, 0))
	at("0000000000000003", mtree.Unix(300, 0), wire.Audited)
	is("0000000000000003", mtree.MinStamp)

	require.NoError(t, b.replica.UpdateStatus(func(s *state.Status) bool { s.SourceTop = nil; return true }))
	at("0000000000000003", mtree.Unix(5, 0), wire.Watched)
	is("0000000000000003", mtree.Unix(5, 0))
	require.NoError(t, b.replica.UpdateStatus(func(s *state.Status) bool { s.SourceRun, s.SourceTop = "", nil; return true }))
	updated := b.replica.Status().Updated
	at("", mtree.Unix(5, 0), wire.Watched)
	require.Nil(t, b.replica.Status().SourceTop, "there are no runs")
	require.Equal(t, updated, b.replica.Status().Updated, "nothing was written")
}

// full is a machine whose disk is full from some time on, or at one write.
type full struct {
	sys.Kernel
	is bool
	at int // the write that fails; 0: none
}

func (k *full) Pwrite(fd int, p []byte, offset int64) (int, error) {
	k.at--
	if k.is || k.at == 0 {
		return 0, unix.ENOSPC
	}
	return k.Kernel.Pwrite(fd, p, offset)
}

// Nothing is taken from a listing whose run could not be noted: after a kill the copy would
// not know that it has what came with that run.
func TestARunThatIsNotNoted(t *testing.T) {
	k := &full{Kernel: simkernel.New(simkernel.Options{}).Start("mirror", 0)}
	t.Cleanup(sys.Simulate(k))
	b := newBench(t, "/copy", Options{}, replica.Options{})
	b.claim(rootOf(same))
	k.is = true
	err := b.Listed(rootOf(func(r *source.Root) { r.Runs = runsOf("000000000000000a") }), &mtree.Listing{}, false)
	require.ErrorIs(t, err, unix.ENOSPC)
	_, err = b.Claim(context.Background(), rootOf(func(r *source.Root) { r.Runs = runsOf("000000000000000a"); r.Tree = source.Tree{} }))
	require.ErrorIs(t, err, unix.ENOSPC)
}

// A claim that fails at any one of its writes says so.
func TestNoWriteOfAClaimFailsUnheard(t *testing.T) {
	k := &full{Kernel: simkernel.New(simkernel.Options{}).Start("mirror", 0)}
	t.Cleanup(sys.Simulate(k))
	b := newBench(t, "/copy", Options{}, replica.Options{})
	b.claim(rootOf(same))
	n, left := 1, 0
	for ; left == 0; n++ {
		k.at = n
		_, err := b.Claim(context.Background(), rootOf(func(r *source.Root) { r.Tree.Epoch += uint64(n) }))
		left = max(k.at, 0)
		require.Equal(t, left == 0, err != nil, "write %d: %v", n, err)
	}
	require.Greater(t, n, 3, "the walk that is due, the tree, its stamps")
}

// The wait for readers of the status is as long as it is asked for.
func TestThePause(t *testing.T) {
	began := time.Now()
	New(Options{}, nowhere{}).pause(20 * time.Millisecond)
	require.GreaterOrEqual(t, time.Since(began), 20*time.Millisecond)
}

func runsOf(id string) []wire.Run {
	if id == "" {
		return nil
	}
	return []wire.Run{{ID: id}}
}

// A source was rolled back if it no longer knows the run that was listed, or ended it below
// what was listed. Another tree, and a source without runs, says nothing of that.
func TestRolledBack(t *testing.T) {
	top := mtree.Unix(100, 0)
	low := top.Add(-1)
	for _, c := range []struct {
		change func(s *state.Status)
		root   func(*source.Root)
		back   bool
	}{
		{nil, same, false},
		{nil, func(r *source.Root) { r.Runs = runsOf("000000000000000a") }, true},
		{nil, func(r *source.Root) {
			r.Runs = append(r.Runs, wire.Run{ID: "000000000000000a"})
			r.Runs[0].Floor = &low
		}, true},
		{nil, func(r *source.Root) {
			r.Runs = append(r.Runs, wire.Run{ID: "000000000000000a"})
			r.Runs[0].Floor = &top
		}, false},
		{nil, func(r *source.Root) { r.Runs = nil }, false},
		{nil, func(r *source.Root) { r.Runs, r.Tree.ID = runsOf("000000000000000a"), theirs }, false},
		{func(s *state.Status) { s.SourceRun = "" }, func(r *source.Root) { r.Runs = runsOf("000000000000000a") }, false},
		{func(s *state.Status) { s.SourceTop = nil }, func(r *source.Root) { r.Runs = runsOf("000000000000000a") }, false},
	} {
		b := made(t, Options{})
		if c.change != nil {
			require.NoError(t, b.replica.UpdateStatus(func(s *state.Status) bool { c.change(s); return true }))
		}
		require.Equal(t, c.back, b.rolledBack(rootOf(c.root)) == replica.DoubtBytes)
		require.Equal(t, !c.back, b.rolledBack(rootOf(c.root)) == 0)
	}
}

// Two copies stood behind one address, and the mirror of one of them stood still: what had come
// since was deleted from the copy of theirs when that one answered, and fetched again when the
// other one did.
func TestAnOlderState(t *testing.T) {
	one, two, other := "0000000000000001", "0000000000000002", "0000000000000009"
	for name, c := range map[string]struct {
		root  func(r *source.Root)
		older bool
	}{
		"as before":                      {root: func(r *source.Root) { r.Runs = runsOf(two) }},
		"later":                          {root: func(r *source.Root) { r.Runs, r.Stamp = runsOf(two), mtree.Unix(300, 0) }},
		"earlier":                        {root: func(r *source.Root) { r.Runs, r.Stamp = runsOf(two), mtree.Unix(150, 0) }, older: true},
		"earlier, and no copy":           {root: func(r *source.Root) { r.Upstreams, r.Runs, r.Stamp = "", runsOf(two), mtree.Unix(150, 0) }},
		"earlier, not complete":          {root: unfinished(150), older: true},
		"the same, not complete":         {root: unfinished(200)},
		"later, not complete":            {root: unfinished(300)},
		"never complete":                 {root: unfinished(0)},
		"not complete, and says nothing": {root: func(r *source.Root) { r.Hot, r.Runs, r.Stamp = true, runsOf(two), mtree.Unix(150, 0) }},
		"earlier, another epoch":         {root: func(r *source.Root) { r.Tree.Epoch, r.Runs, r.Stamp = 6, runsOf(two), mtree.Unix(150, 0) }},
		"another tree":                   {root: func(r *source.Root) { r.Tree.ID, r.Runs, r.Stamp = theirs, runsOf(two), mtree.Unix(150, 0) }},
		"of a run before":                {root: func(r *source.Root) { r.Runs = runsOf(one) }, older: true},
		"rolled back":                    {root: func(r *source.Root) { r.Runs, r.Stamp = runsOf(other), mtree.Unix(150, 0) }},
		"without runs":                   {root: func(r *source.Root) { r.Runs, r.Stamp = nil, mtree.Unix(150, 0) }},
	} {
		b := made(t, Options{})
		seen := rootOf(func(r *source.Root) { r.Upstreams, r.Stamp = "host", mtree.Unix(200, 0) })
		seen.Runs = append(runsOf(one), runsOf(two)...)
		b.claim(seen)
		b.complete()
		require.NoError(t, b.Completed(seen, 0))
		was, top := b.replica.Tree(), *b.replica.Status().SourceTop
		root := rootOf(func(r *source.Root) { r.Upstreams, r.Stamp = "host", mtree.Unix(200, 0); c.root(r) })
		require.Equal(t, c.older, b.isOlder(root), name)
		if !c.older {
			continue
		}
		for range 2 { // it does not lapse
			require.Equal(t, olderState, b.claim(root).HoldAll, name)
			require.NoError(t, b.Listed(root, &mtree.Listing{Stamp: mtree.Unix(150, 0)}, false))
			require.NoError(t, b.Completed(root, 1))
			require.Equal(t, was.Runs, b.replica.Tree().Runs, name)
			require.Equal(t, two, b.replica.Status().SourceRun, name)
			require.Equal(t, top, *b.replica.Status().SourceTop, name)
		}
		require.Empty(t, b.claim(seen).HoldAll, name)
	}
}

// With --no-delete an older lineage may be followed for long, and keeps its epoch. An older state of
// it is one all the same.
func TestAnOlderStateOfAnOlderLineage(t *testing.T) {
	two := "0000000000000002"
	b := made(t, Options{})
	seen := rootOf(func(r *source.Root) { r.Upstreams, r.Stamp, r.Runs = "host", mtree.Unix(200, 0), runsOf(two) })
	b.claim(seen)
	b.complete()
	require.NoError(t, b.Completed(seen, 0))
	b.set(func(t *state.Tree) { t.Epoch, t.Older = 90, t.Epoch })
	require.False(t, b.isOlder(seen))
	seen.Stamp = mtree.Unix(150, 0)
	require.True(t, b.isOlder(seen))
}

// unfinished changes a root to that of a copy which is not complete, and was with the root of
// that second last; 0: never.
func unfinished(sec int64) func(*source.Root) {
	return func(r *source.Root) {
		up := wire.Upstream{Host: "host"}
		if sec > 0 {
			up.Root = mtree.Unix(sec, 0)
		}
		r.Hot, r.Runs, r.Stamp = true, runsOf("0000000000000002"), mtree.Unix(900, 0)
		r.Upstreams = wire.FormatUpstreams([]wire.Upstream{up})
	}
}

// A copy that completes a change shows its directories before the root: these are later than the
// root of which it was complete last, and no reason to hold what it shows.
func TestACopyInMidPassShowsNoOlderState(t *testing.T) {
	b := made(t, Options{})
	two := "0000000000000002"
	seen := rootOf(func(r *source.Root) { r.Upstreams, r.Stamp, r.Runs = "host", mtree.Unix(200, 0), runsOf(two) })
	b.claim(seen)
	b.complete()
	require.NoError(t, b.Completed(seen, 0))
	root := rootOf(func(r *source.Root) { r.State = wire.Mirrored; unfinished(200)(r) })
	require.Empty(t, b.claim(root).HoldAll)
	require.NoError(t, b.Listed(root, &mtree.Listing{Stamp: mtree.Unix(250, 0)}, false))
	require.Equal(t, mtree.Unix(250, 0), *b.replica.Status().SourceTop)
	require.Equal(t, mtree.Unix(200, 0), *b.replica.Status().SourceWhole)
	require.Empty(t, b.claim(root).HoldAll)
}

// A source and its copy answered in turn at one address: the root came from the source, and a
// directory below it from the copy, unfinished, with a time that the kernel had set.
func TestTheTimeOfADirectoryFromElsewhere(t *testing.T) {
	b := made(t, Options{})
	root := rootOf(func(r *source.Root) { r.State, r.Stamp = wire.Watched, mtree.Unix(200, 0) })
	b.claim(root)
	require.NoError(t, b.Listed(root, &mtree.Listing{Stamp: mtree.Unix(900, 0)}, true))
	require.Equal(t, mtree.Unix(200, 0), *b.replica.Status().SourceTop)
	require.NoError(t, b.Listed(root, &mtree.Listing{Stamp: mtree.Unix(900, 0)}, false))
	require.Equal(t, mtree.Unix(900, 0), *b.replica.Status().SourceTop)
}

// In another epoch the clock of the source may be another one: what was seen in the last one says
// nothing.
func TestTheTopOfAnotherEpoch(t *testing.T) {
	b := made(t, Options{})
	b.claim(rootOf(func(r *source.Root) { r.Upstreams, r.Stamp = "host", mtree.Unix(900, 0) }))
	back := rootOf(func(r *source.Root) { r.Upstreams, r.Tree.Epoch, r.Stamp = "host", 6, mtree.Unix(150, 0) })
	require.Empty(t, b.claim(back).HoldAll)
	require.Equal(t, mtree.Unix(150, 0), *b.replica.Status().SourceTop)
	require.Empty(t, b.claim(back).HoldAll)
}

// An older lineage of the source is no other epoch of the copy. Were the highest stamp forgotten then,
// a source that was rolled back below it would not be known as such.
func TestTheTopStaysWithAnOlderLineage(t *testing.T) {
	b := made(t, Options{})
	b.claim(rootOf(func(r *source.Root) { r.Stamp = mtree.Unix(900, 0) }))
	require.NotEmpty(t, b.claim(rootOf(func(r *source.Root) { r.Tree.Epoch, r.Stamp = 4, mtree.Unix(150, 0) })).HoldAll)
	require.Equal(t, mtree.Unix(900, 0), *b.replica.Status().SourceTop)
}

// A source and its copy answered in turn at one address, and somebody set the time of a directory
// of the source to an hour ahead. It was listed before its watch heard of that, and counted as a
// stamp: where only the copy was left, it was older than that for an hour or for good, and all
// deletions were held. So they were if the copy had copied that time meanwhile.
func TestATimeOfTheFutureIsNoState(t *testing.T) {
	b := made(t, Options{})
	two, now := "0000000000000002", mtree.Unix(200, 0)
	seen := rootOf(func(r *source.Root) { r.State, r.Stamp, r.Runs = wire.Watched, now.Add(-2), runsOf(two) })
	b.claim(seen)
	b.complete()
	require.NoError(t, b.Listed(seen, &mtree.Listing{Stamp: now.Add(-1), Now: now, HasNow: true}, false))
	require.NoError(t, b.Listed(seen, &mtree.Listing{Stamp: now.Add(time.Hour), Now: now, HasNow: true}, false))
	require.NoError(t, b.Completed(seen, 0))
	require.Equal(t, now.Add(time.Hour), *b.replica.Status().SourceTop, "a roll-back may be seen by it")
	of := func(at mtree.Stamp) *source.Root {
		return rootOf(func(r *source.Root) { r.Upstreams, r.State, r.Stamp, r.Runs = "host", wire.Mirrored, at, runsOf(two) })
	}
	require.Equal(t, olderState, b.claim(of(now.Add(-2))).HoldAll)
	require.Empty(t, b.claim(of(now.Add(-1))).HoldAll)
	require.NoError(t, b.Listed(of(now.Add(-1)), &mtree.Listing{Stamp: now.Add(1), Now: now, HasNow: true}, false))
	require.Equal(t, olderState, b.claim(of(now)).HoldAll, "the clock of a copy may be behind")
	require.Empty(t, b.claim(of(now.Add(1))).HoldAll)
	ahead := b.replica.Now().Add(time.Hour)
	require.NoError(t, b.Listed(of(now.Add(1)), &mtree.Listing{Stamp: ahead, Now: now, HasNow: true}, false))
	require.Empty(t, b.claim(of(now.Add(1))).HoldAll)
	require.NoError(t, b.Listed(of(now.Add(1)), &mtree.Listing{Stamp: ahead, Now: ahead, HasNow: true}, false))
	require.Equal(t, olderState, b.claim(of(now.Add(1))).HoldAll, "our clock may be behind")
}
