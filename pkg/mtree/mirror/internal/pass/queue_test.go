package pass

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/mirror/internal/work"
)

// If one file changed among many, it waits for its fetch without the whole listing in
// memory. A directory that waits for its stamp keeps no listing either.
func TestFewChangesHoldNoListing(t *testing.T) {
	l := mtree.Listing{ID: "0123456789abcdef"}
	for i := range 100 {
		l.Entries = append(l.Entries, mtree.Entry{Name: fmt.Sprintf("%0200d", i), Kind: mtree.File})
	}
	text := mtree.FormatListing(l)
	var p pass
	used := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := used()
	for range 1000 {
		l, err := mtree.ParseListing(text)
		require.NoError(t, err)
		n := &node{Target: work.Target{Record: records.Record{Stamp: l.Stamp, Now: l.Now, ID: l.ID}}, entries: len(l.Entries)}
		p.ready = append(p.ready, n)
		e := &l.Entries[7]
		changes := []mtree.Change{{What: mtree.Content, Have: e, Want: e}}
		n.news.addChanges(changes)
		p.queue.addFetch(nodeFiles{n: n, changes: changes})
	}
	require.Less(t, used()-before, int64(4<<20)) // of 36 MB
	require.Equal(t, l.ID, p.ready[0].Record.ID)
	all := []mtree.Change{{What: mtree.Content, Have: &l.Entries[1], Want: &l.Entries[2]}}
	require.Equal(t, l.Entries[2].Name, detached(all)[0].Want.Name)
}

// Each directory that waited for its visit took half a kilobyte and its whole path: a tree
// without an end ten kilobytes for each that was visited, a directory with a million others
// half a gigabyte.
func TestDirectoriesThatWaitTakeLittle(t *testing.T) {
	const count = 20_000
	l := mtree.Listing{}
	for i := range count {
		l.Entries = append(l.Entries, mtree.Entry{Name: fmt.Sprintf("%05d", i), Kind: mtree.Dir})
	}
	below := make([]mtree.Change, count)
	for i := range below {
		below[i] = mtree.Change{What: mtree.Absent, Want: &l.Entries[i]}
	}
	up := &node{Target: work.Target{Path: strings.Repeat("long/", 800) + "end"}}
	var q queue
	runtime.GC()
	var was, is runtime.MemStats
	runtime.ReadMemStats(&was)
	q.addBrood(newBrood(up, below, nil, 0, &unfinished{}))
	runtime.GC()
	runtime.ReadMemStats(&is)
	require.Less(t, int64(is.HeapAlloc)-int64(was.HeapAlloc), int64(count*100))
	require.Equal(t, count, q.pending())
	require.Equal(t, count, up.open)
	for i := range count {
		task, ok := q.take(0, 0, 1)
		require.True(t, ok)
		require.Equal(t, l.Entries[i].Name, mtree.BaseName(task.files[0].n.Path))
	}
	_, ok := q.take(0, 0, 1)
	require.False(t, ok)
}

// A pass that is stopped leaves them without making nodes.
func TestDirectoriesThatWaitAreAbandoned(t *testing.T) {
	e := mtree.Entry{Name: "d", Kind: mtree.Dir}
	below := []mtree.Change{{What: mtree.Absent, Want: &e}, {What: mtree.Absent, Want: &e}}
	for doubts, nodes := range map[replica.Doubts]int{0: 1, replica.DoubtBelow: 3} {
		p := pass{env: &work.Env{Root: &source.Root{}}, options: &Options{Jobs: 1}}
		root := &node{visited: true, open: 1}
		p.queue.addBrood(newBrood(root, below, nil, doubts, &unfinished{}))
		p.abandon()
		require.True(t, root.blocked)
		require.Equal(t, 1, root.open, "it waits for another step")
		p.done(root)
		require.Len(t, p.incomplete, nodes)
		require.Equal(t, int64(3-nodes), p.result.Incomplete)
	}
}

// What was to replace a directory at the end of a pass that failed before does not stay.
func TestAbandonedReplacementsAreRemoved(t *testing.T) {
	bubble(t, "", func(t *testing.T, r *rig) {
		const staged = "/copy/.tidemark/tmp/7"
		require.NoError(t, r.Shell.Write(staged, "new"))
		n := &node{parent: &node{open: 2}, open: 1, deletions: []replica.Deletion{{Staged: "7"}}}
		p := &pass{env: &work.Env{Replica: r.replica}, deleting: []*node{n}}
		p.abandonDeletions()
		require.NotContains(t, r.Shell.Names("/copy/.tidemark/tmp"), "7")
	})
}

// A directory that the source may not read is no reason to look again.
func TestUnreadableDirectoriesAreNotRetried(t *testing.T) {
	p := pass{options: &Options{Memory: &Memory{}}}
	p.incomplete = []*node{{Target: work.Target{Path: "a/denied"}, unreadable: true}, {Target: work.Target{Path: "a"}}}
	p.sumUp(&node{blocked: true}, nil)
	require.Equal(t, []string{"a"}, p.result.Retry)
}

// The number of large files that wait is bounded: if there are more, they come first.
func TestLargeFilesThatWaitAreBounded(t *testing.T) {
	var q queue
	q.steps = make([]task, 1)
	q.large = make(largeFiles, mostLarge)
	require.False(t, q.isLargeTurn(8, 8, 8))
	q.large = append(q.large, task{})
	require.True(t, q.isLargeTurn(8, 8, 8))
}
