package identity

import (
	"log/slog"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/watch/internal/stamprule"
)

// Options is what the user says about the tree.
type Options struct {
	Root     string // the path of the root, for errors
	StateDir string // instead of .tidemark in the root; "": that
	SameTree bool   // the root was moved or restored and is still this tree
	NewTree  bool   // the root was copied and is a new tree
	Promote  bool   // make a copy a source

	Now func() mtree.Stamp
	Log *slog.Logger
}

// Identity is which tree this is, and what is known of it from earlier runs.
type Identity struct {
	Tree   state.Tree
	Status state.Status
	First  bool // no watcher ran here before: the id is new
	Doubt  bool // continuity cannot be proved: every directory counts as changed

	Mounted string // machine.Stay of the root
}

// mint makes the tree a new one, whatever it was.
func (id *Identity) mint(o Options, at state.Root) {
	id.Tree = state.Tree{ID: state.NewTreeID(), Epoch: 1, Role: state.Source, Minted: o.NewTree}
	id.Tree.Bind(at)
}

// keep makes the tree a source under its present id. It clears the fields that only a
// copy has, except the path, by which copies of the tree know it.
func (id *Identity) keep(o Options, at state.Root) {
	t := &id.Tree
	t.Upstream, t.NoID, t.Place, t.Older, t.Adopted, t.Filters, t.Fingerprint, t.Copy = "", false, "", 0, "", nil, "", ""
	t.Role, t.Minted = state.Source, t.Minted && o.NewTree
	t.Bind(at)
}

// LastFloor returns the floor that the last run ended with: the floor in its status,
// or the root's stamp, which it may have written later.
func (id *Identity) LastFloor(root, now mtree.Stamp) mtree.Stamp {
	floor := mtree.MinStamp
	if id.Status.Floor != nil {
		floor = *id.Status.Floor
	}
	if root.After(now) {
		return floor
	}
	return mtree.Later(floor, root)
}

// Doubts returns why the checkpoint cannot be relied on, "" if it can.
func (id *Identity) Doubts(now mtree.Stamp) string {
	switch {
	case id.First:
		return ""
	case id.Doubt:
		return "another root, or a lost tree file"
	case id.Status.Checkpoint == nil:
		return "no checkpoint"
	case !id.Status.CheckpointHolds(id.Mounted):
		return "the checkpoint is older than the last boot, or the disk was away since"
	case id.Status.Checkpoint.After(now):
		return "the checkpoint is ahead of the clock"
	case id.clockSetBack(now, machine.Uptime()):
		return "the clock was set back while nobody watched"
	}
	return ""
}

// clockSetBack reports whether the clock moved by less than the time that has passed
// in this boot, up being the time since its start. If so, files that changed after the clock
// was set back may have a ctime from before the checkpoint. A few seconds do not count,
// because an audit looks back that far. Nor does one part in a thousand, for a clock
// that is slowed down until it is right.
func (id *Identity) clockSetBack(now mtree.Stamp, up time.Duration) bool {
	s := &id.Status
	if s.Updated == nil || s.Up == 0 || s.Boot != machine.BootID() || up < s.Up {
		return false
	}
	passed := up - s.Up
	return now.Sub(*s.Updated) < passed-passed/1000-stamprule.LookBack/2
}

// EpochBegins returns the time by which an epoch that begins with this start is named. If the clock was
// set back while nobody watched, what changed after that has ctimes from before now: they lie
// above what the clock, as it is now, would have shown when the last watcher was there.
func (id *Identity) EpochBegins(now mtree.Stamp, up time.Duration) mtree.Stamp {
	if !id.First && id.clockSetBack(now, up) { // guard (without !id.First): TestWhenAnEpochBegins
		return now.Add(id.Status.Up - up)
	}
	return now
}
