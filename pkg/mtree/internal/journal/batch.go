package journal

import "tidemark/pkg/mtree"

// Limits of the format.
const (
	MaxNames = 1000    // names in a line; with more they are not told
	maxBatch = 1 << 20 // bytes of a batch; a larger one says "./ **"
	maxFile  = 4 << 20 // bytes of a file after which the other takes over
)

// Tree says whose journal it is.
type Tree struct {
	ID    string // 32 hex digits: see state.Tree
	Epoch uint64
}

// Head is the first line of a file.
type Head struct {
	Tree
	Boot   string // boot id of the machine on which it was written
	Run    string // 16 hex digits, random: another one, another journal
	Number uint64 // of the first batch in the file
}

// Batch is one batch of changes, as it was written before it was stamped.
type Batch struct {
	Number uint64      // without a gap in a run; the first ever is 1
	Floor  mtree.Stamp // the highest stamp published before it
	Lines  []Line
}

// Line tells the changed names of one directory.
type Line struct {
	Path string // "a/b"; the root is ""

	// A reader whose record of the directory has a stamp from From to To, both included, has
	// everything that was published before the batch. Known is false if there is no such
	// stamp; From and To mean nothing then.
	Known    bool
	From, To mtree.Stamp

	// Names are the entries that may have changed: ascending, each once, at most MaxNames.
	// Those of directories end in "/", which does not count for the order. A child directory
	// that the batch stamps is one of them.
	Names []string

	Unknown bool // "*": the names are not known, Names is empty
	Below   bool // "**": nor is anything known of the directories below. Unknown is true, too
}
