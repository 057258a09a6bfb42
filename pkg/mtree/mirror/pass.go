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
)

// step does a piece of a pass's work in a goroutine of its own and returns what
// the owner has to note of it. It touches nothing of the pass.
type step func(ctx context.Context) (note func())

// task is a step and the nodes that wait for it.
type task struct {
	nodes []*node
	step  step
	big   bool // it fetches one large file
}

// pass is one run from the root to the root. All its state belongs to the
// goroutine that calls run.
type pass struct {
	*mirror
	start     time.Time
	source    answer // the root's, with which it began
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

	ready    []*node    // complete but for the flush and the stamp, children first
	large    []deferred // files that may be in the copy under a name that goes
	deleting []*node    // with deletions, which wait for the end
	behind   []*node    // given up, children first
	touched  []touch    // changed since the last flush

	uncopied replica.Uncopied // in the directories that were compared
	goneDirs map[string]bool  // what was deleted, if it was a directory

	steps      []task // taken from the end
	fetches    pool   // small ones that wait for company
	checks     pool
	big        []bigFile // a heap, the smallest first
	last       []task    // --last: taken when all else is done
	running    int       // steps
	bigRunning int       // of these, large files
	notes      chan func()
	halted     error // why no further step is begun

	result
	written  int       // files since the last commit
	lastTime time.Time // of the last commit
	told     time.Time // Progress
	tick     <-chan time.Time
	arrived  atomic.Int64 // bytes of files, also of those that are under way
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
	complete                 bool        // the root carries its stamp
	changed                  bool        // something in the copy, be it a mode
	root                     mtree.Stamp // the root's, as listed
	took                     time.Duration
	errs                     []error // the first of each kind
	heldWhy                  string
	noRoom                   error // the first one of a full disk
	tried                    bool  // it came from the disk
}

func (m *mirror) newPass(root answer, full bool) *pass {
	now := time.Now()
	return &pass{
		mirror: m, source: root, full: full, start: now, lastTime: now, told: now,
		gate:     m.dest.Gate(m.rules.limit),
		uncopied: replica.Uncopied{}, goneDirs: map[string]bool{}, unseen: map[string]*node{},
		notes: make(chan func(), m.config.Jobs),
	}
}

// run makes the copy equal to the source as far as that can be done now. Its
// error is what ended it early; paths that failed are in the result.
func (p *pass) run(ctx context.Context) error {
	if p.config.Progress != nil {
		ticker := time.NewTicker(tellEvery)
		defer ticker.Stop()
		p.tick = ticker.C
	}
	root := &node{deep: p.full}
	if p.config.DryRun && p.config.Sums {
		root.more = replica.DoubtBytes // else the root's record says so
	}
	p.add(root, p.visit(root, &p.source))
	err := p.work(ctx)
	if err == nil {
		err = p.takeOver(ctx)
	}
	if err == nil {
		p.steps, p.last = p.last, nil
		err = p.work(ctx)
	}
	if err == nil {
		err = p.delete(ctx)
	}
	p.abandonDeletions()
	if !p.config.DryRun {
		if commitErr := p.lastCommit(ctx); err == nil {
			err = commitErr
		}
		p.leaveBehind()
	}
	p.complete = err == nil && !root.blocked
	p.changed = root.changed
	p.root = root.record.Stamp
	p.took = time.Since(p.start)
	p.tell(true)
	return err
}

// add begins a step that belongs to n.
func (p *pass) add(n *node, s step) {
	n.open++
	p.steps = append(p.steps, task{nodes: []*node{n}, step: s})
}

// work takes steps until none is left, or one halts the pass.
func (p *pass) work(ctx context.Context) error {
	for {
		for p.halted == nil && p.running < p.config.Jobs {
			t, ok := p.take()
			if !ok {
				break
			}
			p.running++
			if t.big {
				p.bigRunning++
			}
			go func() {
				note := t.step(ctx)
				p.notes <- func() {
					if t.big {
						p.bigRunning--
					}
					note()
					for _, n := range t.nodes {
						p.done(n)
					}
				}
			}()
		}
		if p.running == 0 {
			if p.halted != nil {
				p.abandon()
			}
			return p.halted
		}
		note := p.await()
		p.running--
		note()
		if err := ctx.Err(); err != nil {
			p.halt(err)
		}
		p.commitInBetween()
		p.tell(false)
	}
}

// await returns the next note, and tells how far the pass is meanwhile.
func (p *pass) await() func() {
	for {
		select {
		case note := <-p.notes:
			return note
		case <-p.tick:
			p.tell(false)
		}
	}
}

// take returns the task added last, or what was packed, or a large file, if there
// is any.
func (p *pass) take() (task, bool) {
	if len(p.steps) == 0 {
		p.ship()
	}
	if p.mayBegin() {
		return p.smallest(), true
	}
	n := len(p.steps)
	if n == 0 {
		return task{}, false
	}
	t := p.steps[n-1]
	p.steps[n-1] = task{}
	p.steps = p.steps[:n-1]
	return t, true
}

// abandon gives up the tasks that a halted pass did not begin.
func (p *pass) abandon() {
	p.steps, p.last = append(p.steps, p.last...), nil
	for {
		t, ok := p.take()
		if !ok {
			return
		}
		for _, n := range t.nodes {
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
	if n.blocked || !n.listed {
		n.blocked = true
		p.behind = append(p.behind, n)
	} else {
		p.ready = append(p.ready, n)
	}
	p.settle(n)
}

// addDeletions notes deletions in n; they keep it open until delete comes to them.
func (p *pass) addDeletions(n *node, some []replica.Deletion) {
	if len(some) == 0 {
		return
	}
	for i := range some {
		p.below += some[i].Entries - 1
	}
	n.deletions = append(n.deletions, some...)
	if !n.waits {
		n.waits = true
		n.open++
		p.deleting = append(p.deleting, n)
	}
}

// settle tells the parent what became of n.
func (p *pass) settle(n *node) {
	up := n.parent
	if up == nil {
		return
	}
	up.changed = up.changed || n.changed
	up.failed = up.failed || n.failed
	if !n.passed && (n.blocked || n.record.Stamp != n.want.MTime && !p.source.foreign) {
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
	p.failed++
	p.config.Stats.Failed.Add(1)
	level, remedy := slog.LevelWarn, ""
	if disk.IsFull(err) {
		remedy = replica.MakeRoom
		if p.noRoom != nil {
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
	if len(p.errs) < 10 {
		p.errs = append(p.errs, exit.With(code, fmt.Errorf("%s: %w", mtree.QuotePath(path), err), remedy))
	}
}

// tellEvery is how often progress is reported, at most.
const tellEvery = 250 * time.Millisecond

func (p *pass) tell(done bool) {
	if p.config.Progress == nil || !done && time.Since(p.told) < tellEvery/2 {
		return
	}
	p.told = time.Now()
	p.config.Progress(Progress{
		Took: time.Since(p.start), Listed: p.listed, Fetched: p.fetched, Bytes: p.arrived.Load(), WantFiles: p.wantFiles, WantBytes: p.wantBytes,
		Deleted: p.deleted, Failed: p.failed, Pending: len(p.steps) + len(p.big) + len(p.last) + p.running, Done: done,
	})
}
