package journal

import (
	"maps"
	"slices"
	"strings"

	"tidemark/pkg/mtree"
)

// maxLines is how many lines are told of one directory.
const maxLines = 256

// View is the index of a Follower, as its caller may use it after [Follower.Read]: it goes
// on growing while others read, and answers nothing any more ("whole", false) once another
// run has taken its place. It is a small value. Safe for use by several goroutines.
type View struct {
	index *index
	run   string
}

// Told is what the journal tells of one directory.
type Told struct {
	// Whole says that the names are not known, that nobody's record would suffice, or that
	// there are more than 1,000 names or 256 lines. Spans and Names are empty then. A
	// directory without any line since S is not whole, and has no spans.
	Whole bool

	// Below says that nothing is known of the directories below either: the directory, or one
	// above it, has "**". Whole is true, too.
	Below bool

	Spans []mtree.Span // in the order in which they were written, those with the same To as one
	Names []string     // the names of all these lines, ascending, each once, without slashes

	// MayHide says that somebody may have set who may read the directory, or one above it: a name
	// that came and went meanwhile was in no listing.
	MayHide bool
}

// Last returns the run and the number of its last batch, 0 if there was none ever.
func (v View) Last() (run string, number uint64) {
	if v.index != nil {
		if at, last := v.index.isAt(); at == v.run {
			number = last
		}
	}
	return v.run, number
}

// lock locks the index for reading, and reports whether it still has the run of the view.
// Only then it must be unlocked.
func (v View) lock() bool {
	if v.index == nil {
		return false
	}
	v.index.mu.RLock()
	if v.index.run != v.run { // guard: TestViewOfAnotherRun
		v.index.mu.RUnlock()
		return false
	}
	return true
}

func (v View) unlock() { v.index.mu.RUnlock() }

// Reaches reports whether all that was stamped above s is in the index. If it is false, no
// other answer for s has a meaning but "whole".
func (v View) Reaches(s mtree.Stamp) bool {
	if !v.lock() {
		return false
	}
	defer v.unlock()
	return v.index.reaches(s)
}

// Told returns what is told to a reader that knows the stamp s: the lines of all batches
// that may have given a stamp above s, and those before them that the reader would need
// with them. Cost: some map accesses, one for each directory above it, and the lines.
func (v View) Told(dir string, s mtree.Stamp) Told {
	if !v.lock() {
		return Told{Whole: true, Below: true}
	}
	refs, ok := v.refs(dir, s)
	hidden := false
	if ok {
		from := v.index.batches[v.index.first(s)].Number
		if len(refs) > 0 {
			from = min(from, refs[0].number) // guard: TestStarsSinceTheFirstLine
		}
		hidden = v.index.isStarred(dir, from)
	}
	v.unlock()
	if !ok {
		return Told{Whole: true, Below: true}
	}
	t := tell(refs)
	t.MayHide = hidden
	return t
}

// IsStarred reports whether somebody may have set who may read the directory, or one above it, in the
// batches after the one with this number.
func (v View) IsStarred(dir string, number uint64) bool {
	if !v.lock() {
		return true
	}
	defer v.unlock()
	return v.index.isStarred(dir, number+1)
}

// refs returns the lines of which Told is made, more than maxLines if there are more. false:
// nothing is known of the directory, nor of those below. The caller holds the lock.
func (v View) refs(dir string, s mtree.Stamp) (refs []ref, ok bool) {
	x := v.index
	if !x.reaches(s) { // guard: TestIndexReachesBack
		return nil, false
	}
	from := x.batches[x.first(s)].Number
	if x.isCovered(dir, from) { // guard: TestIndexAgainstAModel
		return nil, false
	}
	refs = x.told(dir, from)
	return slices.Clone(refs[:min(len(refs), maxLines+1)]), true // the index goes on; the lines stay as they are
}

// tell makes one answer of the lines of a directory.
func tell(refs []ref) Told {
	if len(refs) > maxLines { // guard: TestToldIsBounded
		return Told{Whole: true}
	}
	var t Told
	if len(refs) == 0 {
		return t
	}
	names := map[string]struct{}{}
	for _, r := range refs {
		l := r.line
		if l.Unknown { // guard: TestIndexAgainstAModel
			return Told{Whole: true}
		}
		for _, name := range l.Names {
			names[bare(name)] = struct{}{}
		}
		if len(names) > MaxNames { // guard: TestToldIsBounded
			return Told{Whole: true}
		}
		if l.Known {
			t.addSpan(mtree.Span{From: l.From, To: l.To})
		}
	}
	if len(t.Spans) == 0 { // guard: TestIndexAgainstAModel
		return Told{Whole: true}
	}
	if len(names) > 0 {
		t.Names = slices.Sorted(maps.Keys(names))
	}
	return t
}

func (t *Told) addSpan(s mtree.Span) {
	if n := len(t.Spans); n > 0 && t.Spans[n-1].To == s.To {
		t.Spans[n-1].From = mtree.Earlier(t.Spans[n-1].From, s.From)
		return
	}
	t.Spans = append(t.Spans, s)
}

// Dirs returns the directories that have lines in the batches that may have given a stamp
// above s, at or below the directory under ("" is the root), in the order of a walk
// (mtree.TreeOrder). Those below a directory of which "**" is told are among them, if they
// have lines. false: the index does not reach back to s. Cost: as many steps as lines.
func (v View) Dirs(under string, s mtree.Stamp) (dirs []string, ok bool) {
	if !v.lock() {
		return nil, false
	}
	x := v.index
	if !x.reaches(s) { // guard: TestIndexReachesBack
		v.unlock()
		return nil, false
	}
	for _, b := range x.batches[x.first(s):] {
		for _, l := range b.Lines {
			if isBelow(l.Path, under) {
				dirs = append(dirs, l.Path)
			}
		}
	}
	v.unlock() // to sort them takes longer
	slices.SortFunc(dirs, mtree.TreeOrder)
	return slices.Compact(dirs), true
}

// isBelow reports whether path is the directory dir, or below it.
func isBelow(path, dir string) bool {
	rest, ok := strings.CutPrefix(path, dir)
	return ok && (dir == "" || rest == "" || rest[0] == '/')
}

// Since returns the batches that may have given a stamp above s, the oldest first. What it
// returns must not be changed. false: the index does not reach back to s.
func (v View) Since(s mtree.Stamp) (batches []Batch, ok bool) {
	if !v.lock() {
		return nil, false
	}
	defer v.unlock()
	x := v.index
	if !x.reaches(s) { // guard: TestIndexReachesBack
		return nil, false
	}
	return clone(x.batches[x.first(s):]), true
}

// After returns the batches after the one with this number in this run, the oldest first. What
// it returns must not be changed. false: they are not all in the index, the run is another, or
// there is no such batch yet.
func (v View) After(run string, number uint64) (batches []Batch, ok bool) {
	if run != v.run || !v.lock() {
		return nil, false
	}
	defer v.unlock()
	x := v.index
	if number < x.behind || number > x.last { // guard: TestIndexAgainstAModel
		return nil, false
	}
	return clone(x.batches[uint64(len(x.batches))-(x.last-number):]), true
}

func clone(all []indexed) []Batch {
	batches := make([]Batch, len(all))
	for i, b := range all {
		batches[i] = b.Batch
	}
	return batches
}
