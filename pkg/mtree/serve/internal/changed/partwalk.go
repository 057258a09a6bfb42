package changed

import (
	"slices"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/journal"
	"tidemark/pkg/mtree/internal/lister"
	"tidemark/pkg/mtree/serve/internal/pages"
)

// partWalk is the walk for one answer with Parts: it goes to the directories that
// the journal names, without reading any other, and tells of each the names that changed. Where
// anything is unproved, it tells the whole listing; where the journal knows nothing of the
// directories below, it goes down by their stamps. The directory that was asked about comes
// first, with a line or without: its readers expect that.
type partWalk struct {
	*Walk
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

// NewWalk returns a walk for an answer to q, that reads by reader. With out, the answer is sent as it is
// made; without, it is kept in memory. It does no I/O.
func NewWalk(reader *Reader, q Question, out *Output) *Walk {
	return &Walk{Question: q, reader: reader, lister: reader.Tree.Lister(q.Snap), out: out}
}

// Run writes all listings, or parts if they were asked for, up to 8 MiB and the last of them. A
// directory that has gone or may not be read is skipped, but for the one that was asked about. Cost: the
// listing of each directory with a stamp above Since; with Parts, for each that the journal names, an open,
// and a statx a name. Errors: those of published.Tree.OpenDir, of reading, of Reserve, and of Output; ErrBusy, if
// nothing was written before; ErrNotShared.
func (w *Walk) Run() error {
	switch {
	case !w.Stamp.After(w.Since):
		return nil
	case w.Parts:
		return w.walkParts()
	}
	return w.walk("", nil)
}

// End returns the end of the answer: what was not sent yet, and the trailer. It is the whole answer if
// there is no Output. The slice is the caller's. Call it once, after Run.
func (w *Walk) End() []byte {
	return mtree.AppendTrailer(w.body, mtree.Trailer{Stamp: w.Stamp, More: w.cut, After: w.last})
}

// IsHot reports whether a listing or a part that was written was hot.
func (w *Walk) IsHot() bool { return w.hot }

// IsCut reports whether the answer ended before all was written: its trailer says where to go on.
func (w *Walk) IsCut() bool { return w.cut }

// walkParts writes what changed since w.Since, as parts where the journal allows that.
func (w *Walk) walkParts() error {
	p := &partWalk{Walk: w, above: above{tree: w.reader.Tree, top: w.Path}}
	w.sending = p.close // guard: TestSlowReadersOfParts
	defer p.close()
	p.readJournal()
	dirs, ok := p.view.Dirs(w.Path, w.Since)
	if !ok {
		return w.walk("", nil)
	}
	p.dirs = slices.Clone(dirs)            // without the room for those that stood there twice
	p.queue = append(p.queue, &partStep{}) // guard: TestPartsOfADirectoryWithoutALine
	if p.hasLine(w.Path) {
		p.at++
	}
	return p.run()
}

// readJournal reads what is new in the journal.
func (p *partWalk) readJournal() { p.view, p.err = p.reader.Tree.Journal(p.Snap) }

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
	for p.at < len(p.dirs) && (len(p.queue) == 0 || mtree.TreeOrder(beneath(p.Path, p.dirs[p.at]), p.queue[0].path) < 0) {
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
	path := beneath(p.Path, dir)
	if p.isOver(path) || !p.reader.Tree.TellsDir(dir) { // guard (without !p.reader): TestPartsTellNoHiddenName
		return nil
	}
	return &partStep{path: path}
}

// isOver reports whether the part of the answer before this one had a directory and all below it.
func (p *partWalk) isOver(path string) bool {
	return mtree.TreeOrder(path, p.After) < 0 && !isWithin(p.After, path)
}

// insert puts a step into the queue.
func (p *partWalk) insert(step *partStep) {
	at, _ := slices.BinarySearchFunc(p.queue, step.path, func(s *partStep, path string) int { return mtree.TreeOrder(s.path, path) })
	p.queue = slices.Insert(p.queue, at, step)
}

// do does one step. Of a directory that the part of the answer before this one had, it finds what is
// below.
func (p *partWalk) do(step *partStep) error {
	step.passed = p.After != "" && mtree.TreeOrder(step.path, p.After) <= 0
	switch {
	case p.isOver(step.path):
		return nil
	case p.written > maxBody && p.last != "":
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
	case !step.reading.Stamp().After(p.Since):
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
func (p *partWalk) full(step *partStep) string { return joined(p.Path, step.path) }

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
	if step.dir, step.err = p.reader.Tree.OpenDir(full); step.err == nil {
		p.above.add(full)
		p.open = append(p.open, step)
		step.reading, step.err = p.lister.BeginPart(step.dir, full)
	}
}

// tell tells the part of a directory, or its whole listing.
func (p *partWalk) tell(step *partStep) error {
	for try := 1; ; try++ {
		told := p.view.Told(p.full(step), p.Since)
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
		p.addBelow(step, pages.Subdirs(part, p.Since))
		return nil
	}
	p.last = step.path
	p.reader.Parts.Add(1)
	p.hot = p.hot || part.Hot
	if err := p.put(mtree.FormatListing(*part)); err != nil {
		return err
	}
	p.addBelow(step, pages.Subdirs(part, p.Since))
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
		full := joined(p.Path, path)
		if !dir.Stamp.After(p.Since) || p.hasLine(full) {
			continue
		}
		told := p.view.Told(full, p.Since)
		byStamps := !told.Whole && len(told.Spans) == 0
		if byStamps && dir.Stamp.After(p.Stamp) {
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
