package publish

import (
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/glob"
	"tidemark/pkg/mtree/internal/journal"
	"tidemark/pkg/mtree/internal/notify"
	"tidemark/pkg/mtree/watch/internal/health"
	"tidemark/pkg/mtree/watch/internal/ownwrites"
	"tidemark/pkg/mtree/watch/internal/stamprule"
	"tidemark/pkg/mtree/watch/internal/trigger"
)

// Journal is where the names of a batch are written down before it is stamped. If that fails,
// nobody relies on the journal any more when the method returns.
type Journal interface {
	Write(floor mtree.Stamp, lines []journal.Line)
	Drop() // something will be stamped that is not written down
}

// Tree is where batches are published. Its fields stay the same while a watcher runs, but for
// Given, Awaited and lately, which belong to it, and Journal.
type Tree struct {
	Root        *disk.Dir
	Source      notify.Source // where directories that arrive are armed
	Hears       bool          // whether the source hears changes at all
	Exclude     *glob.List
	CrossMounts bool // enter directories on other file systems
	Clock       *stamprule.Clock
	SetTime     func(*disk.Dir, mtree.Stamp) error // how stamps are written

	OwnWrites      *ownwrites.Memory
	Health         *health.Monitor
	Given          ownwrites.Given
	Awaited        ownwrites.Awaited
	Borders        *health.Borders
	SaveExceptions func() // called before a stamp, if exceptions are not saved

	Journal Journal // nil: nothing is written down

	lately lately
}

// Result is what Publish did.
type Result struct {
	Stamped int              // directories written
	Top     mtree.Stamp      // highest stamp given, also where it was refused; at least the floor
	Changed bool             // something was stamped or refused
	Fresh   []string         // directories that were not heard before; with each of them those below it
	Changes []trigger.Change // if Batch.Paths
	Mounts  []string         // where something was seen mounted
}
