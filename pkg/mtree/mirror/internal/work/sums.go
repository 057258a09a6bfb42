package work

import (
	"context"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/fetch"
	"tidemark/pkg/mtree/mirror/internal/plan"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/mirror/internal/source/directory"
)

// SumResult is what comparing one group of files by their sums found.
type SumResult struct {
	Err    error // nothing was compared
	Equal  []mtree.Change
	Differ []mtree.Change // they must be fetched
	Modes  int            // how many of the equal files got another mode or owner
	Failed []fetch.Failure
}

// CompareSums compares files of equal size and mtime by their sums, files of several
// directories with one request. It returns one result for each group. Cost: both sides
// read all bytes of the files.
func (env *Env) CompareSums(ctx context.Context, groups []fetch.Group) []SumResult {
	results := make([]SumResult, len(groups))
	theirs, ours, err := env.bothSums(ctx, groups)
	for i := range groups {
		results[i].Err = err
		if err == nil {
			env.compareGroup(ctx, &groups[i], theirs, ours, &results[i])
		}
	}
	return results
}

// bothSums returns the sums of the source and of the copy, by path.
func (env *Env) bothSums(ctx context.Context, groups []fetch.Group) (theirs, ours map[string]source.Sum, err error) {
	var paths []string
	for i := range groups {
		for _, c := range groups[i].Changes {
			paths = append(paths, mtree.JoinPath(groups[i].Target.Path, c.Want.Name))
		}
	}
	if theirs, err = env.Source.Sums(ctx, paths); err != nil {
		return nil, nil, err
	}
	ours, err = directory.SumFiles(ctx, env.Replica.Root, paths)
	return theirs, ours, replica.Local(err)
}

// compareGroup compares the sums of one group, and sets modes of files that are equal.
func (env *Env) compareGroup(ctx context.Context, g *fetch.Group, theirs, ours map[string]source.Sum, r *SumResult) {
	for _, change := range g.Changes {
		path := mtree.JoinPath(g.Target.Path, change.Want.Name)
		their, ok := theirs[path]
		our, have := ours[path]
		if !ok || !have || their.SHA256 != our.SHA256 || !their.Of(change.Want) {
			// If the source gave no sum, or one of another file, the fetch shows why.
			if !have {
				change.What |= mtree.Content // guard: TestLinkedNamesThatCannotBeRead
			}
			r.Differ = append(r.Differ, change)
			continue
		}
		r.Equal = append(r.Equal, change)
		linked := env.Replica.Links != nil && !env.isLinked(g.Target.Path, g.Target.Nested, change)
		if !plan.ModeDiffers(change, env.Owner) && !linked { // guard (!plan.ModeDiffers(change, env.Owner) -> change.What&(mtree.Mode|mtree.Owner) == 0): TestOwnersThatAreNotCopied
			continue
		}
		dir, err := env.writer().OpenToChange(&g.Target)
		if err == nil && linked {
			_, err = env.relink(ctx, dir, &g.Target, change) // guard: TestLinksOfFilesThatAreCompared
			_ = dir.Close()
		} else if err == nil {
			err = env.setMode(ctx, dir, change)
			_ = dir.Close()
		}
		if err == errModeNotKept {
			continue
		}
		if err != nil {
			r.Failed = append(r.Failed, fetch.Failure{Path: path, Err: replica.Local(err)})
		}
		r.Modes++
	}
}
