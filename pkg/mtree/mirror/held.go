package mirror

import (
	"errors"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/replica"
)

// guard is what decides about the deletions of a pass.
type guard struct {
	gate      *replica.Gate // of --max-delete
	emptyRoot bool          // the source's root has nothing that a copy has
	inRoot    int64         // number of entries in the copy's root

	was       replica.HeldList   // what was held when the pass began
	wasUnread bool               // that is not known
	release   *replica.HeldList  // deletions that somebody released; nil: none
	holding   []replica.Deletion // what is held from now on
	carried   int64              // entries held as before, for nothing is known of the source where they are
	unseen    map[string]*node   // where nothing is known: by path, a node or one of its entries
}

// markReleased marks what waits and was released.
func (p *pass) markReleased(waiting []*node) {
	for _, n := range waiting {
		for i := range n.deletions {
			d := &n.deletions[i]
			d.Released = p.guard.release.Has(d)
		}
	}
}

// carry keeps what was held before where nothing is known of the source now: no
// news is no reason to end a hold.
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
		n := p.unknown(e.Path)
		if now[e.Path] || n == nil {
			continue
		}
		for ; n != nil; n = n.parent {
			n.blocked = true // also above what serve may not read: the next pass looks again
		}
		p.hold(e)
		if !e.HasOwnReason() {
			p.guard.carried += e.Entries
		}
	}
}

// unknown returns the node at or above path of which nothing is known now; nil if
// there is none.
func (p *pass) unknown(path string) *node {
	for {
		if n := p.guard.unseen[path]; n != nil || path == "" {
			return n
		}
		path = mtree.ParentPath(path)
	}
}

// storeHeld brings the file up to date, and writes only what is news. Then a
// release is answered: whoever waits for that looks at what is still held.
func (p *pass) storeHeld() error {
	err := p.writeHeld()
	if p.guard.release != nil && err == nil {
		err = replica.Local(p.env.Replica.RemoveRelease())
	}
	return err
}

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
	if !p.guard.wasUnread && string(now.Format()) == string(p.guard.was.Format()) {
		return nil
	}
	return replica.Local(p.env.Replica.SetHeld(&now))
}

// recallHeld reads what was held and what was released before the pass.
func (p *pass) recallHeld() {
	var err error
	if p.guard.was, err = p.env.Replica.Held(); err != nil {
		p.guard.wasUnread = true
		p.env.Log.Warn("held deletions are unreadable, writing them anew", "error", err)
	}
	p.guard.gate.Recall(&p.guard.was)
	if p.env.DryRun {
		return
	}
	list, err := p.env.Replica.Released()
	switch {
	case err == nil && len(list.Entries) > 0:
		p.guard.release = &list
	case err != nil:
		// It releases nothing, and would be looked at again and again.
		p.env.Log.Warn("a release is unreadable: it is dropped", "error", errors.Join(err, p.env.Replica.RemoveRelease()))
	}
}
