package mirror

import (
	"time"

	"tidemark/pkg/mtree/mirror/internal/source"
)

// A source that keeps a journal tells, of each directory that changed, only the names that did: a
// part of its listing. It suffices where the directory's record proves that the copy lacks nothing
// else (work.Env.Visit). The other listings of such an answer are whole.

// takesParts reports whether the next pass may go by parts: it is one like any other, into a copy
// that keeps names and times as they are.
func (d *daemon) takesParts() bool {
	r := d.mirror.replica
	return !d.held && // guard (without !d.held): TestWhenPartsAreAskedFor
		!r.Staging.Folds && // guard: TestWhenPartsAreAskedFor
		r.Times.Granule <= time.Nanosecond // guard: TestWhenPartsAreAskedFor
}

// isOfSameTree reports whether a root is that of the tree that the last pass was over, in the same
// state and epoch, of the same run of watch, and shown with the same options. Otherwise more may
// have to be compared than a part tells of.
func (d *daemon) isOfSameTree(a *source.Root) bool {
	is, k := knownOf(a), d.known
	is.validator, is.stamp, is.unread = k.validator, k.stamp, k.unread
	return is == k
}
