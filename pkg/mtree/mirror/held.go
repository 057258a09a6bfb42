package mirror

import (
	"errors"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/replica"
)

// markReleased marks what waits and was released.
func (p *pass) markReleased(waiting []*node) {
	for _, n := range waiting {
		for i := range n.deletions {
			d := &n.deletions[i]
			d.Released = p.release.Has(d)
		}
	}
}

// carry keeps what was held before where nothing is known of the source now: no
// news is no reason to end a hold.
func (p *pass) carry(waiting []*node) {
	if len(p.was.Entries) == 0 || len(p.unseen) == 0 {
		return
	}
	now := map[string]bool{}
	for _, n := range waiting {
		for i := range n.deletions {
			now[n.deletions[i].Path] = true
		}
	}
	for _, e := range p.was.Entries {
		n := p.unknown(e.Path)
		if now[e.Path] || n == nil {
			continue
		}
		for ; n != nil; n = n.parent {
			n.blocked = true // also above what serve may not read: the next pass looks again
		}
		p.hold(e)
		if !e.HasOwnReason() {
			p.carried += e.Entries
		}
	}
}

// unknown returns the node at or above path of which nothing is known now; nil if
// there is none.
func (p *pass) unknown(path string) *node {
	for {
		if n := p.unseen[path]; n != nil || path == "" {
			return n
		}
		path = mtree.ParentPath(path)
	}
}

// storeHeld brings the file up to date, and writes only what is news. Then a
// release is answered: whoever waits for that looks at what is still held.
func (p *pass) storeHeld() error {
	err := p.writeHeld()
	if p.release != nil && err == nil {
		err = replica.Local(p.dest.RemoveRelease())
	}
	return err
}

func (p *pass) writeHeld() error {
	now := replica.HeldList{Entries: p.holding}
	p.config.Stats.Held.Store(now.Total())
	if len(now.Entries) == 0 {
		if !p.wasUnread && len(p.was.Entries) == 0 {
			return nil
		}
		return replica.Local(p.dest.SetHeld(&now))
	}
	p.config.Log.Warn("deletions held", "count", now.Total(), "why", p.result.heldWhy,
		"remedy", "look at mirror --status DEST; mirror --release DEST carries them out")
	if !p.wasUnread && string(now.Format()) == string(p.was.Format()) {
		return nil
	}
	return replica.Local(p.dest.SetHeld(&now))
}

// recallHeld reads what was held and what was released before the pass.
func (p *pass) recallHeld() {
	var err error
	if p.was, err = p.dest.Held(); err != nil {
		p.wasUnread = true
		p.config.Log.Warn("held deletions are unreadable, writing them anew", "error", err)
	}
	p.gate.Recall(&p.was)
	if p.config.DryRun {
		return
	}
	list, err := p.dest.Released()
	switch {
	case err == nil && len(list.Entries) > 0:
		p.release = &list
	case err != nil:
		// It releases nothing, and would be looked at again and again.
		p.config.Log.Warn("a release is unreadable: it is dropped", "error", errors.Join(err, p.dest.RemoveRelease()))
	}
}
