package wire

// State says how far the stamps of a tree can be relied on. It is the value of
// Tidemark-State (docs/protocol.md, "States"), and stands in
// .tidemark/status.json too.
type State string

// The states of a tree that watch keeps, or kept, and of a copy that mirror makes.
const (
	Watched   State = "watched"   // a live watcher; every change is published
	Auditing  State = "auditing"  // a live watcher after its start or after a loss: the scan is under way
	Degraded  State = "degraded"  // a watcher that cannot hear or stamp everything, or could not when it ended
	Audited   State = "audited"   // no live watcher, but a checkpoint: stamps hold up to it
	Unwatched State = "unwatched" // neither, or the first audit is under way
	Filling   State = "filling"   // a copy before its first complete pass
	Mirrored  State = "mirrored"  // a copy with a live mirror
	Stale     State = "stale"     // a copy without one
)

// Prunes reports whether a directory with an unchanged stamp can be skipped, with
// everything below it. A state that this version does not know does not prune.
func (s State) Prunes() bool {
	switch s {
	case Watched, Auditing, Audited, Mirrored, Stale:
		return true
	}
	return false
}
