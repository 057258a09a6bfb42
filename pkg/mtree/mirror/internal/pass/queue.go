package pass

import (
	"container/heap"
	"slices"
	"strings"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/fetch"
	"tidemark/pkg/mtree/mirror/internal/work"
)

// queue is the tasks of a pass that wait.
//
// Files are fetched in the order of their sizes, as far as these are known. Small
// files are put into batches as they are found. Large ones, which are larger than a
// batch, come when there is nothing else to do, the smallest first. But a quarter of
// the jobs takes large files at any time, so that no slow stream is left for the end;
// with fewer than four jobs none does.
type queue struct {
	steps    []task // taken from the end
	fetches  batch  // small files to fetch
	sums     batch  // files to compare by their sums
	links    batch  // files to link to other names
	large    largeFiles
	last     []task      // files of --last: taken when everything else is done
	deferred []nodeFiles // files that may be in the copy under a name that is deleted; they wait until all deletions are known
	counts   queueCounts
}

// queueCounts says how much of a pass waits or is under way, for progress.
type queueCounts struct {
	visits                     int   // directories
	waitingFiles, waitingBytes int64 // files to fetch, or to compare by their sums
	settledFiles, settledBytes int64 // such files of steps that ended, whatever came of them
}

// pending counts the tasks that wait. Files in batches and deferred files are not
// counted.
func (q *queue) pending() int {
	waiting := len(q.steps) + len(q.large) + len(q.last)
	for i := range q.steps {
		if b := q.steps[i].brood; b != nil {
			waiting += len(b.left) - 1
		}
	}
	return waiting
}

// task is a step and the nodes that wait for it.
type task struct {
	kind  taskKind
	files []nodeFiles        // at least one, but none with a brood; of a visit and of deletions one without files
	brood *brood             // the directories of visits; nil: there is one, or none. take returns no such task
	found *work.LeavingFiles // of takeOverTask
	large bool               // it fetches one large file
}

// taskKind says which step a task is.
type taskKind uint8

const (
	visitTask taskKind = iota
	fetchTask
	sumTask
	takeOverTask
	deleteTask
	linkTask
)

// nodeFiles is files of a node to fetch, or to compare by their sums.
type nodeFiles struct {
	n       *node
	changes []mtree.Change
	staged  bool  // the directory is filled in the staging directory
	last    bool  // they are of --last: what they speak of may have come after the rest was listed
	bytes   int64 // of the files, as they were listed when they were added
}

// wait counts files that wait from now on.
func (q *queue) wait(f *nodeFiles) {
	f.bytes = 0
	for i := range f.changes {
		f.bytes += max(0, f.changes[i].Want.Size)
	}
	q.counts.waitingFiles += int64(len(f.changes))
	q.counts.waitingBytes += f.bytes
}

// settle counts a task that ended.
func (q *queue) settle(t *task) {
	if t.kind == visitTask {
		q.counts.visits--
	}
	for i := range t.files {
		f := &t.files[i]
		q.counts.waitingFiles -= int64(len(f.changes))
		q.counts.waitingBytes -= f.bytes
		q.counts.settledFiles += int64(len(f.changes))
		q.counts.settledBytes += f.bytes
	}
}

// leading has the names of files that wait until another name was fetched, by the Same of those.
type leading map[uint64][]nodeFiles

// group returns the files as a step gets them.
func (f *nodeFiles) group() fetch.Group {
	completes := !f.n.blocked && !f.last // guard (!f.n.blocked && !f.last -> true): TestWhatElseIsNotConfirmed
	return fetch.Group{Target: f.n.ToChange(), Changes: f.changes, Staged: f.staged, Completes: completes, Approx: f.n.approx}
}

// batch gathers files of several directories for one request. If one file changed in
// each of a thousand directories, a request for each file would take most of the time.
type batch struct {
	files []nodeFiles
	count int
	bytes int64
}

// A batch is full with this many files or bytes, whichever comes first.
const (
	batchFiles = 256
	batchBytes = 4 << 20
)

// fewOfMany says what a few files are: less than a listing's entries divided by it. They
// are copied before they wait, because each would keep the whole listing in memory: 22 KB
// for one file among a hundred.
const fewOfMany = 4

// detached returns copies of the changes that share no memory with their listing.
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

// addFetch adds small files to fetch. Their node waits for them.
func (q *queue) addFetch(f nodeFiles) {
	f.n.open++
	q.wait(&f)
	if q.fetches.add(f) {
		q.flush(&q.fetches, fetchTask)
	}
}

// addSums adds files to compare by their sums. Their node waits for them.
func (q *queue) addSums(f nodeFiles) {
	f.n.open++
	q.wait(&f)
	if q.sums.add(f) {
		q.flush(&q.sums, sumTask)
	}
}

// addLinks adds files to link to other names of theirs. Their node waits for them.
func (q *queue) addLinks(f nodeFiles) {
	f.n.open++
	q.wait(&f)
	if q.links.add(f) {
		q.flush(&q.links, linkTask)
	}
}

// flush makes a task of the files in a batch.
func (q *queue) flush(b *batch, kind taskKind) {
	if len(b.files) > 0 {
		q.steps = append(q.steps, task{kind: kind, files: b.files})
		*b = batch{}
	}
}

// visitOf returns the task to visit a new node.
func visitOf(n *node) task {
	n.open++
	return task{kind: visitTask, files: []nodeFiles{{n: n}}}
}

// addVisit adds the visit of the root.
func (q *queue) addVisit(root *node) {
	q.counts.visits++
	q.steps = append(q.steps, visitOf(root))
}

// addBrood adds the visits of directories below a node, which waits for them.
func (q *queue) addBrood(b *brood) {
	if len(b.left) > 0 {
		b.up.open += len(b.left)
		q.counts.visits += len(b.left)
		q.steps = append(q.steps, task{kind: visitTask, brood: b})
	}
}

// take returns the next task: the one that was added last, or else the files in a
// batch, or else a large file. It returns false if there is none. running steps are
// under way, largeRunning of them for large files, and jobs may be at once.
func (q *queue) take(running, largeRunning, jobs int) (task, bool) {
	if len(q.steps) == 0 {
		q.flush(&q.sums, sumTask)
		q.flush(&q.fetches, fetchTask)
		q.flush(&q.links, linkTask)
	}
	if q.isLargeTurn(running, largeRunning, jobs) {
		return heap.Pop(&q.large).(task), true
	}
	n := len(q.steps)
	if n == 0 {
		return task{}, false
	}
	t := q.steps[n-1]
	if b := t.brood; b != nil {
		t = visitOf(b.next())
		if len(b.left) > 0 {
			return t, true
		}
	}
	q.steps[n-1] = task{}
	q.steps = q.steps[:n-1]
	return t, true
}

// addFiles adds files to fetch: small ones to batches, at most a full batch at a time,
// and each large one as a task of its own. following more files of n get there by links, afterwards. It
// reports whether the directory is filled in the staging directory.
func (q *queue) addFiles(n *node, changes []mtree.Change, following int) (isStaged bool) {
	changes = slices.DeleteFunc(changes, func(c mtree.Change) bool {
		if c.Want.Size > batchBytes {
			q.addLarge(n, c)
		}
		return c.Want.Size > batchBytes
	})
	from, bytes := 0, int64(0)
	for i := range changes {
		if i-from == batchFiles || bytes+changes[i].Want.Size > batchBytes {
			q.addFetch(nodeFiles{n: n, changes: changes[from:i]})
			from, bytes = i, 0
		}
		bytes += changes[i].Want.Size
	}
	if from < len(changes) {
		isStaged = from == 0 && n.isStaged(len(changes), following)
		q.addFetch(nodeFiles{n: n, changes: changes[from:], staged: isStaged})
	}
	return isStaged
}

// addLast adds files that are fetched after everything else. n waits for them.
func (q *queue) addLast(n *node, changes []mtree.Change) {
	if len(changes) > 0 {
		n.open++
		f := nodeFiles{n: n, changes: changes, last: true}
		q.wait(&f)
		q.last = append(q.last, task{kind: fetchTask, files: []nodeFiles{f}})
	}
}

// deferFiles adds files that may be in the copy under another name. n waits for them.
func (q *queue) deferFiles(n *node, changes []mtree.Change) {
	if len(changes) > 0 {
		n.open++
		f := nodeFiles{n: n, changes: changes}
		q.wait(&f)
		q.deferred = append(q.deferred, f)
	}
}
