package changed

import (
	"errors"
	"sync/atomic"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/serve/internal/pages"
	"tidemark/pkg/mtree/serve/internal/published"
)

// Question asks what changed at or below a directory since a stamp.
type Question struct {
	Path  string              // of the directory, below the root of the tree
	Since mtree.Stamp         // tell directories with stamps above this
	After string              // tell directories that come after this path, relative to Path; "": all
	Parts bool                // tell parts where the journal allows that, else whole listings
	Snap  *published.Snapshot // what the tree says of itself
	Stamp mtree.Stamp         // of the directory as it was read last, as the answer tells it
}

// Reader is how a walk reads directories. All fields are needed.
type Reader struct {
	Tree      *published.Tree
	LargeSize int64         // bytes of a directory as stat returns them; a larger one is not read ahead of its turn
	Listings  *atomic.Int64 // counts directories that are read
	Parts     *atomic.Int64 // counts parts that are made

	// Shared returns what read returns for a directory of this size, in bytes as stat returns
	// them: it calls read once for all walks that want the same at one time. It may wait. It
	// returns ErrBusy if no more directories may be read for now. Several goroutines call it.
	Shared func(key pages.FlightKey, size int64, read func() (*pages.Page, error)) (*pages.Page, error)
}

// Output is where an answer goes while it is made.
type Output struct {
	Send func(piece []byte) error                        // may take long; does not keep piece
	Hold func(page *pages.Page) (give func(), err error) // counts a page as being sent until give is called
}

// ErrBusy says that too many large directories are being read. An answer that has begun is cut
// there, so that the next question goes on.
var ErrBusy = errors.New("too many requests of this kind at once")

// ErrNotShared says that an answer is too long to be kept in memory, as one that is made for
// several requests is: it must be sent as it is made.
var ErrNotShared = errors.New("too long for one answer to several requests")
