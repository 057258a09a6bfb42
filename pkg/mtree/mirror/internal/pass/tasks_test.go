package pass

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/work"
)

// filesOf returns files to fetch with these sizes.
func filesOf(sizes ...int64) (changes []mtree.Change) {
	for i, size := range sizes {
		changes = append(changes, mtree.Change{What: mtree.Absent, Want: &mtree.Entry{Name: letters(i), Kind: mtree.File, Size: size}})
	}
	return changes
}

// many returns n sizes of one byte.
func many(n int) []int64 {
	sizes := make([]int64, n)
	for i := range sizes {
		sizes[i] = 1
	}
	return sizes
}

// taken takes all tasks out, with that many jobs: the numbers of files of their groups, with a
// star for a large file.
func (q *queue) taken(jobs int) string {
	var all []string
	for {
		t, ok := q.take(0, 0, jobs)
		if !ok {
			return strings.Join(all, " ")
		}
		var groups []string
		for i := range t.files {
			groups = append(groups, fmt.Sprint(len(t.files[i].changes)))
		}
		text := strings.Join(groups, "+")
		if t.large {
			text += "*"
		}
		all = append(all, text)
	}
}

// How files become tasks: in batches of a number of files or bytes, and large ones one by one.
// Their directory waits for each group of a batch.
func TestHowFilesBecomeTasks(t *testing.T) {
	for name, c := range map[string]struct {
		sizes []int64
		tasks string
		waits int
	}{
		"none":                   {nil, "", 0},
		"one":                    {many(1), "1", 1},
		"a full batch":           {many(batchFiles), "256", 1},
		"one more":               {many(batchFiles + 1), "256 1", 2},
		"full by its bytes":      {[]int64{batchBytes}, "1", 1},
		"and one more":           {[]int64{batchBytes, 1}, "1 1", 2},
		"too much for one":       {[]int64{3 << 20, 2 << 20}, "1+1", 2},
		"as much as fits":        {[]int64{2 << 20, 2 << 20}, "2", 1},
		"and some more":          {[]int64{2 << 20, 2 << 20, 1}, "2 1", 2},
		"a large one":            {[]int64{batchBytes + 1}, "1*", 1},
		"a large one among them": {[]int64{1, batchBytes + 1, 1}, "2 1*", 2},
		"after much":             {[]int64{3 << 20, 3 << 20, 3 << 20}, "1+1 1", 3},
	} {
		var q queue
		n := &node{}
		q.addFiles(n, filesOf(c.sizes...), 0)
		require.Equal(t, c.waits, n.open, name)
		tasks := q.taken(1)
		require.ElementsMatch(t, strings.Fields(c.tasks), strings.Fields(tasks), name)
	}
	var q queue
	n := &node{}
	q.addLast(n, nil)
	q.deferFiles(n, nil)
	require.Zero(t, n.open+len(q.last)+len(q.deferred))
	q.addLast(n, filesOf(1))
	q.deferFiles(n, filesOf(1, 1))
	require.Equal(t, 2, n.open)
	require.Equal(t, 1, q.pending())
}

// A new directory is filled in the staging directory if all its files come in one batch: of two batches
// the second would take the place of the first.
func TestWhichFilesAreStaged(t *testing.T) {
	for staged, sizes := range map[bool][]int64{true: many(100), false: append([]int64{3 << 20, 2 << 20}, many(100)...)} {
		var q queue
		n := &node{parent: &node{}, entries: len(sizes)}
		n.Fresh = true
		q.addFiles(n, filesOf(sizes...), 0)
		task, ok := q.take(0, 0, 1)
		require.True(t, ok)
		for _, f := range task.files {
			require.Equal(t, staged, f.staged)
		}
	}
}

// Files of several directories share a batch, to fetch as well as to compare.
func TestDirectoriesShareABatch(t *testing.T) {
	var q queue
	nodes := []*node{{}, {}, {}}
	for _, n := range nodes {
		q.addFetch(nodeFiles{n: n, changes: filesOf(many(100)...)})
		q.addSums(nodeFiles{n: n, changes: filesOf(many(100)...)})
		require.Equal(t, 2, n.open)
	}
	require.Equal(t, 2, q.pending(), "two are full")
	require.Equal(t, "100+100+100 100+100+100", q.taken(1))
	q.addSums(nodeFiles{n: nodes[0], changes: filesOf(1)})
	q.addFetch(nodeFiles{n: nodes[0], changes: filesOf(1)})
	require.Zero(t, q.pending())
	first, ok := q.take(0, 0, 1)
	require.True(t, ok)
	require.Equal(t, fetchTask, first.kind)
}

// Large files come when nothing else is left and no other step is under way, the smallest
// first; a quarter of the jobs takes them at any time; and if very many wait, they come first.
func TestWhenLargeFilesCome(t *testing.T) {
	for name, c := range map[string]struct {
		large, steps, running, largeRunning, jobs int
		turn                                      bool
	}{
		"none waits":                  {large: 0, jobs: 8},
		"nothing else":                {large: 1, jobs: 1, turn: true},
		"something else":              {large: 1, steps: 1, jobs: 3},
		"others are under way":        {large: 1, running: 2, largeRunning: 1, jobs: 3},
		"only large ones are":         {large: 1, running: 2, largeRunning: 2, jobs: 3, turn: true},
		"a quarter":                   {large: 1, steps: 1, running: 3, largeRunning: 1, jobs: 8, turn: true},
		"a quarter is under way":      {large: 1, steps: 1, running: 3, largeRunning: 2, jobs: 8},
		"very many":                   {large: mostLarge + 1, steps: 1, running: 3, largeRunning: 2, jobs: 8, turn: true},
		"many, but not yet very many": {large: mostLarge, steps: 1, running: 3, largeRunning: 2, jobs: 8},
	} {
		q := queue{large: make(largeFiles, c.large), steps: make([]task, c.steps)}
		require.Equal(t, c.turn, q.isLargeTurn(c.running, c.largeRunning, c.jobs), name)
	}
	var q queue
	n := &node{}
	changes := filesOf(7*batchBytes, 2*batchBytes, 5*batchBytes, 3*batchBytes, 2*batchBytes)
	changes[1].Have = &mtree.Entry{Name: "have"}
	q.addFiles(n, changes, 0)
	require.Equal(t, 5, n.open)
	require.Equal(t, 5, q.pending())
	for i, size := range []int64{2, 2, 3, 5, 7} {
		task, ok := q.take(i, i, 8)
		require.True(t, ok && task.large)
		require.Equal(t, size*batchBytes, task.files[0].changes[0].Want.Size)
	}
	require.Zero(t, q.pending())
}

// Copies of a few files, which wait without their listing, are what they were.
func TestDetachedFilesAreTheSame(t *testing.T) {
	all := filesOf(1, 2)
	all[0].Have, all[1].Want.Link = &mtree.Entry{Name: "aa", Size: 9, Link: "l"}, "to"
	require.Equal(t, all, detached(all))
}

// Which directories are filled elsewhere: new ones that hold nothing but enough files.
func TestWhichDirectoriesAreStaged(t *testing.T) {
	const enough = 16
	fresh := func(change func(n *node)) *node {
		n := &node{parent: &node{}, entries: enough}
		n.Fresh = true
		change(n)
		return n
	}
	require.True(t, fresh(func(*node) {}).isStaged(enough, 0))
	require.False(t, fresh(func(*node) {}).isStaged(enough-1, 0), "something else is in it")
	require.False(t, fresh(func(n *node) { n.entries++ }).isStaged(enough, 0))
	require.False(t, fresh(func(n *node) { n.Fresh = false }).isStaged(enough, 0))
	require.False(t, fresh(func(n *node) { n.parent = nil }).isStaged(enough, 0))
	require.False(t, fresh(func(n *node) { n.entries-- }).isStaged(enough-1, 0))
}

// What a directory is listed with goes to its node.
func TestWhatADirectoryIsListedWith(t *testing.T) {
	below := []mtree.Change{
		{What: mtree.Absent, Want: &mtree.Entry{Name: "a", Kind: mtree.Dir, Mode: 0o700, Has: mtree.HasMode, MTime: later}},
		{Want: &mtree.Entry{Name: "b", Kind: mtree.Dir}},
	}
	up := &node{Target: work.Target{Path: "up", Nested: true}}
	b := newBrood(up, below, nil, 3, &unfinished{})
	first, second := b.next(), b.next()
	require.Equal(t, &node{Target: work.Target{Path: "up/a", Listed: later, Doubts: 3, Fresh: true, Nested: true}, parent: up, mode: 0o700, hasMode: true}, first)
	require.Equal(t, &node{Target: work.Target{Path: "up/b", Doubts: 3, Nested: true}, parent: up}, second)
	require.Empty(t, b.left)
}
