package journal

import (
	"errors"

	"tidemark/pkg/mtree/internal/state"
)

// ErrUnproved is returned where the journal proves nothing now: it is not there, is
// another tree's, another boot's or another epoch's, is not whole, or nobody writes it.
// The remedy is whole listings.
var ErrUnproved = errors.New("the journal proves nothing")

// Follower follows the journal of a tree. It is safe for use by several goroutines. The
// zero Follower is ready.
type Follower struct {
	// MaxMemory bounds the index, in bytes; 0: 16 MiB.
	MaxMemory int64
}

// Read reads what is new. The View that it returns has everything that was written before
// Read was called, and so everything that had been stamped by then: a caller reads the stamp
// of a directory **first**, and calls Read then. Calls that wait for each other share one
// reading. It needs no right to write. The error wraps ErrUnproved, and says why. Cost, if
// nothing is new: for each of the two files openat, fstat, 3 pread, fcntl, close.
func (f *Follower) Read(m *state.Marker, tree Tree) (View, error) { return View{}, ErrUnproved }

// Memory returns how many bytes the index has, about.
func (f *Follower) Memory() int64 { return 0 }
