package fetch

import (
	"context"
	"iter"
	"log/slog"
	"sync/atomic"

	"golang.org/x/time/rate"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/limits"
	"tidemark/pkg/mtree/mirror/internal/source"
)

// Source is what a fetch reads from a source. Its methods are those of *remote.Source and
// *directory.Source, which document them.
type Source interface {
	Fetch(ctx context.Context, want []source.Wanted) iter.Seq2[int, source.File]
	Part(ctx context.Context, path string, since mtree.Stamp) (source.Dir, error)
}

// Env is what a fetch works with: the source, the copy and the rules. No field changes while a
// fetch runs, and several goroutines may use what the fields point to.
type Env struct {
	Source   Source
	Root     *source.Root // what the source said of its tree when the pass began
	Copy     Writer
	Limits   limits.Limits // which files are not fetched
	OldSums  *OldSums      // outlives a pass; nil: nothing is kept
	Limiter  *rate.Limiter // of file contents; nil: none
	Arriving *atomic.Int64 // counts bytes of files as they arrive; nil: not counted
	Log      *slog.Logger
}

// Group is files of one directory to fetch, or to compare by their sums.
type Group struct {
	Target    Target
	Changes   []mtree.Change
	Staged    bool           // the directory is filled in the staging directory
	Completes bool           // nothing is known that leaves the directory unfinished in this pass
	Approx    *source.Approx // how well the source knows these files; nil: exactly
}
