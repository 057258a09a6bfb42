package pass

import (
	"slices"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/actions"
	"tidemark/pkg/mtree/mirror/internal/fetch"
	"tidemark/pkg/mtree/mirror/internal/plan"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/work"
)

// What a pass did is told to Options.Tell, each action after it is done: a pass that is killed in
// between does not tell it, nor does the next one, which finds that nothing is left to do.

// tells reports whether somebody wants to know.
func (p *pass) tells() bool { return p.options.Tell != nil && !p.env.DryRun }

// tell tells what was done. It gives the lines their stamp.
func (p *pass) tell(lines ...actions.Line) {
	if len(lines) == 0 {
		return
	}
	for i := range lines {
		lines[i].Stamp = p.root.Record.Stamp
	}
	p.options.Tell(lines)
}

// teller gathers lines of one directory.
type teller struct {
	dir    string
	failed map[string]bool // paths
	lines  []actions.Line
}

// newTeller returns a teller for a directory in which some changes failed.
func newTeller(dir string, failed []fetch.Failure) *teller {
	t := &teller{dir: dir, failed: make(map[string]bool, len(failed))}
	for i := range failed {
		t.failed[failed[i].Path] = true
	}
	return t
}

// isMade reports whether a change of a name in the directory did not fail.
func (t *teller) isMade(c *mtree.Change) bool {
	return !t.failed[mtree.JoinPath(t.dir, c.Want.Name)] // guard (returns true): TestWhatFailedIsNotTold
}

// add adds a line about a name in the directory.
func (t *teller) add(action actions.Action, name string, kind mtree.Kind, why string) {
	path := actions.Path(mtree.JoinPath(t.dir, name), kind)
	t.lines = append(t.lines, actions.Line{Action: action, Path: path, Why: why})
}

func (t *teller) skip(entries []*mtree.Entry, why string) {
	for _, e := range entries {
		t.add(actions.Skip, e.Name, e.Kind, why)
	}
}

// tellVisit tells what a visit made and what it left out.
func (p *pass) tellVisit(n *node, v *work.VisitResult) {
	if !p.tells() {
		return
	}
	t := newTeller(n.Path, v.Failed)
	for _, r := range v.Respelled {
		t.add(actions.Rename, r.New, r.Kind, "")
		t.lines[len(t.lines)-1].From = actions.Path(mtree.JoinPath(n.Path, r.Old), r.Kind)
	}
	t.addMade(v)
	t.skip(v.Plan.Kept, "the source may have it and not list it")
	for _, name := range v.Staying {
		t.add(actions.Skip, name, mtree.Dir, "gone at the source, but filters exclude something in it")
	}
	t.skip(v.Plan.SkippedLinks, "a symlink that is absolute, leads out or is not wanted")
	t.skip(v.Plan.TooDeep, "its path is too long")
	p.tell(t.lines...)
}

// addMade adds what a visit made, without what failed and what waits for the end of the pass.
func (t *teller) addMade(v *work.VisitResult) {
	for i := range v.Plan.MakeDirs {
		c := &v.Plan.MakeDirs[i]
		if !t.isMade(c) && !slices.Contains(v.HalfMade, c.Want.Name) {
			continue
		}
		if c.Have != nil {
			t.add(actions.Delete, c.Want.Name, c.Have.Kind, "")
			t.lines[len(t.lines)-1].Entries = 1
		}
		t.add(actions.Create, c.Want.Name, mtree.Dir, "")
	}
	for i := range v.Plan.MakeLinks {
		c := &v.Plan.MakeLinks[i]
		if t.isMade(c) && (c.Have == nil || c.Have.Kind != mtree.Dir) {
			t.add(actionOf(c), c.Want.Name, mtree.Symlink, "")
		}
	}
	for i := range v.Plan.SetModes {
		if c := &v.Plan.SetModes[i]; t.isMade(c) {
			t.add(actions.Mode, c.Want.Name, c.Want.Kind, "")
		}
	}
	for i := range v.Relinked {
		t.add(actions.Mode, v.Relinked[i].Want.Name, mtree.File, "")
	}
}

// actionOf returns what a change does to an entry that is no directory and replaces none.
func actionOf(c *mtree.Change) actions.Action {
	switch {
	case c.Have == nil:
		return actions.Create
	case c.What&(mtree.Type|mtree.Content) != 0:
		return actions.Update
	}
	return actions.Mode
}

// tellFetch tells which files arrived, and which the source may not read. A file that replaces a
// directory does not have its name yet.
func (p *pass) tellFetch(n *node, h *fetch.Result) {
	if !p.tells() {
		return
	}
	t, updated := newTeller(n.Path, nil), h.Updated
	for i, name := range h.Names {
		path := mtree.JoinPath(n.Path, name)
		switch {
		case h.From != nil:
			t.add(actions.Rename, name, mtree.File, "")
			t.lines[len(t.lines)-1].From = h.From[i]
		case len(updated) > 0 && updated[0] == name:
			updated = updated[1:]
			t.add(actions.Update, name, mtree.File, "")
		case !slices.ContainsFunc(h.Deletions, func(d replica.Deletion) bool { return d.Path == path }): // guard (always): TestPrintIsInOrder
			t.add(actions.Create, name, mtree.File, "")
		}
	}
	for _, name := range h.Unread {
		t.add(actions.Skip, name, mtree.File, notRead)
	}
	p.tell(t.lines...)
}

// notRead says why something is not copied.
const notRead = "the source may not read it"

// tellSums tells which files of equal bytes got another mode or owner.
func (p *pass) tellSums(n *node, c *work.SumResult) {
	if !p.tells() || c.Modes == 0 {
		return
	}
	t := newTeller(n.Path, c.Failed)
	for i := range c.Equal {
		change := &c.Equal[i]
		if plan.ModeDiffers(*change, p.env.Owner) && t.isMade(change) { // guard (without t.isMade): TestWhatFailedIsNotTold
			t.add(actions.Mode, change.Want.Name, change.Want.Kind, "")
		}
	}
	p.tell(t.lines...)
}

// tellDeletions tells what became of deletions.
func (p *pass) tellDeletions(deletions []replica.Deletion, r *work.DeleteResult) {
	if !p.tells() {
		return
	}
	var lines []actions.Line
	for i := range r.Each {
		d, is := &deletions[i], r.Each[i]
		l := actions.Line{Action: actions.Delete, Path: actions.Path(d.Path, d.Kind), Entries: is.Entries}
		if d.Stays || is.Failed {
			l.Action, l.Entries = actions.Update, 0 // what is gone below has no line of its own
		}
		if is.Entries > 0 || is.Replaced {
			lines = append(lines, l)
		}
		if is.Replaced {
			lines = append(lines, actions.Line{Action: actions.Create, Path: d.Path})
		}
	}
	p.tell(lines...)
}

// tellHold tells that a deletion is held which was not held before.
func (p *pass) tellHold(d *replica.Deletion) {
	if p.tells() && p.guard.was.At(d.Path) == nil { // guard (without p.guard.was): TestAHoldIsToldOnce
		p.tell(actions.Line{Action: actions.Hold, Path: actions.Path(d.Path, d.Kind), Entries: d.Entries, Why: d.Why})
	}
}

// tellUnreadable tells that a directory is left out.
func (p *pass) tellUnreadable(n *node) {
	if p.tells() {
		p.tell(actions.Line{Action: actions.Skip, Path: actions.Path(n.Path, mtree.Dir), Why: notRead})
	}
}
