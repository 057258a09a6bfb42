package mirror

import (
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/wire"
)

// daemon is a mirror that keeps running: what it knows between two passes. Each turn waits
// for news of the source or for a time (await.go), runs a pass, and sets when the next one
// is due (schedule.go). After trouble the pauses are others (trouble.go).
type daemon struct {
	mirror *mirror

	begun    bool // one pass has ended; false again after the copy was opened anew
	known    known
	complete bool      // the last pass completed the copy
	held     bool      // it left deletions held
	started  time.Time // when it began

	expired  time.Time     // when backups that are too old were looked for
	expiring chan struct{} // has one element while they are removed

	walk    time.Time // when the next full walk is due; zero: the source's stamps prune
	retries retries   // when to look again at what the last pass left incomplete
	again   bool      // the next turn begins at once, whatever the source says

	hookFails int       // how many runs of --exec in a row failed
	hookAgain time.Time // when the last of them is tried again; zero: it did not fail

	tries    int          // how many turns in a row ended in trouble
	troubled time.Time    // when the first of them ended; zero: the last turn ended well
	away     *mtree.Stamp // since when the source has not answered; nil: it answers
}

// known is the root of the source as of the last pass that ended.
type known struct {
	validator   string
	stamp       mtree.Stamp
	state       wire.State
	tree        string
	path        string // which directory of the tree it is
	fingerprint string
	epoch       uint64
	run         string // the latest run of the source's watch
	unread      int    // how many directories the source does not publish
	otherServer bool   // no serve answered: no watch can make these stamps prune
}

// knownOf returns what is known of the source after a pass over root.
func knownOf(root *source.Root) known {
	return known{
		validator: root.Validator, stamp: root.Stamp, state: root.State,
		tree: root.Tree.ID, path: root.TreePath, fingerprint: root.Fingerprint, epoch: root.Tree.Epoch,
		run: wire.LatestRun(root.Runs), unread: root.Unread, otherServer: root.OtherServer,
	}
}
