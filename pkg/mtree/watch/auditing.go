package watch

import (
	"context"
	"fmt"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
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
	findings chan []finding
	reports  chan report
	timer    *time.Timer // for the next one
	next     *grounds    // asked for, and not started
	current  grounds
	last     report // of the last that was finished
	running  bool
	cancel   context.CancelFunc
	ctx      context.Context
}

// begin starts the first audit, for which next was set.
func (a *auditing) begin(ctx context.Context, w *watcher) {
	a.ctx, a.cancel = context.WithCancel(ctx)
	a.findings, a.reports = make(chan []finding), make(chan report, 1)
	a.timer = time.NewTimer(time.Hour)
	a.timer.Stop()
	g := *a.next
	a.next = nil
	a.ask(w, g)
}

// ask starts an audit, or notes that one more is wanted when the running one is
// done: that one may have passed already what is asked about.
func (a *auditing) ask(w *watcher, g grounds) {
	a.timer.Stop()
	if a.running {
		if a.next != nil {
			g = a.next.with(g)
		}
		a.next = &g
		return
	}
	a.start(w, g)
}

// with joins two grounds for one audit.
func (g grounds) with(h grounds) grounds {
	h.all, h.first, h.loss = g.all || h.all, g.first || h.first, g.loss || h.loss
	h.since, h.before = mtree.Earlier(g.since, h.since), mtree.Earlier(g.before, h.before)
	h.slow = g.slow && h.slow
	return h
}

func (a *auditing) start(w *watcher, g grounds) {
	g.start = w.clock.now()
	w.abandonFloor(&g)
	g.floor = w.floor
	a.running, a.current = true, g
	w.Log.Debug("audit", "why", g.reason)
	w.trouble.hearsAgain()
	w.cookies()
	retry := w.trouble.retry()
	go func(ctx context.Context) {
		if len(retry) > 0 {
			select {
			case a.findings <- retry:
			case <-ctx.Done():
			}
		}
		a.reports <- w.scan(ctx, g, a.findings)
	}(a.ctx)
}

// losing reports whether what is published may be incomplete until an audit
// that runs or waits is done.
func (a *auditing) losing() bool {
	return a.running && a.current.loss || a.next != nil && a.next.loss
}

// end breaks off a running audit and waits for it.
func (a *auditing) end() {
	a.cancel()
	a.timer.Stop()
	if a.running {
		<-a.reports
		a.running = false
	}
}

// ground says what an audit that starts now goes by.
func (w *watcher) ground(reason string) grounds {
	g := grounds{reason: reason, since: mtree.MinStamp, slow: reason == "periodic"}
	switch {
	case w.status.Checkpoint != nil:
		g.since = w.status.Checkpoint.Add(-lookBack)
		g.before = *w.status.Checkpoint
	case w.audits.running:
		g.since, g.before = w.audits.current.since, w.audits.current.before
	}
	if w.status.Audit != nil {
		g.before = *w.status.Audit
	}
	return g
}

// abandonFloor gives up a floor that lies far ahead of the clock: stamps start
// again from the clock, which readers must be told.
func (w *watcher) abandonFloor(g *grounds) {
	now := w.clock.now()
	if w.floor.Sub(now) <= floorAhead {
		return
	}
	w.Log.Warn("the latest stamp lies far ahead of the clock: starting again from the clock", "stamp", w.floor.String())
	w.floor = now
	if !g.all { // else it was raised already
		w.raiseEpoch()
	}
}

// audited takes the end of an audit.
func (w *watcher) audited(ctx context.Context, r report) error {
	w.audits.running = false
	if r.err != nil && ctx.Err() != nil {
		return nil
	}
	if err := w.replaced(); err != nil { // of a lazy umount no event tells, without events of nothing
		return err
	}
	if r.err != nil {
		return exit.With(exit.Local, fmt.Errorf("reading the tree: %w", r.err), "the root must be readable")
	}
	w.Stats.Audits.Add(1)
	w.Stats.Directories.Store(r.directories)
	w.Stats.Files.Store(r.files)
	w.trouble.audited(r.directories, r.unread)
	if next := w.audits.next; next != nil {
		w.audits.next = nil
		w.audits.start(w, *next)
		return nil
	}
	w.status.Audit, w.audits.last = &r.start, r
	w.reach(r.start) // what came later is heard, or found by the next audit
	if w.backend != "none" {
		// What is heard by now is published before the tree counts as watched.
		if err := w.settled(ctx); err != nil || w.audits.running {
			return err
		}
		w.source.Forget()
	}
	w.setState(w.resting())
	w.announce(r)
	w.schedule(r)
	w.answer()
	return nil
}

// resting is the state when no audit makes up for a loss.
func (w *watcher) resting() disk.State {
	switch {
	case w.trouble.what() != "":
		return disk.Degraded
	case w.backend == "none":
		return disk.Audited
	}
	return disk.Watched
}

// announce says in one line that the tree is watched.
func (w *watcher) announce(r report) {
	text := "audited"
	if r.reason == "start" {
		text = "armed"
	}
	w.Log.Info(text, "backend", w.backend, "directories", r.directories, "files", r.files,
		"changed", r.found, "seconds", fmt.Sprintf("%.3f", r.elapsed.Seconds()))
}

// schedule sets the time of the next audit.
func (w *watcher) schedule(r report) {
	pause := w.AuditInterval
	switch {
	case w.backend == "none":
		pause = min(pause, max(minAuditPause, auditPace*r.elapsed))
	case w.status.State == disk.Degraded:
		pause = min(pause, max(minDeafPause, auditPace*r.elapsed))
	}
	w.audits.timer.Reset(pause)
}
