package pass

import (
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/journal"
	"tidemark/pkg/mtree/mirror/internal/work"
)

// A copy keeps a journal as a watched tree does, so that a copy of it needs no whole listings
// either. Before directories are stamped, a batch says which names changed in each of them since
// it was given the stamp that it had: a reader that has exactly that stamp needs nothing else.
//
// That holds only if all that changed came by this pass. What a pass changes in a directory or
// below it, it changes after a visit of that directory. So a directory that was visited and not
// stamped since tells no names, nor does one that was not stamped in this run of mirror.

// mayAnnounce reports whether the pass announces its stamps. It must know with which stamp the
// copy was complete before. A full walk begins with doubts: copies of the copy go by its stamps.
func (p *pass) mayAnnounce(root *node) bool {
	p.floor = root.before.Stamp
	return root.had && !root.before.IsUnfinished() && root.Doubts == 0 && !p.full && !p.env.DryRun && p.env.Root.State.Prunes()
}

// noteNews notes what a visit of n changed or may lead to. In a pass that announces nothing, only
// whether there is something.
func (p *pass) noteNews(n *node, v *work.VisitResult) {
	before := n.before.Stamp
	if n.before.IsUnfinished() {
		before = mtree.Stamp{}
	}
	n.news.isGiven = p.env.Replica.Recall(n.Path, before)
	n.news.many = n.Fresh // they are not told
	if n.news.addVisit(v); !p.announces && !n.news.isEmpty() {
		n.news.many, n.news.names = true, nil
	}
}

// retain is for a directory that keeps its stamp: if nothing changed in it either, it is still
// known with that.
func (p *pass) retain(n *node) {
	if n.news.isGiven && n.news.isEmpty() { // guard (without n.news.isEmpty): TestAWalkThatComesBeforeAStamp
		p.env.Replica.Retain(n.Path, n.Record.Stamp)
	}
}

// announce writes down what changed in the directories that are about to be stamped.
func (p *pass) announce(ready []*node) {
	if !p.announces {
		return
	}
	var lines []journal.Line
	for _, n := range ready {
		if !n.blocked && n.isNews() {
			lines = append(lines, n.line())
		}
	}
	p.env.Replica.Announce(p.floor, lines)
}

// isNews reports whether n is about to get another stamp, or the same again.
func (n *node) isNews() bool {
	return !n.intact || n.changed || n.begun || n.Record.Stamp != n.before.Stamp
}

// line returns the line of n. Nothing is known below a directory that is new here, or that
// somebody touched. No name is told of one that was not complete, or not by a stamp of ours; nor
// of one of which the pass sets who may read it: see docs/decisions.md, a name that is gone.
func (n *node) line() journal.Line {
	switch {
	case n.Fresh || !n.intact: // guard: TestLinesOfACopy
		return journal.Line{Path: n.Path, Unknown: true, Below: true}
	case !n.news.isGiven || n.news.many || n.Doubts != 0 || n.set: // guard: TestLinesOfACopy
		return journal.Line{Path: n.Path, Unknown: true}
	}
	return journal.Line{Path: n.Path, Known: true, From: n.before.Stamp, To: n.before.Stamp, Names: n.news.names}
}
