package pass

import (
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/gate"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/work"
)

// pass is one run from the root down and back to the root. It owns queue, counters and
// nodes: they belong to the goroutine that calls run, which hands out work and records
// the results.
type pass struct {
	env     *work.Env
	options *Options
	root    *node
	start   time.Time
	full    bool // everything is compared, even if records say that it is complete

	queue        queue
	leading      leading
	running      int         // steps under way
	largeRunning int         // of these, those that fetch a large file
	records      chan func() // how to record the result of a step that ended
	halted       error       // why no further step begins; nil: steps begin

	ready      []*node         // complete except for flush and stamp; children first
	incomplete []*node         // children first
	behind     map[string]bool // directories that stay incomplete: names in them or below show what was changed under other names
	changedAny bool            // something in the copy was changed
	floor      mtree.Stamp     // the stamp with which the copy was complete before
	announces  bool            // stamps are announced in the journal of the copy
	touched    []touch         // what changed since the last flush
	written    int             // files written since the last commit
	committed  time.Time
	distrusted bool      // a flush failed: nothing is stamped any more
	stopped    time.Time // when it was found to be stopped

	guard    guard
	deleting []*node         // with deletions, which wait for the end of the pass
	goneDirs map[string]bool // what was deleted, by path: whether it was a directory
	uncopied replica.Uncopied

	result   Result
	reported time.Time // when progress was reported last
	tick     <-chan time.Time
	arriving atomic.Int64 // bytes of files that arrived, including files under way
}

// touch is a directory in which something was changed, and the files that were written
// in it.
type touch struct {
	path  string
	names []string
}

// guard is what decides about the deletions of a pass.
type guard struct {
	gate      *gate.Gate // of --max-delete
	emptyRoot bool       // the source's root has nothing that a copy can have
	goneRoot  []string   // names in the root of which a part says that they are gone; some may stay here

	was       replica.HeldList   // what was held when the pass began
	wasUnread bool               // was could not be read
	release   *replica.HeldList  // deletions that somebody released; nil: none
	holding   []replica.Deletion // what is held from now on
	carried   int64              // entries that stay held because the source's directory could not be read
	unseen    map[string]bool    // by path: directories, and entries of directories, that could not be read
}

// holdsIn reports whether something at or below path was held when the pass began.
func (g *guard) holdsIn(path string) bool {
	return slices.ContainsFunc(g.was.Entries, func(e replica.Deletion) bool { return strings.HasPrefix(e.Path+"/", path+"/") })
}
