package journal

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/state"
)

// ErrUnproved is returned where the journal proves nothing now: it is not there, is
// another tree's, another boot's or another epoch's, is not whole, or nobody writes it.
// The remedy is whole listings.
var ErrUnproved = errors.New("the journal proves nothing")

// ErrAgain is the reason of an ErrUnproved that the next reading may not give any more.
var ErrAgain = errors.New("a batch is missing at its end, or it goes on faster than it can be read")

// Follower follows the journal of one tree. It is safe for use by several goroutines. The
// zero Follower is ready.
type Follower struct {
	// MaxMemory bounds the index, in bytes; 0: DefaultMemory.
	MaxMemory int64

	asked atomic.Uint64 // calls of Read

	mu      sync.Mutex // held while somebody reads
	covered uint64     // the calls that came before the last reading began
	tree    Tree       // of the last reading, and what it gave
	view    View
	err     error

	missing uint64 // the last batch that the last reading heard of

	boot  string
	index index
	files [2]progress
	buf   []byte
}

// progress is how far a file was read.
type progress struct {
	head   Head  // which journal it was
	offset int64 // of what was not read yet
}

// Read reads what is new. The View that it returns has everything that was written before
// Read was called, and so everything that had been stamped by then: a caller reads the stamp
// of a directory **first**, and calls Read then. Calls that wait for each other share one
// reading. It needs no right to write. The error wraps ErrUnproved, and the reason. Cost, if
// nothing is new: for each of the two files openat, statx, 2 or 3 pread, 1 or 2 fcntl, close.
func (f *Follower) Read(m *state.Marker, tree Tree) (View, error) {
	asked := f.asked.Add(1)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.tree == tree && // guard: TestReadingsAreShared
		f.covered >= asked { // guard: TestReadingsBeforeACall
		return f.view, f.err
	}
	f.covered, f.tree = f.asked.Load(), tree
	f.view, f.err = f.read(m, tree)
	return f.view, f.err
}

// Memory returns how many bytes the index has, about.
func (f *Follower) Memory() int64 { return f.index.memory() }

// readTries is how often a reading begins anew because the journal went on meanwhile.
const readTries = 5

func (f *Follower) read(m *state.Marker, tree Tree) (View, error) {
	if f.index.dirs == nil {
		f.index.max = f.MaxMemory
		if f.index.max == 0 {
			f.index.max = DefaultMemory
		}
		f.index.reset("", 0)
	}
	if f.boot == "" {
		f.boot = machine.BootID()
	}
	err := ErrAgain
	for try := 0; err == ErrAgain && try < readTries; try++ {
		err = f.readOnce(m, tree)
	}
	if err != nil {
		return View{}, fmt.Errorf("%w: %w", ErrUnproved, err)
	}
	run, _ := f.index.isAt()
	return View{&f.index, run}, nil
}
