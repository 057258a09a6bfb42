package mirror

import (
	"container/heap"
	"slices"
	"strings"

	"tidemark/pkg/mtree"
)

// Files are fetched in the order of their sizes, as far as they are known: small
// ones in batches as they are found, and those larger than a batch, the smallest
// first, when nothing else is to do. Meanwhile a quarter of the jobs begins with
// the large ones, so that a slow stream is not left for the end; with few jobs
// none does.

// queue is the tasks of a pass that wait.
type queue struct {
	steps    []task // taken from the end
	fetches  batch  // small files that wait for company
	sums     batch
	large    largeFiles
	last     []task      // --last: taken when all else is done
	deferred []nodeFiles // files that may be in the copy under a name that goes; they wait until those names are known
}

// pending counts the tasks that wait, but for what is not put into batches yet.
func (q *queue) pending() int { return len(q.steps) + len(q.large) + len(q.last) }

// task is a step and the nodes that wait for it.
type task struct {
	kind  taskKind
	files []nodeFiles // at least one; of a visit and of deletions one without files
	found *finds      // of takeOverTask
	large bool        // it fetches one large file
}

type taskKind uint8

const (
	visitTask taskKind = iota
	fetchTask
	sumTask
	takeOverTask
	deleteTask
)

// nodeFiles is files of the directory of a node that are to be fetched, or compared
// by sums.
type nodeFiles struct {
	n       *node
	changes []mtree.Change
	aside   bool // the directory is to be filled aside
}

// group is what the step of such files is given.
func (f *nodeFiles) group() fileGroup {
	return fileGroup{target: f.n.target, changes: f.changes, aside: f.aside, approx: f.n.approx}
}

// batch gathers files of several directories for one request: where one file
// changed in each of a thousand directories, a request for each would take most
// of the time.
type batch struct {
	files []nodeFiles
	count int
	bytes int64
}

// A batch is full with this many files or bytes, whichever comes first.
const (
	batchFiles = 128
	batchBytes = 4 << 20
)

// fewOfMany is from which share of a listing on its changes are kept without it:
// one file that changed among a hundred would hold 22 KB.
const fewOfMany = 4

// detached returns the changes in memory of their own.
func detached(changes []mtree.Change) []mtree.Change {
	out := make([]mtree.Change, len(changes))
	for i, c := range changes {
		want := *c.Want
		want.Name, want.Link = strings.Clone(want.Name), strings.Clone(want.Link)
		out[i] = mtree.Change{What: c.What, Want: &want}
		if c.Have != nil {
			have := *c.Have
			have.Name, have.Link = want.Name, strings.Clone(have.Link)
			out[i].Have = &have
		}
	}
	return out
}

// add adds files to a batch and reports whether it is full.
func (b *batch) add(f nodeFiles) (full bool) {
	if len(f.changes) < f.n.entries/fewOfMany {
		f.changes = detached(f.changes)
	}
	b.files = append(b.files, f)
	b.count += len(f.changes)
	for i := range f.changes {
		b.bytes += f.changes[i].Want.Size
	}
	return b.count >= batchFiles || b.bytes >= batchBytes
}

// addFetch adds small files to fetch. They keep their node open.
func (q *queue) addFetch(f nodeFiles) {
	f.n.open++
	if q.fetches.add(f) {
		q.flush(&q.fetches, fetchTask)
	}
}

// addSums adds files to compare by their sums. They keep their node open.
func (q *queue) addSums(f nodeFiles) {
	f.n.open++
	if q.sums.add(f) {
		q.flush(&q.sums, sumTask)
	}
}

// flush makes a task of what a batch holds.
func (q *queue) flush(b *batch, kind taskKind) {
	if len(b.files) > 0 {
		q.steps = append(q.steps, task{kind: kind, files: b.files})
		*b = batch{}
	}
}

// addVisit adds the visit of a new node.
func (p *pass) addVisit(n *node) {
	n.open++
	p.queue.steps = append(p.queue.steps, task{kind: visitTask, files: []nodeFiles{{n: n}}})
}

// take returns the task added last, or what a batch holds, or a large file, if there
// is any.
func (p *pass) take() (task, bool) {
	q := &p.queue
	if len(q.steps) == 0 {
		q.flush(&q.sums, sumTask)
		q.flush(&q.fetches, fetchTask)
	}
	if p.isLargeTurn() {
		return heap.Pop(&q.large).(task), true
	}
	n := len(q.steps)
	if n == 0 {
		return task{}, false
	}
	t := q.steps[n-1]
	q.steps[n-1] = task{}
	q.steps = q.steps[:n-1]
	return t, true
}

// addBatches adds files to fetch, a full batch at a time, and the larger ones each by
// itself.
func (p *pass) addBatches(n *node, changes []mtree.Change) {
	changes = slices.DeleteFunc(changes, func(c mtree.Change) bool {
		if c.Want.Size > batchBytes {
			p.queue.addLarge(n, c)
		}
		return c.Want.Size > batchBytes
	})
	from, bytes := 0, int64(0)
	for i := range changes {
		if i-from == batchFiles || i > from && bytes+changes[i].Want.Size > batchBytes {
			p.queue.addFetch(nodeFiles{n: n, changes: changes[from:i]})
			from, bytes = i, 0
		}
		bytes += changes[i].Want.Size
	}
	if from < len(changes) {
		p.queue.addFetch(nodeFiles{n, changes[from:], from == 0 && n.fillsAside(len(changes))})
	}
}

// addLast adds files that are fetched after everything else.
func (q *queue) addLast(n *node, changes []mtree.Change) {
	if len(changes) > 0 {
		n.open++
		q.last = append(q.last, task{kind: fetchTask, files: []nodeFiles{{n: n, changes: changes}}})
	}
}

// deferFiles keeps files back that may be in the copy under another name; they keep
// n open.
func (q *queue) deferFiles(n *node, changes []mtree.Change) {
	if len(changes) > 0 {
		n.open++
		q.deferred = append(q.deferred, nodeFiles{n: n, changes: changes})
	}
}
