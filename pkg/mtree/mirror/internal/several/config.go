package several

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/overlap"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/mirror/internal/work"
)

// Origin is one source: *remote.Source or *directory.Source.
type Origin interface {
	work.Source
	overlap.Source
	Root(ctx context.Context, poll source.Poll) (source.Root, error)
	Renewed() bool
	Close()
}

// Config says which sources there are. All fields are needed.
type Config struct {
	List       []Candidate                       // in the order of preference
	FirstProbe time.Duration                     // from the use of another source until the preferred ones are asked again
	Vary       func(time.Duration) time.Duration // a pause below that

	Now     func() mtree.Stamp
	Log     *slog.Logger
	Changes *atomic.Int64 // counts how often another source was used
	Number  *atomic.Int64 // of the source that is used, counted from 1; 0: none can be used
}

// Candidate is one of the sources. Open may be called again after its error, and after Close. An error with
// exit.Usage or exit.Refused says that it will never help.
type Candidate struct {
	Name string // without secrets
	Open func() (Origin, error)
}
