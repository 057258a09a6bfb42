package pass

import (
	"container/heap"

	"tidemark/pkg/mtree"
)

// largeFiles are tasks that each fetch one file larger than a batch. It is a
// container/heap with the smallest file first.
type largeFiles []task

func (l largeFiles) size(i int) int64   { return l[i].files[0].changes[0].Want.Size }
func (l largeFiles) Len() int           { return len(l) }
func (l largeFiles) Less(i, j int) bool { return l.size(i) < l.size(j) }
func (l largeFiles) Swap(i, j int)      { l[i], l[j] = l[j], l[i] }
func (l *largeFiles) Push(t any)        { *l = append(*l, t.(task)) }

func (l *largeFiles) Pop() any {
	last := len(*l) - 1
	t := (*l)[last]
	(*l)[last] = task{}
	*l = (*l)[:last]
	return t
}

// mostLarge is how many large files may wait. Each takes half a kilobyte of memory, so if
// there are more, they come first.
const mostLarge = 10_000

// addLarge adds a large file. n waits for it.
func (q *queue) addLarge(n *node, c mtree.Change) {
	want := *c.Want // without the whole listing
	c.Want = &want
	if c.Have != nil {
		have := *c.Have
		c.Have = &have
	}
	n.open++
	f := nodeFiles{n: n, changes: []mtree.Change{c}}
	q.wait(&f)
	heap.Push(&q.large, task{kind: fetchTask, files: []nodeFiles{f}, large: true})
}

// isLargeTurn reports whether it is a large file's turn.
func (q *queue) isLargeTurn(running, largeRunning, jobs int) bool {
	switch waiting := len(q.large); {
	case waiting == 0:
		return false
	case len(q.steps) == 0 && running == largeRunning, waiting > mostLarge:
		return true
	}
	return largeRunning < jobs/4
}
