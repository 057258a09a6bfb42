package journal

import "tidemark/pkg/mtree"

// Limits of what is told of one directory.
const maxLines = 256

// View is the index of a Follower, as its caller may use it after [Follower.Read]: it goes
// on growing while others read, and answers nothing any more ("whole", false) once another
// run has taken its place. It is a small value. Safe for use by several goroutines.
type View struct {
	index *Index
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

	Spans []Span   // in the order in which they were written, those with the same To as one
	Names []string // the names of all these lines, ascending, each once, without slashes
}

// Run and number of the last batch, 0 if there was none in this run.
func (v View) Last() (run string, number uint64) { return v.run, 0 }

// Reaches reports whether all that was stamped above s is in the index. If it is false, no
// other answer for s has a meaning but "whole".
func (v View) Reaches(s mtree.Stamp) bool { return false }

// Told returns what is told to a reader that knows the stamp s of the directory: the lines
// of all batches that may have given a stamp above s, and those before them that the reader
// would need with them.
func (v View) Told(dir string, s mtree.Stamp) Told { return Told{Whole: true} }

// Dirs returns the directories that have such lines, at or below the directory under ("" is
// the root), in the order of a walk (mtree.TreeOrder). Those below a directory of which
// "**" is told are among them, if they have lines. false: the index does not reach back to s.
func (v View) Dirs(under string, s mtree.Stamp) (dirs []string, ok bool) { return nil, false }

// Since returns the batches that may have given a stamp above s, the oldest first. What it
// returns must not be changed. false: the index does not reach back to s.
func (v View) Since(s mtree.Stamp) (batches []Batch, ok bool) { return nil, false }

// After returns the batches after the one with this number in this run, the oldest first. What
// it returns must not be changed. false: they are not all in the index, the run is another, or
// there is no such batch yet.
func (v View) After(run string, number uint64) (batches []Batch, ok bool) { return nil, false }
