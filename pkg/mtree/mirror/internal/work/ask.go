package work

import (
	"context"
	"fmt"

	"tidemark/pkg/mtree/mirror/internal/source"
)

// ask returns the listing of a target. It must be of the tree that the pass began with. If
// serve was started with other options since then, the listing is hot if it leaves out
// anything, which may also be the owners. If the source is a copy that is made with others since, it is hot in any case:
// it does not tell of what its mirror leaves out. What it shows comes under stamps that
// showed something else, and the options may be the old ones again before the root is asked.
func (env *Env) ask(ctx context.Context, t *Target) (source.Dir, error) {
	least := t.Listed
	if t.Path == "" {
		least = source.Fresh // nothing lists the root
	}
	l, err := env.Source.List(ctx, t.Path, least)
	if err == nil && l.Tree != env.Root.Tree { // guard: TestATreeThatBecomesAnotherWithinAPass
		err = fmt.Errorf("%w: the tree of the source became another, or its epoch", source.ErrMoved)
	}
	if t.Path == "" && t.Listed != source.Fresh && l.Stamp.Before(t.Listed) { // guard: TestNothingIsDeletedByACachedRootInThePlaceOfAPart
		l.Past = true // a part told of a later one
	}
	l.HotElsewhere = l.Hot && env.isOfOtherOptions(&l)
	if env.isOfOtherOptions(&l) && (l.Hidden > 0 || env.Root.Upstreams != "" || env.Owner) { // guard: TestOtherOptionsInMidPass
		l.Hot = true
	}
	return l, err
}

// isOfOtherOptions reports whether a serve with other options than those that the root tells
// of gave the listing, perhaps through a cache.
func (env *Env) isOfOtherOptions(l *source.Dir) bool {
	root := env.Root.Fingerprint
	return root != "" && l.Fingerprint != "" && l.Fingerprint != root
}
