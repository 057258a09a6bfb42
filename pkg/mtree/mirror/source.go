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
	"tidemark/pkg/mtree/wire"
)

// source is where a copy comes from: a server, or a local directory. All
// methods may be used by several goroutines at once, except that Root is called
// while no other method is under way.
type source interface {
	// Root returns the root's listing and what the source says of its tree. Errors
	// wrap errDenied or errGone where the source said so, mtree.ErrListing where the
	// answer is no listing.
	Root(ctx context.Context, poll srcPoll) (srcRoot, error)

	// List returns the listing of one directory. least is the stamp that its parent
	// lists: an older listing comes from a cache, and is asked for once more past all
	// caches; with srcFresh no cache is asked at all. Errors are those of Root.
	List(ctx context.Context, path string, least mtree.Stamp) (srcListing, error)

	// Fetch reads files, in any order. It yields the index of a file in want and the
	// file itself. Whoever reads Body to its end stores the file. If Body fails, what
	// was read is dropped: the same file may be yielded again. The last time that an
	// index is yielded counts; each is yielded at least once. Err is errDenied,
	// errGone, errSame or whatever kept the source from reading it. The caller may
	// stop early and closes nothing.
	Fetch(ctx context.Context, want []srcWanted) iter.Seq2[int, srcFile]

	// Sums returns the SHA-256 of files by their paths. A file that cannot be
	// read is missing from the result.
	Sums(ctx context.Context, paths []string) (map[string]srcSum, error)

	// Renewed reports whether the next request would carry other credentials than
	// the last one.
	Renewed() bool

	// Serves reports whether the source gives out a file with this text at path,
	// though it does not list it.
	Serves(ctx context.Context, path string, text []byte) bool
}

// srcPoll says what the caller knows of the root, and how long the source may wait for
// news. The zero value asks for the listing as it is.
type srcPoll struct {
	Known string        // the validator of the last answer; "": none
	Wait  time.Duration // with Known: how long the source may wait for a change
	Since *mtree.Stamp  // with Wait: the source may send all listings after this stamp along
	Once  bool          // a request that fails is not repeated
}

// srcTree names a tree and its epoch.
type srcTree struct {
	ID    string // "": the source has none
	Epoch uint64
}

// srcListing is one directory of the source.
type srcListing struct {
	mtree.Listing
	Tree   srcTree
	Node   disk.Node  // of the directory; zero unless it is on this machine
	approx *srcApprox // nil: the entries are exact
}

// srcRoot is the root's listing and what the source says of its tree.
type srcRoot struct {
	srcListing
	Unchanged   bool   // the root is as the caller knows it; there is no listing
	Validator   string // for srcPoll.Known
	Fingerprint string // of the options of serve, from the validator; "": not known
	State       wire.State
	TreePath    string     // which directory of the tree the root is, "/" or "/a/b"; "": not known
	Place       string     // disk.Place of a local source
	Runs        []wire.Run // of the source's watch; nil: not known
	Upstreams   string     // wire.FormatUpstreams: how the source came about, if it is a copy
	Server      string     // what kind of server answers, for messages
	OtherServer bool       // it is not serve: listings have no stamps, ids and ctimes
}

// srcDigest is a SHA-256.
type srcDigest = [sha256.Size]byte

// srcSum is the sum of a file, and which file was read: another file may have had the
// path then.
type srcSum struct {
	SHA256 srcDigest
	file   mtree.Entry // size and times
	known  bool        // file is known: earlier servers do not send it
}

// Of reports whether it may be the sum of the file that was listed.
func (s *srcSum) Of(listed *mtree.Entry) bool { return !s.known || sameFile(listed, &s.file) }

// srcWanted is a file to fetch.
type srcWanted struct {
	*mtree.Entry // as listed
	Path         string
	Approx       *srcApprox   // of the listing; nil: it is exact
	Kept         func() int64 // how many of its first bytes the caller has; nil: none
}

// kept returns how many bytes of it are kept from an answer that broke off.
func (w *srcWanted) kept() int64 {
	if w.Kept == nil {
		return 0
	}
	return w.Kept()
}

// Is reports whether the file that was read is the file that was listed.
func (w *srcWanted) Is(got *mtree.Entry) bool {
	if g, is := w.Approx.of(w.Name); is {
		return w.Approx.ifModified(w.Name) || g.fits(g.listed, got.MTime, got.Size)
	}
	return sameFile(w.Entry, got)
}

// LooksLike reports whether the file that was read is not the one that was listed, but
// equals it in all that a copy keeps.
func (w *srcWanted) LooksLike(got *mtree.Entry) bool {
	_, is := w.Approx.of(w.Name)
	return !is && !sameFile(w.Entry, got) && w.Size == got.Size && w.MTime == got.MTime
}

// srcFresh is the least stamp for List that no cached answer satisfies.
var srcFresh = mtree.MaxStamp

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

// srcFile is a file of the source being read.
type srcFile struct {
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
	asListed demand = iota // the one listed, or errMoved
	asFound                // the present one, provided it holds still
	asIs                   // whatever can be read
)

// opener opens a single file.
type opener func(ctx context.Context, w *srcWanted, d demand) (srcFile, error)

// oneByOne is Fetch for a source that opens single files, without those that are done
// already.
func oneByOne(ctx context.Context, want []srcWanted, done []bool, open opener, yield func(int, srcFile) bool) {
	for i := range want {
		if done != nil && done[i] {
			continue
		}
		if err := ctx.Err(); err != nil {
			if !yield(i, srcFile{Err: err}) {
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
func fetchOne(ctx context.Context, i int, w *srcWanted, open opener, yield func(int, srcFile) bool) bool {
	kept := w.kept()
	for try := 1; ; try++ {
		if now := w.kept(); now > kept {
			kept, try = now, 1 // a broken connection, not a changed file
		}
		f, err := open(ctx, w, demandOf(try))
		if err != nil {
			if !tryAgain(err, try) {
				return yield(i, srcFile{Err: err})
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

func yieldFile(i int, f srcFile, yield func(int, srcFile) bool) bool {
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
	return errors.Is(err, errMoved) && (try < fetchTries || errors.Is(err, errChanging) && try < changingTries)
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
