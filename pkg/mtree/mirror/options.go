package mirror

import (
	"io"
	"sync/atomic"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/glob"
	"tidemark/pkg/mtree/mirror/internal/replica"
)

// passOptions says how a pass runs.
type passOptions struct {
	Full    bool   // everything is compared, whatever records say
	Sums    bool   // files of equal size and mtime are compared by their sums; the copy's root says so itself, but in a dry run
	HoldAll string // why nothing may be deleted; "": it may

	Jobs        int           // steps under way at once; above 0
	CommitFiles int           // the pass commits after this many files; above 0
	NoFlush     bool          // nothing is flushed before it is stamped
	Last        *glob.List    // files that are fetched after everything else
	Limit       replica.Limit // --max-delete

	Heed     func(*mtree.Listing) error // called with each listing before anything of it counts
	Now      func() mtree.Stamp         // the local clock
	Out      io.Writer                  // gets the lines of a dry run
	Progress func(progress)             // called at most eight times a second; may be nil
	Counters counters
	Memory   *memory

	BeforeDelete func() // called before anything is deleted; may be nil. Tests stop there
}

// memory is what passes remember for the passes after them. The zero value is that of the
// first pass.
type memory struct {
	fullDisk fullDisk
	warned   warned
}

// counters counts what passes do, while they do it. No pointer is nil.
type counters struct {
	Listed    *atomic.Int64 // directories compared
	Files     *atomic.Int64 // files fetched
	Taken     *atomic.Int64 // files that were in the copy under another name
	Bytes     *atomic.Int64 // bytes of files fetched
	Deleted   *atomic.Int64 // entries deleted
	Held      *atomic.Int64 // entries whose deletion is held now
	Skipped   *atomic.Int64 // entries left out
	Failed    *atomic.Int64 // paths that failed
	Unsettled *atomic.Int64 // files kept as read
}

// progress says how far a pass is.
type progress struct {
	Took      time.Duration // since its beginning
	Listed    int64         // directories compared
	Fetched   int64         // files that arrived
	Bytes     int64         // bytes of files that arrived, also of files under way
	WantFiles int64         // files known to be needed, those that arrived included
	WantBytes int64
	Deleted   int64
	Failed    int64
	Pending   int // tasks that wait, and steps under way
	Done      bool
}
