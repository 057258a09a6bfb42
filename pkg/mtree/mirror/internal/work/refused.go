package work

import (
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/source"
)

// A file that --min-size, --max-size or --max-age refuses is not fetched, and nothing else follows from
// that: it stays in the copy as long as the source lists its name. So a file that grows out of --max-age
// stays, though no stamp says when it does. A version that the copy has in place of one that is refused
// is counted, as one is that the source may not read.

// refuses returns which files of a listing are refused, as far as it tells; nil: none. Ages are by the
// clock of the source, whose mtimes they are, where the listing shows it: by a wrong clock of ours all
// files would be too old, and no stamp would lead back to them.
func (env *Env) refuses(l *mtree.Listing, approx *source.Approx) func(e *mtree.Entry) bool {
	if env.Limits.None() {
		return nil
	}
	now := env.Replica.Now()
	if l.HasNow { // guard: TestTheAgeOfAFileIsByTheSourcesClock
		now = l.Now
	}
	return func(e *mtree.Entry) bool {
		bounds, open := approx.Of(e.Name)
		if !open {
			return env.Limits.Refuse(e.Size, e.MTime, now)
		}
		latest, known := bounds.NotAfter()
		return env.Limits.RefuseSize(bounds.Low, bounds.High) || known && env.Limits.RefuseAge(latest, now)
	}
}
