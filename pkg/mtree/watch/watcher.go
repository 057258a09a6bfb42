package watch

import (
	"fmt"
	"slices"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/glob"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/notify"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/watch/internal/audit"
	"tidemark/pkg/mtree/watch/internal/health"
	"tidemark/pkg/mtree/watch/internal/mounts"
	"tidemark/pkg/mtree/watch/internal/ownwrites"
	"tidemark/pkg/mtree/watch/internal/publish"
	"tidemark/pkg/mtree/watch/internal/stamprule"
	"tidemark/pkg/mtree/watch/internal/trigger"
)

// watcher is a running watch. One goroutine, that of run, owns all of it and is the only one
// that sets times. An audit's workers read the fields that are fixed at the start, and share
// source, ownWrites, health and borders, which are safe for that.
type watcher struct {
	Config
	exclude    *glob.List
	root       *disk.Dir
	inode      disk.Info   // of the root, at the start
	began      mtree.Stamp // what the present epoch is named by
	granule    time.Duration
	source     notify.Source
	backend    string
	elsewhere  bool // nothing is heard, and others may change the tree: attributes come late, by another clock
	ownWrites  *ownwrites.Memory
	health     *health.Monitor
	exceptions *health.Exceptions // of health
	borders    *health.Borders

	published *publish.Tree
	names     names // of the journal
	clock     stamprule.Clock
	steps     *machine.ClockSteps // nil if the kernel has none
	floor     mtree.Stamp         // the highest stamp published
	reading   reading             // the last look at the clock
	farBack   bool                // the clock was set back, by more than the floor may be ahead

	lock         *state.Lock
	marker       *state.Marker
	tree         state.Tree
	writtenTree  state.Tree // contents of the tree file
	status       state.Status
	statusFile   *state.StatusFile
	statusFails  bool        // it could not be written: that was logged
	statusRetry  *time.Timer // runs while it could not be written
	ownWritesLog *state.OwnWriteLog
	noteFails    bool // our writes could not be recorded: that was logged

	wake    chan struct{} // from source: there is something to take
	batch   settling
	fresh   []string // directories that are heard since batches after the last Take that drained the queue
	cookies []string // of --sync, that wait for their batch
	found   []string // of --sync, found when an audit began; they wait for a Take
	hook    *trigger.Hook
	printer *trigger.Printer

	audits     audits
	firstAudit bool      // the very first audit is not done: no times are stamps yet
	lossLogged time.Time // when a loss was last logged
	losses     int       // since then

	mounts         *mounts.Follower
	files          *notify.Files       // those that are mounted by themselves
	unfollowed     error               // why mounts are not followed; nil: they are
	mountEvents    []*notify.DirEvents // where mounts came or went, not published
	seenMounts     []string            // where something was seen mounted that is not known
	mountsRecorded bool                // the tree file has the present mounts
	missedMounts   []audit.Finding     // parents of places where mounts came or went while no watch ran
	earlier        map[string]bool     // borders when the last watcher ran; nil once an audit is done
}

// reading is what the clock showed at an uptime; zero: nothing is known.
type reading struct {
	clock      mtree.Stamp
	begun, end time.Duration // the time since boot, just before and just after
}

// options returns a text of the options that decide which changes are published.
func (w *watcher) options() string {
	text := fmt.Sprintf("--cross-mounts=%t", w.CrossMounts)
	for _, rule := range slices.Compact(slices.Sorted(slices.Values(w.Exclude))) {
		text += fmt.Sprintf(" --exclude %q", rule)
	}
	return text
}

// hides reports whether a mount at path makes no difference, because path is excluded.
func (w *watcher) hides(path string) bool {
	return w.exclude.Hides(path, true) || w.exclude.Hides(path, false)
}

// rule returns the stamp rule as of now.
func (w *watcher) rule() stamprule.Rule {
	return stamprule.Rule{Floor: w.floor, Granule: w.granule}
}

// hears reports whether changes are heard at all.
func (w *watcher) hears() bool { return w.backend != "none" }

// hearsAll reports whether the changes of every directory are heard.
func (w *watcher) hearsAll() bool { return w.hears() && w.health.HearsAll() }

// newBatch returns an empty batch.
func (w *watcher) newBatch() *publish.Batch {
	return &publish.Batch{Paths: w.Exec != "" || w.Print != nil, Unsure: w.audits.owed} // guard (w.audits.owed -> false): TestGivenAfterALoss
}

// sleep lets d pass.
func sleep(d time.Duration) { <-time.After(d) }
