package pass

import (
	"errors"

	"tidemark/pkg/mtree/mirror/internal/replica"
)

// storeHeld writes what is held and then removes the release that was carried out. A
// command that waits for the removal then looks at what is still held.
func (p *pass) storeHeld() error {
	err := p.writeHeld()
	if p.guard.release != nil && err == nil {
		err = replica.Local(p.env.Replica.RemoveRelease())
	}
	return err
}

// writeHeld writes what is held, if that changed.
func (p *pass) writeHeld() error {
	now := replica.HeldList{Entries: p.guard.holding}
	p.options.Counters.Held.Store(now.Total())
	if len(now.Entries) == 0 {
		if !p.guard.wasUnread && len(p.guard.was.Entries) == 0 {
			return nil
		}
		return replica.Local(p.env.Replica.SetHeld(&now))
	}
	p.env.Log.Warn("deletions held", "count", now.Total(), "why", p.result.HeldWhy,
		"remedy", "look at mirror --status DEST; mirror --release DEST carries them out")
	if string(now.Format()) == string(p.guard.was.Format()) {
		return nil
	}
	if err := p.guard.gate.Keep(); err != nil { // guard: TestAHoldOutlivesAPowerCut
		return err
	}
	return replica.Local(p.env.Replica.SetHeld(&now))
}

// recallHeld reads what was held before the pass, and what somebody released.
func (p *pass) recallHeld() {
	var err error
	if p.guard.was, err = p.env.Replica.Held(); err != nil {
		p.guard.wasUnread = true
		p.env.Log.Warn("held deletions are unreadable, writing them anew", "error", err,
			"remedy", "none is needed: they are found and held again")
	}
	p.guard.gate.Recall(&p.guard.was)
	if p.env.DryRun {
		return
	}
	has := p.env.Replica.HasRelease()
	list, err := p.env.Replica.Released()
	if err != nil {
		// It releases nothing, or is no file at all.
		p.env.Log.Warn("a release is unreadable: it is dropped", "error", errors.Join(err, p.env.Replica.RemoveRelease()),
			"remedy", "give mirror --release DEST again")
		return
	}
	if has { // guard: TestAReleaseThatNamesNothing
		p.guard.release = &list
	}
}
