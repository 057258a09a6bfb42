package mirror

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/glob"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/mirror/internal/actions"
	"tidemark/pkg/mtree/mirror/internal/lineage"
	"tidemark/pkg/mtree/mirror/internal/replica"
)

// Release carries out exactly the deletions that are now held in c.Dest. Of c only Dest,
// StateDir, Out, Print, PrintFormat, Stats and Log count.
//
// While a mirror runs, Release leaves a copy of the list beside it. The running mirror
// looks for it every second, and deletes what is in the list if the source still does not
// have it; then Release returns. If no mirror runs, Release takes the lock and deletes
// what has not changed since it was held, and tells Print of that.
func Release(ctx context.Context, c Config) error {
	c = c.withDefaults()
	l, err := replica.LookAt(c.Dest, c.StateDir)
	if err != nil {
		return err
	}
	defer l.Close()
	if err := c.checkPrint(); err != nil {
		return err
	}
	c.HardLinks = lineage.ParseSelection(l.Tree.Filters).HardLinks // guard: TestAReleaseKeepsTheIndexOfLinks
	held, err := l.Held()
	if err != nil {
		return exit.With(exit.Local, err, "")
	}
	if len(held.Entries) == 0 {
		c.say("nothing is held")
		return nil
	}
	switch err := l.CanLock(); {
	case errors.Is(err, state.ErrLocked):
		return leaveRelease(ctx, &c, l, &held)
	case err != nil:
		return exit.With(exit.Local, err, "")
	}
	return releaseHere(ctx, &c)
}

// leaveRelease leaves the list for the running mirror and waits until it is taken.
func leaveRelease(ctx context.Context, c *Config, l *replica.Look, held *replica.HeldList) error {
	if err := l.Release(held); err != nil {
		return exit.With(exit.Local, err, "")
	}
	ticker := time.NewTicker(waitLook)
	defer ticker.Stop()
	for alive := time.Now(); ; {
		if taken, err := l.IsReleaseTaken(); err != nil {
			return exit.With(exit.Local, err, "")
		} else if taken {
			break
		}
		kept, err := l.IsKept()
		switch {
		case kept:
			alive = time.Now()
		case time.Since(alive) <= c.restartGrace: // guard: TestAReleaseLeavesTheLockToAMirrorThatIsStartedAgain
		case err != nil: // guard: TestAReleaseOnADiskThatFails
			_ = l.Withdraw()
			return exit.With(exit.Local, fmt.Errorf("whether a mirror keeps the copy: %w", err), "")
		default: // the mirror ended before it took the list
			if err := l.Withdraw(); err != nil {
				return exit.With(exit.Local, err, "")
			}
			return releaseHere(ctx, c)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			_ = l.Withdraw()
			return ctx.Err()
		}
	}
	return reportReleased(c, l, held)
}

// reportReleased writes how much of the list was deleted, and what is held now.
func reportReleased(c *Config, l *replica.Look, held *replica.HeldList) error {
	now, err := l.Held()
	if err != nil {
		return exit.With(exit.Local, err, "")
	}
	c.say(fmt.Sprintf("deleted %d, held %d", max(held.Total()-now.Total(), 0), now.Total()))
	if len(now.Entries) > 0 {
		return exit.With(exit.Held, fmt.Errorf("%d deletions held: %s", now.Total(), now.Why()), "look at mirror --status DEST")
	}
	return nil
}

// releaseHere takes the lock and carries out what is held.
func releaseHere(ctx context.Context, c *Config) error {
	r, err := replica.Open(c.replicaOptions())
	if err != nil {
		return err
	}
	defer r.Close()
	was := lineage.ParseSelection(r.Tree().Filters)
	if r.Filters, err = glob.Recorded(was.Filters); err != nil {
		return exit.With(exit.Local, err, "")
	}
	if err := c.recallBackup(r.NotedBackup()); err != nil {
		return err
	}
	if err := c.openBackup(r); err != nil {
		return err
	}
	if err := beginBackup(r, c.Now()); err != nil {
		return err
	}
	held, err := r.Held()
	if err != nil {
		return exit.With(exit.Local, err, "")
	}
	printer := c.newPrinter()
	deleted, kept, err := r.Release(&held, tellReleased(printer, r.Status().Root))
	c.say(fmt.Sprintf("deleted %d, held %d", deleted, kept.Total()))
	return errors.Join(err, printer.CloseAll(ctx))
}

// tellReleased returns what tells a printer of each deletion that is carried out. stamp is the one that the copy's
// root shows; nil: none.
func tellReleased(printer *actions.Printer, stamp *mtree.Stamp) func(*replica.Deletion) {
	if stamp == nil {
		stamp = &mtree.Stamp{}
	}
	return func(d *replica.Deletion) {
		l := actions.Line{Stamp: *stamp, Action: actions.Delete, Path: actions.Path(d.Path, d.Kind), Entries: d.Entries}
		if d.Stays {
			l.Action, l.Entries = actions.Update, 0
		}
		printer.Print([]actions.Line{l})
	}
}
