package serve

import (
	"net/http"
	"slices"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/journal"
	"tidemark/pkg/mtree/internal/lister"
	"tidemark/pkg/mtree/serve/internal/pages"
	"tidemark/pkg/mtree/serve/internal/published"
)

// partWalk is the walk for one answer to ?since with part=1: it goes to the directories that
// the journal names, without reading any other, and tells of each the names that changed. Where
// anything is unproved, it tells the whole listing; where the journal knows nothing of the
// directories below, it goes down by their stamps. The directory that was asked about comes
// first, with a line or without: its readers expect that.
type partWalk struct {
	*sinceWalk
	snap  *published.Snapshot
	until mtree.Stamp // stamp of the directory that was asked about, as the answer tells it
	dirs  []string    // full paths of the directories with lines, at or below the one that was asked about, in the order of a walk
	at    int         // those from here on have no step yet
	queue []*partStep // still to do, in this order, too
	open  []*partStep // those with an open directory
	above above

	view journal.View // as of the last reading of the journal
	err  error        // of that reading
}

// partStep is a directory to be told.
type partStep struct {
	path     string              // relative to the directory that was asked about
	passed   bool                // the part of the answer before this one had it: only what is below it is told
	byStamps bool                // go down by the stamps: the journal has no line of it
	begun    bool                // it was opened, or that failed with err
	dir      *disk.Dir           // nil: not open
	reading  *lister.PartReading // begun before the journal was read
	err      error
	isAbove  bool // it is the error of a directory above
}

// partsAhead is how many directories are opened at once, so that the journal is read once
// for all of them, after their stamps.
const partsAhead = 16

// partTries is how often a directory that is stamped meanwhile is looked at before its part
// is told as hot.
const partTries = 3

// newSinceWalk returns a walk for an answer to q.
func (h *Handler) newSinceWalk(r *http.Request, q *dirRequest, from mtree.Stamp, after string) *sinceWalk {
	return &sinceWalk{h: h, r: r, lister: h.tree.Lister(q.snap), root: q.path, from: from, after: after}
}

// run writes all listings, or parts if they were asked for.
func (s *sinceWalk) run(q *dirRequest) error {
	switch {
	case !q.self.MTime.After(s.from):
		return nil
	case q.query["part"] == "1":
		return s.walkParts(q.snap, q.self.MTime)
	}
	return s.walk("", nil)
}

// walkParts writes what changed since s.from, as parts where the journal allows that. until is
// the stamp of the directory that was asked about, which was read before.
func (s *sinceWalk) walkParts(snap *published.Snapshot, until mtree.Stamp) error {
	p := &partWalk{sinceWalk: s, snap: snap, until: until, above: above{tree: s.h.tree, top: s.root}}
	s.sending = p.close // guard: TestSlowReadersOfParts
	defer p.close()
	p.readJournal()
	dirs, ok := p.view.Dirs(s.root, s.from)
	if !ok {
		return s.walk("", nil)
	}
	p.dirs = slices.Clone(dirs)            // without the room for those that stood there twice
	p.queue = append(p.queue, &partStep{}) // guard: TestPartsOfADirectoryWithoutALine
	if p.hasLine(s.root) {
		p.at++
	}
	return p.run()
}

// readJournal reads what is new in the journal.
func (p *partWalk) readJournal() { p.view, p.err = p.h.tree.Journal(p.snap) }

// beneath returns the path of dir relative to root, which is dir or above it.
func beneath(root, dir string) string {
	switch {
	case root == "":
		return dir
	case dir == root:
		return ""
	}
	return dir[len(root)+1:]
}

// run does the steps.
func (p *partWalk) run() error {
	for step := p.next(); step != nil && !p.cut; step = p.next() {
		err := p.do(step)
		p.release(step)
		if err != nil {
			return err
		}
	}
	return nil
}

// next takes the next step from the queue or, if that comes first, of a directory with a line. It
// returns nil at the end.
func (p *partWalk) next() *partStep {
	for p.at < len(p.dirs) && (len(p.queue) == 0 || mtree.TreeOrder(beneath(p.root, p.dirs[p.at]), p.queue[0].path) < 0) {
		if step := p.advance(); step != nil {
			return step
		}
	}
	if len(p.queue) == 0 {
		return nil
	}
	step := p.queue[0]
	p.queue = p.queue[1:]
	return step
}

// advance makes the step of the next directory with a line. It returns nil if that is not to be told.
func (p *partWalk) advance() *partStep {
	dir := p.dirs[p.at]
	p.at++
	path := beneath(p.root, dir)
	if p.isOver(path) || !p.h.tree.TellsDir(dir) { // guard (without !p.h): TestPartsTellNoHiddenName
		return nil
	}
	return &partStep{path: path}
}

// isOver reports whether the part of the answer before this one had a directory and all below it.
func (p *partWalk) isOver(path string) bool {
	return mtree.TreeOrder(path, p.after) < 0 && !isWithin(p.after, path)
}

// insert puts a step into the queue.
func (p *partWalk) insert(step *partStep) {
	at, _ := slices.BinarySearchFunc(p.queue, step.path, func(s *partStep, path string) int { return mtree.TreeOrder(s.path, path) })
	p.queue = slices.Insert(p.queue, at, step)
}

// do does one step. Of a directory that the part of the answer before this one had, it finds what is
// below.
func (p *partWalk) do(step *partStep) error {
	step.passed = p.after != "" && mtree.TreeOrder(step.path, p.after) <= 0
	switch {
	case p.isOver(step.path):
		return nil
	case p.written > maxSince && p.last != "":
		p.cut = true
		return nil
	case step.byStamps:
		return p.descend(step)
	case !step.begun:
		p.begin(step)
	}
	switch {
	case step.path != "" && (disk.IsAbsent(step.err) || disk.IsDenied(step.err)):
		p.dropBelow(step)
		return nil // as in walk
	case step.isAbove:
		return step.err
	case step.err != nil:
		return p.whole(step, false)
	case !step.reading.Stamp().After(p.from):
		return nil // it will be stamped, and so will be what is above it
	}
	return p.tell(step)
}

// hasLine reports whether the directory at a full path had a line when the walk began.
func (p *partWalk) hasLine(full string) bool {
	_, has := slices.BinarySearchFunc(p.dirs, full, mtree.TreeOrder)
	return has
}

// full returns the path of a step below the root of the tree.
func (p *partWalk) full(step *partStep) string { return joined(p.root, step.path) }

// begin opens the directory of a step and of some that follow, reads their stamps, and then the
// journal, once for all of them: what had been stamped by then is in it.
func (p *partWalk) begin(first *partStep) {
	p.open = slices.DeleteFunc(p.open, func(s *partStep) bool { return s.dir == nil })
	steps, room := []*partStep{first}, partsAhead-len(p.open)
	for _, step := range p.queue {
		if len(steps) >= room {
			break
		}
		if !step.byStamps && !step.begun {
			steps = append(steps, step)
		}
	}
	for p.at < len(p.dirs) && len(steps) < room {
		if step := p.advance(); step != nil {
			steps = append(steps, step)
			p.insert(step)
		}
	}
	for _, step := range steps {
		p.beginOne(step)
	}
	p.readJournal() // guard: TestPartOfWhatIsStampedMeanwhile
}

// beginOne opens the directory of one step, unless one above it does not open.
func (p *partWalk) beginOne(step *partStep) {
	full := p.full(step)
	step.begun = true
	if _, step.err = p.above.check(full); step.err != nil { // guard: TestAboveIsTriedOnce
		step.isAbove = true
		return
	}
	if step.dir, step.err = p.h.tree.OpenDir(full); step.err == nil {
		p.above.add(full)
		p.open = append(p.open, step)
		step.reading, step.err = p.lister.BeginPart(step.dir, full)
	}
}

// tell tells the part of a directory, or its whole listing.
func (p *partWalk) tell(step *partStep) error {
	for try := 1; ; try++ {
		told := p.view.Told(p.full(step), p.from)
		if p.err != nil || told.Whole || len(told.Spans) == 0 { // without a line it is not in the index any more
			return p.whole(step, told.Below)
		}
		part, err := step.reading.Read(told.Names)
		if err != nil || told.MayHide && len(part.Gone) > 0 { // guard (without told.MayHide): TestWhatCameAndWentWhileHidden
			return p.whole(step, false)
		}
		if !part.Hot || try == partTries {
			return p.writePart(step, &part, told.Spans)
		}
		if step.reading, err = p.lister.BeginPart(step.dir, p.full(step)); err != nil {
			return p.whole(step, false)
		}
		p.readJournal()
	}
}

// writePart writes a part, unless it has too many spans for its line.
func (p *partWalk) writePart(step *partStep, part *mtree.Listing, spans []mtree.Span) error {
	part.Path = step.path
	part.Part = spans
	if len(part.Part) > mtree.MaxSpans || len(mtree.AppendSelf(nil, *part)) > mtree.MaxPartLine {
		return p.whole(step, false)
	}
	if step.passed { // guard: TestPartsAfter
		p.addBelow(step, pages.Subdirs(part, p.from))
		return nil
	}
	p.last = step.path
	p.h.cfg.Stats.Parts.Add(1)
	p.hot = p.hot || part.Hot
	if err := p.put(mtree.FormatListing(*part)); err != nil {
		return err
	}
	p.addBelow(step, pages.Subdirs(part, p.from))
	return nil
}

// whole tells the whole listing of a directory, and then what is below it: by the stamps, if
// nothing is known of that.
func (p *partWalk) whole(step *partStep, below bool) error {
	if below {
		return p.descend(step)
	}
	page, ok, err := p.list(step.path, nil)
	if err != nil || !ok {
		return err
	}
	if !step.passed { // guard: TestPartsAfter
		if err := p.write(step.path, page); err != nil {
			return err
		}
	}
	p.addBelow(step, page.Below)
	return nil
}

// descend goes down by the stamps, beginning with the directory of a step.
func (p *partWalk) descend(step *partStep) error {
	p.dropBelow(step)
	return p.walk(step.path, nil)
}

// dropBelow drops the steps below a directory.
func (p *partWalk) dropBelow(step *partStep) {
	for len(p.queue) > 0 && isWithin(p.queue[0].path, step.path) {
		p.release(p.queue[0])
		p.queue = p.queue[1:]
	}
	for p.at < len(p.dirs) && isWithin(p.dirs[p.at], p.full(step)) {
		p.at++
	}
}

// addBelow adds a step for each of these directories, entries of that of a step, that has a new
// stamp and no step: it was stamped since the walk began, and a reader that is shown its new
// stamp wants it, too; or it has no line in the journal, for another watch runs there, or it is
// beyond a mount.
func (p *partWalk) addBelow(step *partStep, below []pages.Subdir) {
	for _, dir := range below {
		path := mtree.JoinPath(step.path, dir.Name)
		full := joined(p.root, path)
		if !dir.Stamp.After(p.from) || p.hasLine(full) {
			continue
		}
		told := p.view.Told(full, p.from)
		byStamps := !told.Whole && len(told.Spans) == 0
		if byStamps && dir.Stamp.After(p.until) {
			continue // it has a line that was not read yet: the next answer will tell it
		}
		p.insert(&partStep{path: path, byStamps: byStamps})
	}
}

// release closes the directory of a step.
func (p *partWalk) release(step *partStep) {
	if step.dir != nil {
		_ = step.dir.Close()
		step.dir = nil
	}
}

// close closes all directories. Those that were opened ahead will be opened anew.
func (p *partWalk) close() {
	for _, step := range p.open {
		p.release(step)
		step.begun = false
	}
	p.open = nil
}
