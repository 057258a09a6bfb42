package watch

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/watch/internal/audit"
	"tidemark/pkg/mtree/watch/internal/stamprule"
	"tidemark/pkg/mtree/wire"
)

const (
	// floorAhead is how far the floor may be ahead of the clock before it is
	// abandoned: a stamp from a clock that was wrong must not decide for years.
	floorAhead = time.Minute

	// Where audits are all there is, or make up for what cannot be heard, one
	// starts so many times as long after the last as that one took.
	auditPace     = 20
	minDeafPause  = time.Minute // between audits of a degraded tree
	minAuditPause = time.Second // between audits without events
)

// auditing runs audits one at a time.
type auditing struct {
	findings chan []audit.Finding
	reports  chan auditReport
	timer    *time.Timer   // for the next one
	next     *auditRequest // asked for, and not started
	current  auditRequest
	last     auditReport // of the last that was finished
	running  bool
	owed     bool         // one that makes up for a loss is not finished: it runs, waits, or was broken off
	asked    []string     // cookies that waited when the running one began, or the last
	swept    *mtree.Stamp // start of the last that was finished and left out nothing but what trouble knows by path
	cancel   context.CancelFunc
	ctx      context.Context
}

// begin starts the first audit, for which next was set.
func (a *auditing) begin(ctx context.Context, w *watcher) {
	a.ctx, a.cancel = context.WithCancel(ctx)
	a.findings, a.reports = make(chan []audit.Finding), make(chan auditReport, 1)
	a.timer = time.NewTimer(time.Hour)
	a.timer.Stop()
	g := *a.next
	a.next = nil
	a.ask(w, g)
}

// ask starts an audit, or notes that one more is wanted when the running one is
// done: that one may have passed already what is asked about.
func (a *auditing) ask(w *watcher, g auditRequest) {
	a.timer.Stop()
	a.owed = a.owed || g.loss
	if a.running {
		if a.next != nil {
			g = a.next.join(g)
		}
		a.next = &g
		return
	}
	a.start(w, g)
}

// auditRequest is an audit that is asked for.
type auditRequest struct {
	audit.Scope
	reason      string
	loss        bool        // nothing is known until it is done: state auditing
	epochRaised bool        // for this one
	start       mtree.Stamp // when it began
}

// join returns one request for both; later came after r.
func (r auditRequest) join(later auditRequest) auditRequest {
	later.Scope = r.Scope.Join(later.Scope)
	later.loss, later.epochRaised = r.loss || later.loss, r.epochRaised || later.epochRaised
	return later
}

// auditReport is how an audit ended, and which one.
type auditReport struct {
	audit.Report
	auditRequest
}

func (a *auditing) start(w *watcher, g auditRequest) {
	g.start = w.clock.Now()
	w.abandonFloor(&g)
	g.Floor = w.floor
	a.running, a.current = true, g
	w.Log.Debug("audit", "why", g.reason)
	w.health.BeginAudit()
	w.cookies()
	a.asked = slices.Clone(w.sync)
	retry := append(w.retries(), w.mounts.missed...)
	tree := w.auditedTree()
	go func(ctx context.Context) {
		if len(retry) > 0 {
			select {
			case a.findings <- retry:
			case <-ctx.Done():
			}
		}
		a.reports <- auditReport{audit.Run(ctx, tree, g.Scope, a.findings), g}
	}(a.ctx)
}

// end breaks off a running audit and waits for it. It has proved nothing then.
func (a *auditing) end() {
	a.cancel()
	a.timer.Stop()
	if a.running {
		<-a.reports
		a.running = false
	}
}

// ground says what an audit that starts now goes by. In the same process what
// an earlier one left out is known by path, so that the time of its start is as
// good as a checkpoint.
func (w *watcher) auditScope(reason string) auditRequest {
	g := auditRequest{reason: reason, Scope: audit.Scope{Since: mtree.MinStamp, Slow: reason == "periodic"}}
	known := w.known()
	switch {
	case known != nil:
		g.Since, g.Before = known.Add(-stamprule.LookBack), *known
	case w.audits.running:
		current := w.audits.current
		g.Since, g.Before = mtree.Earlier(current.Since, current.start.Add(-stamprule.LookBack)), current.Before
	}
	if w.status.Audit != nil {
		g.Before = *w.status.Audit
	}
	if swept := w.audits.swept; swept != nil {
		g.Before = mtree.Later(g.Before, *swept)
	}
	return g
}

// known is the time up to which everything is published but what trouble knows
// by path; nil if there is none.
func (w *watcher) known() *mtree.Stamp {
	at, swept := w.status.Checkpoint, w.audits.swept
	if at == nil || swept != nil && swept.After(*at) {
		return swept
	}
	return at
}

// sound reports whether a batch moves the checkpoint: everything is heard, read
// and stamped, and no audit runs or is due.
func (w *watcher) sound() bool {
	return w.backend != "none" && w.settles() && w.health.Degraded() == "" && w.mounts.settled()
}

// settles reports whether no audit runs or is due.
func (w *watcher) settles() bool { return !w.audits.running && !w.audits.owed }

// abandonFloor gives up a floor that lies far ahead of the clock: stamps start
// again from the clock, which readers must be told.
func (w *watcher) abandonFloor(g *auditRequest) {
	now := w.clock.Now()
	if w.floor.Sub(now) <= floorAhead {
		return
	}
	w.Log.Warn("the latest stamp lies far ahead of the clock: starting again from the clock", "stamp", w.floor.String())
	w.floor = now
	if !g.epochRaised {
		w.raiseEpoch()
	}
}

// audited takes the end of an audit.
func (w *watcher) audited(ctx context.Context, r auditReport) error {
	w.audits.running = false
	if r.Err != nil && ctx.Err() != nil {
		return nil
	}
	if err := w.replaced(); err != nil { // of a lazy umount no event tells, without events of nothing
		return err
	}
	if r.Err != nil {
		return exit.With(exit.Local, fmt.Errorf("reading the tree: %w", r.Err), "the root must be readable")
	}
	if err := w.remark(); err != nil {
		return cmp.Or(w.replaced(), err)
	}
	w.Stats.Audits.Add(1)
	w.Stats.Directories.Store(r.Directories)
	w.Stats.Files.Store(r.Files)
	if err := w.opened(ctx, w.health.EndAudit(r.Directories)); err != nil {
		return err
	}
	next := w.audits.next
	w.audits.next = nil
	if next != nil && next.loss { // while it ran: it proves nothing
		w.ownWrites.EndAudit(false)
		w.audits.start(w, *next)
		return nil
	}
	w.audits.owed, w.audits.last = false, r
	w.vouch(r)
	if w.backend != "none" {
		// What is heard by now is published before the tree counts as watched.
		if err := w.settled(ctx); err != nil || w.audits.running {
			return err
		}
		w.source.Forget()
	}
	w.setState(w.state())
	w.announce(r)
	w.schedule(r)
	w.answer()
	if next != nil {
		w.audits.ask(w, *next)
	}
	return nil
}

// vouch notes what an audit proved that came to its end. It moves the checkpoint
// only if it read and stamped everything: what came later is heard, or found by
// the next.
func (w *watcher) vouch(r auditReport) {
	w.bordered, w.mounts.missed = nil, nil
	w.tree.Borders = w.borders.Record(nil)
	if w.borders.Changed() {
		w.borders.Wait()
	}
	if w.unstamped {
		w.unstamped = false
		w.raiseEpoch() // readers may have completed directories by times that were no stamps
	}
	all := w.health.Unpublished() == ""
	if all {
		w.tree.Options = w.options()
		if w.mounts.settled() {
			w.tree.Mounts, w.mounts.noted = w.mountsNow(), true
		}
	}
	if w.writeTree() != nil {
		return
	}
	if !w.health.Overflowed() {
		w.audits.swept = &r.start
	}
	w.ownWrites.EndAudit(!w.health.Overflowed())
	if all {
		w.status.Audit = &r.start
		w.reach(r.start)
		w.saveLeft()
	}
	if w.backend == "none" {
		w.ownWrites.Age(r.start) // no events of our own writes are to come
	}
}

// state is what is published of the tree now. The first audit of all gives
// directories their first stamps: until it is done none prunes.
func (w *watcher) state() wire.State {
	switch {
	case w.unstamped:
		return wire.Unwatched
	case w.audits.owed && w.status.State == wire.Degraded:
		return wire.Degraded
	case w.audits.owed:
		return wire.Auditing
	case w.health.Degraded() != "":
		return wire.Degraded
	case w.backend == "none":
		return wire.Audited
	}
	return wire.Watched
}

// announce says in one line that the tree is watched.
func (w *watcher) announce(r auditReport) {
	text := "audited"
	if r.reason == "start" {
		text = "armed"
	}
	w.Log.Info(text, "backend", w.backend, "directories", r.Directories, "files", r.Files,
		"changed", r.Found, "seconds", fmt.Sprintf("%.3f", r.Elapsed.Seconds()))
}

// schedule sets the time of the next audit.
func (w *watcher) schedule(r auditReport) {
	pause := w.AuditInterval
	switch {
	case w.backend == "none":
		pause = min(pause, max(minAuditPause, auditPace*r.Elapsed))
	case w.status.State == wire.Degraded:
		pause = min(pause, max(minDeafPause, auditPace*r.Elapsed))
	}
	w.audits.timer.Reset(pause)
}

// retries returns what this audit has to stamp again, as findings.
func (w *watcher) retries() (findings []audit.Finding) {
	for _, r := range w.health.Retries() {
		findings = append(findings, audit.Finding{Path: r.Path, Settles: r.Settles})
	}
	return findings
}

// auditedTree is what an audit scans.
func (w *watcher) auditedTree() audit.Tree {
	return audit.Tree{
		Root: w.root, Source: w.source, Exclude: w.exclude, CrossMounts: w.CrossMounts, Now: w.Now,
		OwnWrites: w.ownWrites, Health: w.health, Borders: w.borders, Earlier: w.bordered,
	}
}
