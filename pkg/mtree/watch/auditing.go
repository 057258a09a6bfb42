package watch

import (
	"context"
	"slices"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/watch/internal/audit"
	"tidemark/pkg/mtree/watch/internal/stamprule"
	"tidemark/pkg/mtree/wire"
)

const (
	// Without events, or with directories that cannot be heard, the pause before the next
	// audit is auditPace times as long as the scan of the last one took.
	auditPace     = 20
	minDeafPause  = time.Minute // between audits of a degraded tree
	minAuditPause = time.Second // between audits without events

	// lossPause is the least time between two log lines about losses: a queue that is
	// too small overflows a hundred times a second.
	lossPause = time.Second

	// attributesAge is how long a client of a file server may show attributes as they were: NFS asks
	// again after a minute at the latest (acregmax, acdirmax in nfs(5)), most others sooner.
	attributesAge = time.Minute

	// mostBehind is the most that a file server's clock may be behind: times from further back are
	// made up, as by a FUSE that gives all files one ctime.
	mostBehind = 24 * time.Hour
)

// beginAudits starts the first audit, which is the one in audits.next.
func (w *watcher) beginAudits(ctx context.Context) {
	a := &w.audits
	a.ctx, a.cancel = context.WithCancel(ctx)
	a.findings, a.reports = make(chan []audit.Finding), make(chan auditReport, 1)
	a.timer = time.NewTimer(time.Hour) // requestAudit stops it
	first := *a.next
	a.next = nil
	w.requestAudit(first)
}

// requestAudit starts an audit. If one runs, another will follow it: the running one may
// have passed the directories in question already.
func (w *watcher) requestAudit(r auditRequest) {
	a := &w.audits
	a.timer.Stop()
	a.owed = a.owed || r.loss
	if a.running {
		if a.next != nil {
			r = a.next.join(r)
		}
		a.next = &r
		return
	}
	w.startAudit(r)
}

// startAudit starts an audit in a goroutine of its own.
func (w *watcher) startAudit(r auditRequest) {
	a := &w.audits
	lag := w.lag()
	r.began = w.clock.Now()
	r.start, r.lagged = r.began.Add(-lag), lag > 0
	w.abandonFloor(&r)
	r.Floor = w.floor
	a.running, a.current = true, r
	w.Log.Debug("audit", "why", r.reason)
	w.health.BeginAudit()
	w.mounts.Moved()                    // guard: TestMountsThatMove
	_ = w.checkMounts()                 // if the root went, the end of the audit says so
	w.armMarker()                       // guard: TestMarkerIsArmedAgain
	if w.collectCookies(); !w.hears() { // guard (always): TestSyncWaitsForTheQueue
		w.takeFound()
	}
	a.cookies = slices.Clone(w.cookies)
	retries := append(w.retries(), w.missedMounts...)
	tree := w.auditedTree()
	go func(ctx context.Context) {
		if len(retries) > 0 {
			select {
			case a.findings <- retries:
			case <-ctx.Done():
			}
		}
		a.reports <- auditReport{audit.Run(ctx, tree, r.Scope, a.findings), r}
	}(a.ctx)
}

// lag returns how far back from the clock a ctime may lie that an audit does not see, though it is
// there when the audit begins. It is more than 0 where others may change the tree elsewhere, or
// what is mounted below the root: what cannot be heard may be that.
func (w *watcher) lag() time.Duration {
	if !w.elsewhere && (!w.hears() || w.health.HearsAll()) { // guard (always): TestAuditsElsewhere, TestAuditsOfADeafTree
		return 0
	}
	return attributesAge + w.serverBehind() // guard (attributesAge -> 0): TestAuditsElsewhere
}

// serverBehind returns by how much the file server's clock, which gives the ctimes, is behind ours:
// the status is written, and shows when. It is 0 if the server is ahead, or with --state-dir. Cost:
// pwrite, fstat.
func (w *watcher) serverBehind() time.Duration {
	if w.StateDir != "" { // guard: TestAuditsElsewhere
		return 0
	}
	now := w.Now()
	w.writeStatus()
	ctime, err := w.statusFile.CTime()
	behind := now.Sub(ctime)
	if err != nil || w.statusFails || behind > mostBehind { // guard: TestAuditsElsewhere
		return 0
	}
	return max(0, behind)
}

// auditedTree returns the tree that an audit scans.
func (w *watcher) auditedTree() audit.Tree {
	return audit.Tree{
		Root: w.root, Source: w.source, Exclude: w.exclude, CrossMounts: w.CrossMounts, Granule: w.granule, Now: w.Now,
		OwnWrites: w.ownWrites, Health: w.health, Borders: w.borders, Earlier: w.earlier, Unfollowed: w.unfollowed,
	}
}

// retries returns the directories that an audit has to stamp again.
func (w *watcher) retries() (findings []audit.Finding) {
	for _, r := range w.health.Retries() {
		findings = append(findings, audit.Finding{Path: r.Path, ShowOnly: r.ShowOnly})
	}
	return findings
}

// sawMounts handles what an audit saw where mounts are not followed. While something is mounted
// the tree is degraded, and the tree file says so to the next start. After an audit that sees no
// mount any more, another one stamps everything: readers know what was mounted.
func (w *watcher) sawMounts(seen auditReport) {
	went := w.mounts.Saw(seen.Mounted)
	if seen.Mounted { // guard: TestMountsComeAndGoUnheard
		w.setMounts()
		_ = w.writeTree()
	}
	if !went {
		return
	}
	a, r := &w.audits, w.auditScope("what was mounted below the root has gone")
	r.All, r.loss = true, true
	if a.next != nil {
		r = a.next.join(r)
	}
	a.next, a.owed = &r, true
}

// endAudits breaks off a running audit and waits for its end. It proves nothing then.
func (w *watcher) endAudits() {
	w.audits.cancel()
	w.audits.timer.Stop()
	if w.audits.running {
		<-w.audits.reports
		w.audits.running = false
		w.audits.cookies = nil // guard: TestSyncOfAnAuditThatIsBrokenOff
	}
}

// auditScope returns the request for an audit that starts now. Within one process,
// everything that an earlier audit left out is known by path, so the start of that audit
// is as good as a checkpoint.
func (w *watcher) auditScope(reason string) auditRequest {
	r := auditRequest{reason: reason, Scope: audit.Scope{Since: mtree.MinStamp, Slow: reason == periodic}}
	until := w.publishedUntil()
	switch {
	case until != nil:
		r.Since, r.Before = until.Add(-stamprule.LookBack), *until
	case w.audits.running:
		current := w.audits.current
		r.Since, r.Before = mtree.Earlier(current.Since, current.start.Add(-stamprule.LookBack)), current.Before
	}
	if w.status.Audit != nil {
		r.Before = *w.status.Audit
	}
	if swept := w.audits.swept; swept != nil {
		r.Before = mtree.Later(r.Before, *swept)
	}
	return r
}

// Reasons for audits that are treated specially.
const (
	atStart  = "start"
	periodic = "periodic" // no command waits for it
)

// abandonFloor gives up a floor that is far ahead of the clock. Stamps start again from
// the clock, or from the root's if that one is not far ahead; the epoch tells readers so.
func (w *watcher) abandonFloor(r *auditRequest) {
	now := w.clock.Now()
	if w.floor.Sub(now) <= floorAhead {
		return
	}
	w.Log.Warn("the latest stamp lies far ahead of the clock: starting again from the clock", "stamp", w.floor.String(),
		"remedy", "none is needed if the clock is right now: mirrors look at everything once")
	w.tree.SetBack(now, w.floor) // guard: TestStampsThatComeAgainAreRecorded
	w.floor, r.raiseAgain = now, true
	if root, err := w.root.Self(); err == nil && root.MTime.Sub(now) <= floorAhead {
		w.floor = mtree.Later(now, root.MTime) // guard: TestKilledInTheSecondOfANewEpoch
	}
	if r.epochRaised {
		_ = w.writeTree() // guard: TestStampsThatMayComeAgainAreRecordedFirst
		return
	}
	w.raiseEpoch()
}

// scheduleAudit sets the time of the next audit; last is the one before.
func (w *watcher) scheduleAudit(last auditReport) {
	pause := w.AuditInterval
	switch {
	case !w.hears():
		pause = min(pause, max(minAuditPause, auditPace*last.Took()))
	case w.status.State == wire.Degraded:
		pause = min(pause, max(minDeafPause, auditPace*last.Took()))
	}
	w.audits.timer.Reset(pause)
}

// lose reacts to lost events, or to anything else after which nothing is known: it
// requests an audit, and the state shows that. newEpoch says that readers cannot rely on
// what they have.
func (w *watcher) lose(why string, newEpoch bool) {
	w.Stats.Losses.Add(1)
	w.logLoss(why)
	r := w.auditScope(why)
	r.loss, r.Slow = true, false
	if newEpoch {
		w.lookAtClock()
		r.All, r.epochRaised, r.raiseAgain = true, true, w.farBack
		w.farBack = false
		w.clock.Restart()
		w.status.Checkpoint, w.status.Audit, w.audits.swept = nil, nil, nil // they lie ahead now
		w.audits.owed = true                                                // who sees the new epoch must see that state, too
		w.status.State = w.state()
		w.writeStatus() // before the epoch: a kill must not leave the old values
		w.raiseEpoch()
	}
	w.requestAudit(r)
	w.setState(w.state())
}

// logLoss logs a loss, not too often, with the number of losses since the last line.
func (w *watcher) logLoss(why string) {
	w.losses++
	if time.Since(w.lossLogged) < lossPause {
		return
	}
	w.Log.Warn("lost track: auditing the tree", "why", why, "times", w.losses, "remedy", "none is needed: the audit finds what was missed")
	w.lossLogged, w.losses = time.Now(), 0
}
