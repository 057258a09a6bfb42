package mirror

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/wire"
)

// source is where a copy comes from: a server, or a local directory. All
// methods may be used by several goroutines at once.
type source interface {
	// list returns one directory. Errors wrap errDenied or errGone where the
	// source said so, mtree.ErrListing where the answer was none.
	list(ctx context.Context, ask ask) (answer, error)

	// fetch reads files and hands each to put, from one goroutine, in any order.
	// It returns one error per file, at its
	// index, nil for those that put took: what put returned, or errDenied,
	// errGone, errSame, or what kept it from reading.
	fetch(ctx context.Context, want []wanted, put putFunc) []error

	// sums returns the SHA-256 of files by their paths. A file that cannot be
	// read is missing from the result.
	sums(ctx context.Context, paths []string) (map[string]summed, error)
}

type sum = [sha256.Size]byte

// summed is the sum of a file, and which file that is: its path may have been that
// of another one when it was read.
type summed struct {
	sum  sum
	file mtree.Entry // size and times
	told bool        // those are known: earlier servers do not tell
}

// of reports whether it may be the sum of the file that was listed.
func (s *summed) of(listed *mtree.Entry) bool { return !s.told || sameFile(listed, &s.file) }

// wanted is a file to fetch.
type wanted struct {
	*mtree.Entry
	path   string
	vague  *vague       // set if the listing is a foreign one
	unless bool         // not if it is unchanged since its mtime: then errSame
	part   func() int64 // how many of its first bytes are there already; nil: none
}

// there returns how many bytes of it are kept from an answer that broke off.
func (w *wanted) there() int64 {
	if w.part == nil {
		return 0
	}
	return w.part()
}

// same reports whether what is read is the file that was listed.
func (w *wanted) same(got *mtree.Entry) bool {
	if w.vague != nil {
		return w.unless || w.vague.fits(w.vague.listed, got.MTime, got.Size)
	}
	return sameFile(w.Entry, got)
}

// seems reports whether what is read is not the file that was listed, and will be
// equal to that in all that a copy keeps.
func (w *wanted) seems(got *mtree.Entry) bool {
	return w.vague == nil && !sameFile(w.Entry, got) && w.Size == got.Size && w.MTime == got.MTime
}

// putFunc stores the file want[i]. body gives errMoved instead of io.EOF if what
// was read is not what f says.
type putFunc func(i int, f opened) error

// ask is a question for one directory.
type ask struct {
	path  string
	least mtree.Stamp   // the stamp its parent was listed with: an older answer is stale
	fresh bool          // not from a cache
	known string        // validator of the answer we have; "": none
	wait  time.Duration // with known: how long the source may wait for a change
	once  bool          // not again if it fails
	since *mtree.Stamp  // with known: the stamp behind which everything is wanted
}

// answer is what a source says of a directory, and of itself.
type answer struct {
	listing   mtree.Listing
	unchanged bool   // as known; there is no listing
	none      bool   // with unchanged: there was no answer, nobody waited for it any longer
	ahead     bool   // it came with the root's: what it says of the tree was said there
	validator string // for ask.known
	e         string // of the validator: what of it changes with the options of the server; "": not told
	state     wire.State
	treeID    string // "": the source has none
	epoch     uint64
	path      string     // which directory of the tree this is, "/" or "/a/b"; "": not told
	place     string     // disk.Place of a local source
	node      disk.Node  // of the directory, at a local source
	runs      []wire.Run // of the source's watch; nil: not told
	chain     string     // wire.FormatUpstreams: of a source that is a copy, how it came about
	dialect   string     // what kind of server this is, for messages
	foreign   bool       // its listings know less than ours
	vague     map[string]vague
}

// Errors of a source that a caller branches on.
var (
	errDenied = errors.New("the source may not read it")
	errGone   = errors.New("no longer there")
	errSame   = errors.New("unchanged")
	errMoved  = errors.New("changed while it was read")

	errChanging = errors.New("it goes on changing") // with errMoved
)

// fetchTries is how often a file that changes under the reader is read anew
// before it is kept as it was read last.
const fetchTries = 3

// changingTries is how often that is tried where it shrinks again and again.
const changingTries = 12

// opened is a file of the source being read.
type opened struct {
	// got says what it is: normally what was listed; other size or times if it
	// changed meanwhile, and then Hot if it would not hold still.
	got  mtree.Entry
	body io.Reader
	from int64 // the offset in the file at which body begins
	done func()
}

// demand says which version of a file is wanted.
type demand uint8

const (
	asListed demand = iota // the one listed, or errMoved
	asFound                // the present one, provided it holds still
	asIs                   // whatever can be read
)

// oneByOne is fetch for a source that opens single files: each as it was
// listed; if it is another by now, as it is found; and if it will not hold
// still, as it is.
func oneByOne(ctx context.Context, want []wanted, put putFunc,
	open func(ctx context.Context, e wanted, d demand) (opened, error)) []error {
	errs := make([]error, len(want))
	for i, e := range want {
		there := e.there()
		for try := 1; ; try++ {
			if now := e.there(); now > there {
				there, try = now, 1 // a broken connection, not a changed file
			}
			d := asFound
			switch {
			case try == 1:
				d = asListed
			case try >= fetchTries:
				d = asIs
			}
			errs[i] = putOne(ctx, i, e, d, put, open)
			again := try < fetchTries || errors.Is(errs[i], errChanging) && try < changingTries
			if !errors.Is(errs[i], errMoved) || !again {
				break
			}
		}
		if ctx.Err() != nil {
			for ; i < len(want); i++ {
				errs[i] = ctx.Err()
			}
			return errs
		}
	}
	return errs
}

func putOne(ctx context.Context, i int, e wanted, d demand, put putFunc,
	open func(ctx context.Context, e wanted, d demand) (opened, error)) error {
	f, err := open(ctx, e, d)
	if err != nil {
		return err
	}
	defer f.done()
	if d == asIs {
		f.got.Hot = true
	}
	return put(i, f)
}

// sameFile reports whether what is read is the file that was listed.
func sameFile(listed, got *mtree.Entry) bool {
	return listed.Size == got.Size && listed.MTime == got.MTime &&
		(listed.Has&got.Has&mtree.HasCTime == 0 || listed.CTime == got.CTime)
}

// notUnderstood is the failure of an entry with an attribute of a later
// version.
func notUnderstood(e *mtree.Entry) error {
	return fmt.Errorf("attribute %q is not understood: a newer tidemark is needed", e.NotUnderstood)
}
