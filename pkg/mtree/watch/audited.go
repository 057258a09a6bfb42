package watch

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/wire"
)

// finishAudit handles the end of an audit.
func (w *watcher) finishAudit(ctx context.Context, r auditReport) error {
	w.audits.running = false
	if r.Err != nil && ctx.Err() != nil {
		return nil
	}
	if err := w.checkRoot(); err != nil { // no event reports a lazy umount; without a source of events, none reports anything
		return err
	}
	if r.Err != nil {
		return exit.With(exit.Local, fmt.Errorf("reading the tree: %w", r.Err), "the root must be readable")
	}
	if err := w.restoreMarker(); err != nil {
		return cmp.Or(w.checkRoot(), err)
	}
	w.Stats.Audits.Add(1)
	w.Stats.Directories.Store(r.Directories)
	w.Stats.Files.Store(r.Files + r.Others)
	w.Stats.Bytes.Store(r.Bytes)
	w.status.Entries = &state.Entries{Entries: wire.Entries{Files: r.Files, Directories: r.Directories, Bytes: r.Bytes}, At: &r.began}
	if err := w.publishReadable(ctx, w.health.EndAudit(r.Directories)); err != nil {
		return err
	}
	if !r.lagged {
		r.start = r.start.Add(-w.lag()) // guard: TestAuditsOfADeafTree
	}
	w.sawMounts(r)
	w.noteMounts(r.Mounts)
	w.mounts.Moved() // guard: TestMountsThatMove
	if err := w.checkMounts(); err != nil {
		return err
	}
	next := w.audits.next
	w.audits.next = nil
	if next != nil && next.loss { // lost while this audit ran, which so proves nothing
		next.raiseAgain = next.raiseAgain || r.raiseAgain
		w.ownWrites.EndAudit(false)
		w.startAudit(*next)
		return nil
	}
	w.audits.owed, w.audits.last = false, r
	w.saveExceptions() // before the checkpoint moves on without them
	w.recordAudit(r)
	if w.hears() || len(w.mountEvents) > 0 { // guard (without len(w.mountEvents)): TestMountsThatMove
		// The events so far are published before the tree counts as watched.
		if err := w.publishEvents(ctx); err != nil || w.audits.running {
			return err
		}
		w.source.Forget()
	}
	w.setState(w.state())
	w.logAudit(r)
	w.scheduleAudit(r)
	w.answerCookies()
	if next != nil {
		w.requestAudit(*next)
	}
	return nil
}

// epochGap is by how much an epoch that the end of an audit raises again is above the one in which the audit
// began. Readers take the epoch for the time since when ctimes may be lower, and an epoch that is
// higher by a few for none.
const epochGap = 10 * time.Second

// recordAudit records what a finished audit proved. The checkpoint moves only if the
// audit read and stamped everything. Later changes are heard, or the next audit finds
// them.
func (w *watcher) recordAudit(r auditReport) {
	w.earlier, w.missedMounts = nil, nil
	w.tree.Borders = w.borders.Record(nil)
	if w.borders.Changed() {
		w.borders.Wait()
	}
	if w.firstAudit || r.raiseAgain { // guard (without r.raiseAgain): TestStampsOfAnHourThatComesAgain
		began := w.Now()
		if !w.firstAudit {
			began = mtree.Earlier(began, w.began.Add(epochGap)) // guard: TestClockSetBackWhileDown
		}
		w.firstAudit = false
		w.raiseEpochTo(began) // readers may have completed directories by times that were no stamps, or that come again
	}
	stampedAll := w.health.Unpublished() == ""
	if stampedAll {
		w.tree.Options = w.options()
		if w.mountsPublished() {
			w.setMounts()
		}
	}
	if w.writeTree() != nil {
		return
	}
	if !w.health.Overflowed() {
		w.audits.swept = &r.start
	}
	w.ownWrites.EndAudit(!w.health.Overflowed())
	if stampedAll {
		w.status.Audit = &r.start
		w.advanceCheckpoint(r.start)
		w.saveOwnWrites()
	}
	if !w.hears() {
		w.ownWrites.Age(r.start) // all events of our earlier writes were taken
	}
}

// logAudit says in one line that the tree is watched.
func (w *watcher) logAudit(r auditReport) {
	text := "audited"
	if r.reason == atStart {
		text = "armed"
	}
	w.Log.Info(text, "backend", w.backend, "directories", r.Directories, "files", r.Files+r.Others,
		"changed", r.Found, "seconds", fmt.Sprintf("%.3f", r.Elapsed.Seconds()))
}
