package pass

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
)

// done records that a step of n or a child of n has ended. After the last of them, n is
// ready or incomplete.
func (p *pass) done(n *node) {
	if n.open--; n.open > 0 {
		return
	}
	if n.blocked || !n.visited {
		n.blocked = true
		p.incomplete = append(p.incomplete, n)
	} else if !p.env.DryRun {
		p.ready = append(p.ready, n)
	}
	p.settle(n)
}

// settle reports to the parent what became of n.
func (p *pass) settle(n *node) {
	up := n.parent
	if up == nil {
		return
	}
	up.changed = up.changed || n.changed
	up.failed = up.failed || n.failed            // guard: TestSimulatedGuards/moved_down
	if n.unreadable && p.guard.holdsIn(n.Path) { // guard: TestAHoldOutlivesADirectoryNobodyMayRead
		up.blocked = true // and all above: the next pass looks again
	}
	// guard (without n.blocked): TestSimulatedGuards/child_failed
	if !n.unreadable && (n.blocked || n.Record.Stamp != n.Listed && !n.later && !p.env.Root.OtherServer) { // guard (without !n.later): TestADirectoryThatIsLaterBlocksNothing
		// Its stamp is not the one that the parent lists, nor one that the next pass finds
		// from there: this one came from a cache, or somebody set it.
		up.blocked = true
	}
	p.done(up)
}

// fail records that path could not be made equal, and leaves n incomplete. A failure of
// this machine's disk does not stop deletions: what the source has is known.
func (p *pass) fail(n *node, path string, err error) {
	n.blocked, n.uncompared, n.failed = true, true, n.failed || !replica.IsLocal(err)
	if errors.Is(err, context.Canceled) {
		return
	}
	p.result.Failed++
	p.options.Counters.Failed.Add(1)
	level, remedy := slog.LevelWarn, ""
	if errors.Is(err, source.ErrLost) { // what was asked before is told
		level = slog.LevelDebug
	}
	if disk.IsFull(err) {
		remedy = replica.MakeRoom
		if p.result.NoRoom != nil {
			level = slog.LevelDebug
		}
		p.noteFull(err)
	} else if replica.IsLocal(err) {
		remedy = replica.RemedyWriting(err)
	}
	p.env.Log.Log(context.Background(), level, "failed", "path", mtree.QuotePath(path), "error", err, "remedy", cmp.Or(remedy, remedyFailed(err)))
	code := exit.Failed
	if replica.IsLocal(err) {
		code = exit.Local
	}
	if len(p.result.Errs) < 10 {
		p.result.Errs = append(p.result.Errs, exit.With(code, fmt.Errorf("%s: %w", mtree.QuotePath(path), err), remedy))
	}
}

// remedyFailed returns what the log says to do about a path that failed for no reason that is known here.
func remedyFailed(err error) string {
	if replica.IsLocal(err) {
		return "none is needed if it goes away: mirror tries again by itself; if it stays, look whether the file system of DEST is sound"
	}
	return "none is needed if it goes away: mirror tries again by itself; if it stays, look at that path at the source, and at the log of serve"
}

// halt ends the pass: steps under way end, and no other begins.
func (p *pass) halt(err error) {
	if p.halted == nil {
		p.halted = err
	}
}

// noteFull records an error of a full disk.
func (p *pass) noteFull(err error) {
	if p.result.NoRoom == nil {
		p.result.NoRoom = replica.Local(err)
	}
	p.result.tried = p.result.tried || err != errNoRoom
}
