package pass

import (
	"io"
	"sync/atomic"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/glob"
	"tidemark/pkg/mtree/mirror/internal/actions"
	"tidemark/pkg/mtree/mirror/internal/gate"
	"tidemark/pkg/mtree/wire"
)

// Options says how a pass runs.
type Options struct {
	Full      bool   // everything is compared, even if records say that it is complete
	Sums      bool   // files of equal size and mtime are compared by their sums. Only a dry run needs it: else the record of the root says so
	HardLinks bool   // names of one file become one. Only a dry run needs it: else the replica says so
	HoldAll   string // why nothing may be deleted; "": it may

	Jobs        int        // steps under way at once; above 0
	CommitFiles int        // the pass commits after this many files and complete directories; above 0
	NoFlush     bool       // nothing is flushed before it is stamped
	Last        *glob.List // files that are fetched after everything else
	Limit       gate.Limit // --max-delete

	Listed   func(l *mtree.Listing, elsewhere bool) error // called with each listing before it is used; elsewhere: work.VisitResult.HotElsewhere
	Now      func() mtree.Stamp                           // the local clock
	Out      io.Writer                                    // gets the lines of a dry run
	Progress func(Progress)                               // called a few times a second; may be nil
	Tell     func([]actions.Line)                         // gets what was done, in order; it may keep nothing. nil: nobody wants to know
	Changing func()                                       // called before each change of the copy, by several goroutines at once; may be nil
	Counters Counters
	Memory   *Memory

	BeforeDelete func() // called before anything is deleted; nil except in tests
}

// Memory is what a pass remembers for the next one. The zero value is for the first pass.
// One pass at a time may use it.
type Memory struct {
	fullDisk fullDisk
	warned   warned
	flushed  bool // everything that earlier mirrors wrote is on disk

	unfinished unfinished // what passes left incomplete
}

// Counters counts what passes do, while they do it. No pointer may be nil.
type Counters struct {
	Listed    *atomic.Int64 // directories compared
	Files     *atomic.Int64 // files fetched
	Taken     *atomic.Int64 // files that were in the copy under another name
	Bytes     *atomic.Int64 // bytes of files fetched
	Deleted   *atomic.Int64 // entries deleted
	Held      *atomic.Int64 // set to the number of entries whose deletion is held
	Skipped   *atomic.Int64 // entries left out
	Failed    *atomic.Int64 // paths that failed
	Unsettled *atomic.Int64 // files kept as read
}

// warned says which warnings a mirror has given: it gives each of them once.
type warned struct {
	links  bool // symlinks cannot be copied
	owners bool // --owner has no effect
}

// Progress says how far a pass has come.
type Progress struct {
	Took      time.Duration // since its beginning
	Listed    int64         // directories compared
	Fetched   int64         // files that arrived
	Bytes     int64         // bytes of files that arrived, including files under way
	WantFiles int64         // files known to be needed, those that arrived included
	WantBytes int64
	Deleted   int64
	Failed    int64
	Pending   int // tasks that wait, and steps under way
	Done      bool

	// What the pass gets to: in a whole one, all that the copy has once it has ended; else the files
	// that differ, without directories.
	Whole    bool
	Visits   int          // directories that are not listed yet: Known grows by what is in them
	Known    wire.Entries // as far as it is known
	Finished wire.Entries // of Known
}
