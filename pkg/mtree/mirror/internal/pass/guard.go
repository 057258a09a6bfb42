package pass

import (
	"context"
	"slices"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/wire"
)

// reasonToHold says why the deletions that wait are held, if there are any; "" if they go
// on. Deletions that were released, or that have a reason of their own to be held, do not
// count.
func (p *pass) reasonToHold(ctx context.Context, waiting []*node) string {
	total := p.guard.carried
	released := false
	for _, n := range waiting {
		for i := range n.deletions {
			d := &n.deletions[i]
			released = released || d.Released && d.Why == "" // guard: TestAReleaseSettlesTheLastTenMinutes
			if !d.Released && d.Why == "" {                  // guard (without d.Why): TestAReleaseOfSeveralReasons
				total += d.Entries
			}
		}
	}
	made := p.result.Made
	if p.env.DryRun {
		made = 0 // none of it is in the copy
	}
	why := p.guard.gate.Refuse(total, made, released)
	switch {
	case p.options.HoldAll != "": // guard: TestALostTreeIDDeletesNothing
		return p.options.HoldAll
	case p.guard.emptyRoot: // guard: TestWhatHadTheNameOfASkippedSymlink
		return "the source's root is empty"
	case p.emptiesRoot(ctx, waiting): // guard: TestTheLastEntryOfTheRootStays
		return "nothing would be left in the root"
	case p.env.Root.State == wire.Filling: // guard: TestAFillingSourceDeletesNothing
		return "the source is a copy that is not complete yet"
	}
	return why
}

// emptiesRoot reports whether nothing would be left in the copy's root, because the
// source has nothing there that could be copied.
func (p *pass) emptiesRoot(ctx context.Context, waiting []*node) bool {
	i := slices.IndexFunc(waiting, func(n *node) bool { return n.parent == nil })
	if i < 0 {
		return false
	}
	if p.result.NoRoom != nil { // guard: TestAFullDiskIsMended
		return false // new entries had no room yet
	}
	goes := map[string]bool{}
	for _, name := range p.guard.goneRoot {
		goes[name] = true
	}
	for j := range waiting[i].deletions {
		if d := &waiting[i].deletions[j]; !d.IsReplacement() { // guard (always): TestWhatCannotBeSweptStays
			goes[d.Name()] = true // guard: TestTheLastEntryOfTheRootStays
		}
	}
	return !p.env.RootKeeps(ctx, goes) // if it cannot be read, nothing may be left
}

// refuse holds the deletions for which there is a reason, but not those that were
// released. With --no-delete only released deletions go on: the others were held
// before, and the reason is gone.
func (p *pass) refuse(waiting []*node, why string) {
	for _, n := range waiting {
		n.deletions = slices.DeleteFunc(n.deletions, func(d replica.Deletion) bool {
			if p.allows(n, d, why) {
				return false
			}
			p.env.Replica.Abandon(&d)
			return true
		})
	}
}

// allows reports whether a deletion goes on. With a reason, either why or one of its own,
// it is held.
func (p *pass) allows(n *node, d replica.Deletion, why string) bool {
	if d.Why == "" { // guard: TestHeldDeletionsEndWithTheirCause
		d.Why = why
	}
	switch {
	case d.Released: // guard: TestAReleaseOfSeveralReasons
		return true
	case d.Why == "":
		return !p.env.NoDelete
	}
	n.blocked = true
	p.hold(d)
	return false
}

// hold records that a deletion is held.
func (p *pass) hold(e replica.Deletion) {
	p.result.Held += e.Entries
	p.tellHold(&e)
	p.guard.holding = append(p.guard.holding, e) // guard: TestAHoldOutlivesADirectoryInTrouble
}

// markReleased marks the deletions that somebody released.
func (p *pass) markReleased(waiting []*node) {
	for _, n := range waiting {
		for i := range n.deletions {
			d := &n.deletions[i]
			d.Released = p.guard.release.Has(d) // guard: TestAHoldDoesNotLapse
		}
	}
}

// carry keeps deletions held if the source's directory could not be read now: that is no
// reason to end a hold.
func (p *pass) carry(waiting []*node) {
	if len(p.guard.was.Entries) == 0 || len(p.guard.unseen) == 0 {
		return
	}
	now := map[string]bool{}
	for _, n := range waiting {
		for i := range n.deletions {
			now[n.deletions[i].Path] = true
		}
	}
	for _, e := range p.guard.was.Entries {
		if now[e.Path] || !p.isUnseen(e.Path) {
			continue
		}
		p.hold(e)
		if !e.HasOwnReason() {
			p.guard.carried += e.Entries
		}
	}
}

// isUnseen reports whether what is at path, or a directory above it, could not be read.
func (p *pass) isUnseen(path string) bool {
	for ; path != ""; path = mtree.ParentPath(path) {
		if p.guard.unseen[path] {
			return true
		}
	}
	return p.guard.unseen[""]
}
