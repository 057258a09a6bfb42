package mirror

import (
	"context"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/mirror/internal/source/directory"
)

// sumResult is what comparing one group of files by their sums found.
type sumResult struct {
	err    error // nothing was compared
	equal  []mtree.Change
	differ []mtree.Change // they must be fetched
	modes  int            // how many of the equal files got another mode or owner
	failed []failure
}

// compareSums compares files of equal size and mtime by their sums, files of several
// directories with one request. It returns one result for each group. Cost: both sides
// read all bytes of the files.
func (w *work) compareSums(ctx context.Context, groups []fileGroup) []sumResult {
	results := make([]sumResult, len(groups))
	theirs, ours, err := w.bothSums(ctx, groups)
	for i := range groups {
		results[i].err = err
		if err == nil {
			w.compareGroup(&groups[i], theirs, ours, &results[i])
		}
	}
	return results
}

// bothSums returns the sums of the source and of the copy, by path.
func (w *work) bothSums(ctx context.Context, groups []fileGroup) (theirs, ours map[string]source.Sum, err error) {
	var paths []string
	for i := range groups {
		for _, c := range groups[i].changes {
			paths = append(paths, mtree.JoinPath(groups[i].target.path, c.Want.Name))
		}
	}
	if theirs, err = w.source.Sums(ctx, paths); err != nil {
		return nil, nil, err
	}
	ours, err = directory.SumFiles(ctx, w.dest.Root, paths)
	return theirs, ours, replica.Local(err)
}

// compareGroup compares the sums of one group, and sets modes of files that are equal.
func (w *work) compareGroup(g *fileGroup, theirs, ours map[string]source.Sum, r *sumResult) {
	for _, change := range g.changes {
		path := mtree.JoinPath(g.target.path, change.Want.Name)
		their, ok := theirs[path]
		our, have := ours[path]
		if !ok || !have || their.SHA256 != our.SHA256 || !their.Of(change.Want) {
			// If the source gave no sum, or that of another file, the fetch says why.
			r.differ = append(r.differ, change)
			continue
		}
		r.equal = append(r.equal, change)
		if change.What&(mtree.Mode|mtree.Owner) == 0 {
			continue
		}
		dir, err := w.openToChange(&g.target)
		if err == nil {
			err = w.setMode(dir, change)
			_ = dir.Close()
		}
		if err != nil {
			r.failed = append(r.failed, failure{path, replica.Local(err)})
		}
		r.modes++
	}
}
