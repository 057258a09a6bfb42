package source

import (
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/mirror/internal/source/autoindex"
	"tidemark/pkg/mtree/wire"
)

// AheadOfUs is by how much the clock of a source may be ahead of ours.
const AheadOfUs = time.Minute

// Poll says what the caller knows of the root, and how long the source may wait for
// news. The zero value asks for the root as it is now.
type Poll struct {
	Known string        // Root.Validator of the last answer; "": none
	Wait  time.Duration // with Known: how long the source may wait for a change
	Since *mtree.Stamp  // with Wait: the source may send all listings after this stamp along; nil: only the root's
	Parts bool          // with Since: these listings may be parts (mtree.Listing.Part), the root's, too
	Once  bool          // a request that fails is not repeated
}

// Tree names a tree and its epoch.
type Tree struct {
	ID    string // "": the source has none
	Epoch uint64
}

// Dir is one directory of a source.
type Dir struct {
	mtree.Listing
	Tree   Tree      // what the directory is part of
	Node   disk.Node // of the directory; zero unless it is on this machine
	Approx *Approx   // what the listing leaves open; nil: nothing
	Past   bool      // the source has listed it later already, or has a later stamp for it: this comes from a cache
	Direct bool      // it came past every cache: the source read it after it was asked

	// Behind is by how much a change that the listing does not show may have a ctime from before
	// Now: the ctimes are of another clock. 0: they are of the clock that shows Now.
	Behind time.Duration

	Fingerprint  string // of the options and rights of serve when it answered; "": not known
	HotElsewhere bool   // it came hot from a serve with other options than the root's; the reader finds that out
}

// Approx is what the listing of a server other than serve leaves open.
type Approx = autoindex.Approx

// Root is the root directory of a source and what the source says of its tree.
type Root struct {
	Dir         // no listing if Unchanged
	Unchanged   bool
	Answered    string // the source's clock as the answer gives it; "": not known
	Repeated    bool   // the same answer came before, from a cache: it does not tell how the source is now
	Validator   string // for Poll.Known; "": the source cannot be polled
	State       wire.State
	Unread      int          // directories of the tree that it does not publish, because its watch may not read them
	Counted     wire.Entries // how much its tree has; no directories: not known, or this is not its root
	TreePath    string       // which directory of the tree the root is, "/" or "/a/b"; "": not known
	Place       string       // where a local source is (state.PlaceOf); "": it is not local
	Runs        []wire.Run   // of the source's watch; nil: not known
	Upstreams   string       // how the source came about, if it is a copy itself (wire.FormatUpstreams)
	Server      string       // what kind of server answers, for messages
	OtherServer bool         // it is not serve: listings have no stamps, ids and ctimes
	Switched    bool         // it is the first answer of another one of several sources
}

// Fresh, as the least stamp for List, asks for a listing that comes from no cache.
var Fresh = mtree.MaxStamp
