package mirror

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/wire"
)

// source is where a copy comes from: a server, or a local directory. All
// methods may be used by several goroutines at once, except that Root is called
// while no other method is under way.
type source interface {
	// Root returns the root's listing and what the source says of its tree. Errors
	// wrap source.ErrDenied or source.ErrGone where the source said so, mtree.ErrListing where the
	// answer is no listing.
	Root(ctx context.Context, poll source.Poll) (source.Root, error)

	// List returns the listing of one directory. least is the stamp that its parent
	// lists: an older listing comes from a cache, and is asked for once more past all
	// caches; with source.Fresh no cache is asked at all. Errors are those of Root.
	List(ctx context.Context, path string, least mtree.Stamp) (source.Dir, error)

	// Fetch reads files, in any order. It yields the index of a file in want and the
	// file itself. Whoever reads Body to its end stores the file. If Body fails, what
	// was read is dropped: the same file may be yielded again. The last time that an
	// index is yielded counts; each is yielded at least once. Err is source.ErrDenied,
	// source.ErrGone, source.ErrSame or whatever kept the source from reading it. The caller may
	// stop early and closes nothing.
	Fetch(ctx context.Context, want []source.Wanted) iter.Seq2[int, source.File]

	// Sums returns the SHA-256 of files by their paths. A file that cannot be
	// read is missing from the result.
	Sums(ctx context.Context, paths []string) (map[string]source.Sum, error)

	// Renewed reports whether the next request would carry other credentials than
	// the last one.
	Renewed() bool

	// Serves reports whether the source gives out a file with this text at path,
	// though it does not list it.
	Serves(ctx context.Context, path string, text []byte) bool
}

// source.Poll says what the caller knows of the root, and how long the source may wait for
// news. The zero value asks for the listing as it is.
type source.Poll struct {
	Known string        // the validator of the last answer; "": none
	Wait  time.Duration // with Known: how long the source may wait for a change
	Since *mtree.Stamp  // with Wait: the source may send all listings after this stamp along
	Once  bool          // a request that fails is not repeated
}

// source.Tree names a tree and its epoch.
type source.Tree struct {
	ID    string // "": the source has none
	Epoch uint64
}

// source.Dir is one directory of the source.
type source.Dir struct {
	mtree.Listing
	Tree   source.Tree
	Node   disk.Node  // of the directory; zero unless it is on this machine
	approx *source.Approx // nil: the entries are exact
}

// source.Root is the root's listing and what the source says of its tree.
type source.Root struct {
	source.Dir
	Unchanged   bool   // the root is as the caller knows it; there is no listing
	Validator   string // for source.Poll.Known
	Fingerprint string // of the options of serve, from the validator; "": not known
	State       wire.State
	TreePath    string     // which directory of the tree the root is, "/" or "/a/b"; "": not known
	Place       string     // disk.Place of a local source
	Runs        []wire.Run // of the source's watch; nil: not known
	Upstreams   string     // wire.FormatUpstreams: how the source came about, if it is a copy
	Server      string     // what kind of server answers, for messages
	OtherServer bool       // it is not serve: listings have no stamps, ids and ctimes
}

// source.Digest is a SHA-256.
type source.Digest = [sha256.Size]byte

// source.Sum is the sum of a file, and which file was read: another file may have had the
// path then.
type source.Sum struct {
	SHA256 source.Digest
	file   mtree.Entry // size and times
	known  bool        // file is known: earlier servers do not send it
}

// Of reports whether it may be the sum of the file that was listed.
func (s *source.Sum) Of(listed *mtree.Entry) bool { return !s.known || source.SameFile(listed, &s.file) }

// source.Wanted is a file to fetch.
type source.Wanted struct {
	*mtree.Entry // as listed
	Path         string
	Approx       *source.Approx   // of the listing; nil: it is exact
	Kept         func() int64 // how many of its first bytes the caller has; nil: none
}

// kept returns how many bytes of it are kept from an answer that broke off.
func (w *source.Wanted) kept() int64 {
	if w.Kept == nil {
		return 0
	}
	return w.Kept()
}

// Is reports whether the file that was read is the file that was listed.
func (w *source.Wanted) Is(got *mtree.Entry) bool {
	if g, is := w.Approx.of(w.Name); is {
		return w.Approx.ifModified(w.Name) || g.fits(g.listed, got.MTime, got.Size)
	}
	return source.SameFile(w.Entry, got)
}

// LooksLike reports whether the file that was read is not the one that was listed, but
// equals it in all that a copy keeps.
func (w *source.Wanted) LooksLike(got *mtree.Entry) bool {
	_, is := w.Approx.of(w.Name)
	return !is && !source.SameFile(w.Entry, got) && w.Size == got.Size && w.MTime == got.MTime
}

// source.Fresh is the least stamp for List that no cached answer satisfies.
var source.Fresh = mtree.MaxStamp

// Errors of a source that a caller branches on.
var (
	source.ErrDenied = errors.New("the source may not read it")
	source.ErrGone   = errors.New("no longer there")
	source.ErrSame   = errors.New("unchanged")
	source.ErrMoved  = errors.New("changed while it was read")

	source.ErrChanging = errors.New("it goes on changing") // with source.ErrMoved
)

// fetchTries is how often a file that changes under the reader is read anew
// before it is kept as it was read last.
const fetchTries = 3

// changingTries is how often that is tried where it shrinks again and again.
const changingTries = 12

// source.File is a file of the source being read.
type source.File struct {
	// Got describes it: normally what was listed; other size or times if it
	// changed meanwhile, and then Hot if it would not hold still. Its size is -1 if
	// only reading it tells.
	Got  mtree.Entry
	From int64 // the offset in the file at which Body begins
	Body io.Reader
	Err  error // there is no Body

	failed *error // why Body ended early; nil or pointing to nil: it did not
	close  func()
}

// demand says which version of a file is wanted.
type demand uint8

const (
	asListed demand = iota // the one listed, or source.ErrMoved
	asFound                // the present one, provided it holds still
	asIs                   // whatever can be read
)

// opener opens a single file.
type opener func(ctx context.Context, w *source.Wanted, d demand) (source.File, error)

// oneByOne is Fetch for a source that opens single files, without those that are done
// already.
func oneByOne(ctx context.Context, want []source.Wanted, done []bool, open opener, yield func(int, source.File) bool) {
	for i := range want {
		if done != nil && done[i] {
			continue
		}
		if err := ctx.Err(); err != nil {
			if !yield(i, source.File{Err: err}) {
				return
			}
			continue
		}
		if !fetchOne(ctx, i, &want[i], open, yield) {
			return
		}
	}
}

// fetchOne opens a file as it was listed; if it is another by now, as it is found;
// and if it will not hold still, as it is. It returns what yield does.
func fetchOne(ctx context.Context, i int, w *source.Wanted, open opener, yield func(int, source.File) bool) bool {
	kept := w.kept()
	for try := 1; ; try++ {
		if now := w.kept(); now > kept {
			kept, try = now, 1 // a broken connection, not a changed file
		}
		f, err := open(ctx, w, demandOf(try))
		if err != nil {
			if !tryAgain(err, try) {
				return yield(i, source.File{Err: err})
			}
			continue
		}
		if demandOf(try) == asIs {
			f.Got.Hot = true
		}
		if !yieldFile(i, f, yield) {
			return false
		}
		if !tryAgain(*f.failed, try) {
			return true
		}
	}
}

func yieldFile(i int, f source.File, yield func(int, source.File) bool) bool {
	defer f.close()
	return yield(i, f)
}

func demandOf(try int) demand {
	switch {
	case try == 1:
		return asListed
	case try < fetchTries:
		return asFound
	}
	return asIs
}

func tryAgain(err error, try int) bool {
	return errors.Is(err, source.ErrMoved) && (try < fetchTries || errors.Is(err, source.ErrChanging) && try < changingTries)
}

// sameFile reports whether what is read is the file that was listed.
func source.SameFile(listed, got *mtree.Entry) bool {
	return listed.Size == got.Size && listed.MTime == got.MTime &&
		(listed.Has&got.Has&mtree.HasCTime == 0 || listed.CTime == got.CTime)
}

// notUnderstood is the failure of an entry with an attribute of a later
// version.
func notUnderstood(e *mtree.Entry) error {
	return fmt.Errorf("attribute %q is not understood: a newer tidemark is needed", e.NotUnderstood)
}
