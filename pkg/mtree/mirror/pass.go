package mirror

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
)

// pass is one run from the root to the root. It owns queues, counters and nodes:
// all of them belong to the goroutine that calls run. It hands out work, and
// records the results.
type pass struct {
	work    *work
	config  *Config
	rules   *rules
	dest    *replica.Replica
	source  *source.Root // the root's, with which it began
	heed    func(*mtree.Listing) error
	crowded *crowded
	warned  *warned

	start     time.Time
	full      bool   // compare everything, whatever records say
	holdAll   string // why nothing may be deleted; "": it may
	emptyRoot bool   // the source has nothing that the copy's root would keep
	inRoot    int64  // entries of the copy there

	was       replica.HeldList  // what was held before
	wasUnread bool              // that is not known
	release   *replica.HeldList // deletions that may be carried out; nil: none
	holding   []replica.Deletion
	carried   int64            // of these, entries where nothing is known of the source now, but for those held by themselves
	unseen    map[string]*node // where that is: by path, a node or one of its entries
	gate      *replica.Gate

	ready      []*node // complete but for the flush and the stamp, children first
	deleting   []*node // with deletions, which wait for the end
	incomplete []*node // children first
	touched    []touch // changed since the last flush

	uncopied replica.Uncopied // in the directories that were compared
	goneDirs map[string]bool  // what was deleted, if it was a directory

	queue        queue
	running      int // steps
	largeRunning int // of these, for large files
	records      chan func()
	halted       error // why no further step is begun

	result   result
	written  int       // files since the last commit
	lastTime time.Time // of the last commit
	told     time.Time // Progress
	tick     <-chan time.Time
	arriving atomic.Int64 // bytes of files, also of those that are under way
}

// result is what a pass did.
type result struct {
	listed, fetched, bytes   int64
	deleted, held, skipped   int64
	failed, unsettled, moved int64
	made                     int64 // entries under names that were free
	inCopy                   int64 // entries of the copy in the directories seen
	below                    int64 // entries below those of them that the source does not have
	wantFiles, wantBytes     int64
	incomplete               int64       // directories
	retry                    []string    // paths of those that are looked at again
	complete                 bool        // the root carries its stamp
	full                     bool        // it compared everything
	changed                  bool        // something in the copy, be it a mode
	root                     mtree.Stamp // the root's, as listed
	took                     time.Duration
	errs                     []error // the first of each kind
	heldWhy                  string
	noRoom                   error         // the first one of a full disk
	tried                    bool          // it came from the disk
	gate                     *replica.Gate // of --max-delete
}

// newPass makes a pass with the source's root as it was listed.
func (m *mirror) newPass(root *source.Root, full bool) *pass {
	now := time.Now()
	p := &pass{
		config: &m.config, rules: &m.rules, dest: m.dest, source: root, crowded: &m.crowded, warned: &m.warned,
		full: full, start: now, lastTime: now, told: now,
		gate:     m.dest.Gate(m.rules.limit),
		uncopied: replica.Uncopied{}, goneDirs: map[string]bool{}, unseen: map[string]*node{},
		records: make(chan func(), m.config.Jobs),
	}
	p.heed = func(l *mtree.Listing) error { return m.lineage.Listed(root, l) }
	p.work = m.newWork(root)
	p.work.held, p.work.beforeChange = &p.was, p.gate.Begin
	if m.config.Progress != nil {
		p.work.arriving = &p.arriving
	}
	return p
}

// run makes the copy equal to the source as far as that can be done now. Its
// error is what ended it early; paths that failed are in the result.
func (p *pass) run(ctx context.Context) error {
	if p.config.Progress != nil {
		ticker := time.NewTicker(tellEvery)
		defer ticker.Stop()
		p.tick = ticker.C
	}
	root := p.begin()
	err := p.takeSteps(ctx)
	if err == nil {
		err = p.takeOver(ctx)
	}
	if err == nil {
		p.queue.steps, p.queue.last = p.queue.last, nil
		err = p.takeSteps(ctx)
	}
	if err == nil {
		err = p.delete(ctx)
	}
	p.abandonDeletions()
	if !p.config.DryRun {
		if commitErr := p.lastCommit(ctx); err == nil {
			err = commitErr
		}
		p.leaveIncomplete()
	}
	p.sumUp(root, err)
	p.tell(true)
	return err
}

// begin adds the visit of the root, from which all others follow.
func (p *pass) begin() *node {
	root := &node{}
	if p.full {
		root.doubts |= replica.DoubtBelow
	}
	if p.config.DryRun && p.config.Sums {
		root.doubts |= replica.DoubtBytes // else the root's record says so
	}
	p.addVisit(root)
	return root
}

// sumUp completes the result.
func (p *pass) sumUp(root *node, err error) {
	r := &p.result
	r.complete, r.full = err == nil && !root.blocked, p.full
	r.changed, r.gate = root.changed, p.gate
	r.root = root.record.Stamp
	r.took = time.Since(p.start)
	for _, n := range p.incomplete {
		if !n.unreadable {
			r.retry = append(r.retry, n.path)
		}
	}
}

// takeSteps takes steps until none is left, or one halts the pass.
func (p *pass) takeSteps(ctx context.Context) error {
	for {
		for p.halted == nil && p.running < p.config.Jobs {
			t, ok := p.take()
			if !ok {
				break
			}
			p.handOut(ctx, t)
		}
		if p.running == 0 {
			if p.halted != nil {
				p.abandon()
			}
			return p.halted
		}
		record := p.await()
		p.running--
		record()
		if err := ctx.Err(); err != nil {
			p.halt(err)
		}
		p.commitInBetween()
		p.tell(false)
	}
}

// handOut begins a step in a goroutine of its own. The nodes that wait for it are
// done once its result is recorded.
func (p *pass) handOut(ctx context.Context, t task) {
	p.running++
	if t.large {
		p.largeRunning++
	}
	step, records := p.stepOf(t), p.records
	go func() {
		record := step(ctx)
		records <- func() {
			if t.large {
				p.largeRunning--
			}
			record()
			for i := range t.files {
				p.done(t.files[i].n)
			}
		}
	}()
}

// step does a piece of work and returns what records its result. It has what it
// needs by value; only the record touches the pass.
type step func(ctx context.Context) (record func())

// stepOf gives a task to the method of work that does it.
func (p *pass) stepOf(t task) step {
	w, n := p.work, t.files[0].n
	target := n.target
	switch t.kind {
	case visitTask:
		var given *source.Root
		if n.parent == nil {
			given = p.source
		}
		return func(ctx context.Context) func() {
			v := w.visit(ctx, target, given)
			return func() { p.recordVisit(n, v) }
		}
	case deleteTask:
		deletions := n.deletions
		return func(context.Context) func() {
			r := w.delete(target, deletions)
			return func() { p.recordDeletions(n, r) }
		}
	case takeOverTask:
		changes, found := t.files[0].changes, t.found
		return func(ctx context.Context) func() {
			r, rest := w.takeOver(ctx, target, changes, found)
			return func() {
				p.recordFetch(n, r)
				p.addBatches(n, rest)
			}
		}
	}
	groups := make([]fileGroup, len(t.files))
	for i := range t.files {
		groups[i] = t.files[i].group()
	}
	if t.kind == sumTask {
		return func(ctx context.Context) func() {
			results := w.compareSums(ctx, groups)
			return func() {
				for i := range results {
					p.recordSums(t.files[i].n, &results[i])
				}
			}
		}
	}
	return func(ctx context.Context) func() {
		results := w.fetch(ctx, groups)
		return func() {
			for i := range results {
				p.recordFetch(t.files[i].n, &results[i])
			}
		}
	}
}

// await returns the next record, and tells how far the pass is meanwhile.
func (p *pass) await() func() {
	for {
		select {
		case record := <-p.records:
			return record
		case <-p.tick:
			p.tell(false)
		}
	}
}

// abandon gives up the tasks that a halted pass did not begin.
func (p *pass) abandon() {
	p.queue.steps, p.queue.last = append(p.queue.steps, p.queue.last...), nil
	for {
		t, ok := p.take()
		if !ok {
			return
		}
		for i := range t.files {
			n := t.files[i].n
			n.blocked = true
			p.done(n)
		}
	}
}

// halt ends the pass: what is under way ends, nothing is begun.
func (p *pass) halt(err error) {
	if p.halted == nil {
		p.halted = err
	}
}

// done notes the end of a step of n, or of a child, and settles n with the
// last.
func (p *pass) done(n *node) {
	if n.open--; n.open > 0 {
		return
	}
	if n.blocked || !n.visited {
		n.blocked = true
		p.incomplete = append(p.incomplete, n)
	} else {
		p.ready = append(p.ready, n)
	}
	p.settle(n)
}

// settle tells the parent what became of n.
func (p *pass) settle(n *node) {
	up := n.parent
	if up == nil {
		return
	}
	up.changed = up.changed || n.changed
	up.failed = up.failed || n.failed
	if !n.unreadable && (n.blocked || n.record.Stamp != n.listed && !p.source.OtherServer) {
		// What it was completed with is not what the parent lists: the
		// parent's listing is older, or this one came from a cache.
		up.blocked = true
	}
	p.done(up)
}

// fail notes that path could not be made right and leaves n incomplete. What this
// machine's disk does not do is no reason to keep what the source has deleted.
func (p *pass) fail(n *node, path string, err error) {
	n.blocked, n.failed = true, n.failed || !replica.IsLocal(err)
	if errors.Is(err, context.Canceled) {
		return
	}
	p.result.failed++
	p.config.Stats.Failed.Add(1)
	level, remedy := slog.LevelWarn, ""
	if disk.IsFull(err) {
		remedy = replica.MakeRoom
		if p.result.noRoom != nil {
			level = slog.LevelDebug
		}
		p.lacksRoom(err)
	} else if replica.IsLocal(err) {
		remedy = replica.RemedyWriting(err)
	}
	p.config.Log.Log(context.Background(), level, "failed", "path", mtree.QuotePath(path), "error", err)
	code := exit.Failed
	if replica.IsLocal(err) {
		code = exit.Local
	}
	if len(p.result.errs) < 10 {
		p.result.errs = append(p.result.errs, exit.With(code, fmt.Errorf("%s: %w", mtree.QuotePath(path), err), remedy))
	}
}

// tellEvery is how often progress is reported, at most.
const tellEvery = 250 * time.Millisecond

func (p *pass) tell(done bool) {
	if p.config.Progress == nil || !done && time.Since(p.told) < tellEvery/2 {
		return
	}
	p.told = time.Now()
	r := &p.result
	p.config.Progress(Progress{
		Took: time.Since(p.start), Listed: r.listed, Fetched: r.fetched, Bytes: p.arriving.Load(), WantFiles: r.wantFiles, WantBytes: r.wantBytes,
		Deleted: r.deleted, Failed: r.failed, Pending: p.queue.pending() + p.running, Done: done,
	})
}
