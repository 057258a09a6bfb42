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
	"tidemark/pkg/mtree/mirror/internal/gate"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"

	"tidemark/pkg/mtree/mirror/internal/work"
)

// pass is one run from the root down and back to the root. It owns queue, counters and
// nodes: they belong to the goroutine that calls run, which hands out work and records
// the results.
type pass struct {
	work     *work.Env
	config   *Config
	rules    *rules
	dest     *replica.Replica
	source   *source.Root // what the source said of its tree when the pass began
	heed     func(*mtree.Listing) error
	warned   *warned
	fullDisk *fullDisk

	start     time.Time
	full      bool   // everything is compared, whatever records say
	holdAll   string // why nothing may be deleted; "": it may
	emptyRoot bool   // the source's root has nothing that a copy has
	inRoot    int64  // number of entries in the copy's root

	was       replica.HeldList  // what was held before
	wasUnread bool              // that is not known
	release   *replica.HeldList // deletions that may be carried out; nil: none
	holding   []replica.Deletion
	carried   int64            // of these, entries where nothing is known of the source now, but for those held by themselves
	unseen    map[string]*node // where that is: by path, a node or one of its entries
	gate      *gate.Gate

	ready      []*node // complete but for the flush and the stamp; children first
	deleting   []*node // with deletions, which wait for the end of the pass
	incomplete []*node // children first
	touched    []touch // what changed since the last flush

	uncopied replica.Uncopied // in the directories that were compared
	goneDirs map[string]bool  // what was deleted, if it was a directory

	queue        queue
	running      int         // steps under way
	largeRunning int         // of these, those that fetch a large file
	records      chan func() // how to record the result of a step that ended
	halted       error       // why no further step begins; nil: steps begin

	result   result
	written  int       // files written since the last commit
	lastTime time.Time // when that was
	reported time.Time // when progress was reported last
	tick     <-chan time.Time
	arriving atomic.Int64 // bytes of files that arrived, also of files under way
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
	noRoom                   error      // the first one of a full disk
	tried                    bool       // it came from the disk
	gate                     *gate.Gate // of --max-delete
}

// newPass makes a pass with the source's root as it was listed.
func (m *mirror) newPass(root *source.Root, full bool) *pass {
	now := time.Now()
	p := &pass{
		config: &m.config, rules: &m.rules, dest: m.dest, source: root, fullDisk: &m.fullDisk,
		full: full, start: now, lastTime: now, reported: now,
		warned: &m.warned, gate: gate.New(m.dest, m.rules.limit),
		uncopied: replica.Uncopied{}, goneDirs: map[string]bool{}, unseen: map[string]*node{},
		records: make(chan func(), m.config.Jobs),
	}
	p.heed = func(l *mtree.Listing) error { return m.lineage.Listed(root, l) }
	p.work = m.newWork(root)
	p.work.Held, p.work.BeforeChange = &p.was, p.gate.Begin
	if m.config.Progress != nil {
		p.work.Arriving = &p.arriving
	}
	return p
}

// run makes the copy equal to the source, as far as that is possible now. Its error is
// what ended it early; the result has the paths that failed.
func (p *pass) run(ctx context.Context) error {
	if p.config.Progress != nil {
		ticker := time.NewTicker(reportEvery)
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
	p.report(true)
	return err
}

// begin adds the visit of the root, from which all other steps follow.
func (p *pass) begin() *node {
	root := &node{}
	if p.full {
		root.Doubts |= replica.DoubtBelow
	}
	if p.config.DryRun && p.config.Sums {
		root.Doubts |= replica.DoubtBytes // unless it is a dry run, the root's record says so
	}
	p.addVisit(root)
	return root
}

// sumUp completes the result.
func (p *pass) sumUp(root *node, err error) {
	r := &p.result
	r.complete, r.full = err == nil && !root.blocked, p.full
	r.changed, r.gate = root.changed, p.gate
	r.root = root.Record.Stamp
	r.took = time.Since(p.start)
	for _, n := range p.incomplete {
		if !n.unreadable {
			r.retry = append(r.retry, n.Path)
		}
	}
}

// takeSteps hands out tasks and records results until nothing is left to do, or until
// the pass is halted.
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
		p.report(false)
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

// step does a piece of work and returns the function that records the result. It has
// what it needs by value; only record touches the pass.
type step func(ctx context.Context) (record func())

// stepOf returns the step that does a task: one method of work.
func (p *pass) stepOf(t task) step {
	w, n := p.work, t.files[0].n
	target := n.Target
	switch t.kind {
	case visitTask:
		var given *source.Root
		if n.parent == nil {
			given = p.source
		}
		return func(ctx context.Context) func() {
			v := w.Visit(ctx, target, given)
			return func() { p.recordVisit(n, v) }
		}
	case deleteTask:
		deletions := n.deletions
		return func(context.Context) func() {
			r := w.Delete(target, deletions)
			return func() { p.recordDeletions(n, r) }
		}
	case takeOverTask:
		changes, found := t.files[0].changes, t.found
		return func(ctx context.Context) func() {
			r, rest := w.TakeOver(ctx, target, changes, found)
			return func() {
				p.recordFetch(n, r)
				p.addFiles(n, rest)
			}
		}
	}
	groups := make([]work.FileGroup, len(t.files))
	for i := range t.files {
		groups[i] = t.files[i].group()
	}
	if t.kind == sumTask {
		return func(ctx context.Context) func() {
			results := w.CompareSums(ctx, groups)
			return func() {
				for i := range results {
					p.recordSums(t.files[i].n, &results[i])
				}
			}
		}
	}
	return func(ctx context.Context) func() {
		results := w.Fetch(ctx, groups)
		return func() {
			for i := range results {
				p.recordFetch(t.files[i].n, &results[i])
			}
		}
	}
}

// await waits for the end of a step and returns what records its result. Meanwhile it
// reports progress.
func (p *pass) await() func() {
	for {
		select {
		case record := <-p.records:
			return record
		case <-p.tick:
			p.report(false)
		}
	}
}

// abandon ends the tasks that a halted pass did not begin: their nodes are incomplete.
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

// halt ends the pass: steps under way end, and no other begins.
func (p *pass) halt(err error) {
	if p.halted == nil {
		p.halted = err
	}
}

// done notes that a step of n or a child of n has ended. With the last of them n is
// ready or incomplete.
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

// settle passes to the parent what became of n.
func (p *pass) settle(n *node) {
	up := n.parent
	if up == nil {
		return
	}
	up.changed = up.changed || n.changed
	up.failed = up.failed || n.failed
	if !n.unreadable && (n.blocked || n.Record.Stamp != n.Listed && !p.source.OtherServer) {
		// Its stamp is not the one that the parent lists: the parent's listing is older,
		// or this one came from a cache.
		up.blocked = true
	}
	p.done(up)
}

// fail notes that path could not be made equal and leaves n incomplete. A failure of
// this machine's disk does not stop deletions: what the source has is known.
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
		p.noteFull(err)
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

// reportEvery is how often progress is reported, at most.
const reportEvery = 250 * time.Millisecond

// report calls Progress, if the last call was long ago or the pass is done.
func (p *pass) report(done bool) {
	if p.config.Progress == nil || !done && time.Since(p.reported) < reportEvery/2 {
		return
	}
	p.reported = time.Now()
	r := &p.result
	p.config.Progress(Progress{
		Took: time.Since(p.start), Listed: r.listed, Fetched: r.fetched, Bytes: p.arriving.Load(), WantFiles: r.wantFiles, WantBytes: r.wantBytes,
		Deleted: r.deleted, Failed: r.failed, Pending: p.queue.pending() + p.running, Done: done,
	})
}
