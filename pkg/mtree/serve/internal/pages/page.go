package pages

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"strings"
	"sync"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/serve/internal/render"
)

// MaxWhole is the longest listing that is sent with its length, in bytes before its
// coding; longer ones are sent in chunks.
const MaxWhole = 8 << 20

// Pages below Small bytes are not counted in a Room: a socket's buffer in the kernel
// takes that much.
const Small = 64 << 10

// Key names a listing apart from the times of its directory.
type Key struct {
	Path   string
	Format render.Format
	Coding render.Coding
}

// Time is what must be the same for a page to be still true. A watcher stamps the
// directory for every change in it, so the cache is used only while a watcher runs; the
// ctime shows a stamp that was set twice. The zero value is no time.
type Time struct {
	Node         disk.Node
	MTime, CTime mtree.Stamp
	Fingerprint  string // of the tree, its epoch and the options
}

// Page is a listing as it is sent. It is immutable, except for its Load, which a Room
// counts.
type Page struct {
	Load
	Key    Key
	Pieces [][]byte // the body, in its coding
	Size   int64    // bytes of memory that Pieces take
	Sum    string   // hash of the body without the time of the reading; "": too short to matter

	Stamp mtree.Stamp
	Hot   bool
	Whole bool // at most MaxWhole before its coding: one piece, sent with its length

	Tag     string // ETag without coding and quotes; "": none
	Stamped bool   // the stamp proves it
	Below   []Subdir
}

// Subdir is a directory in a listing.
type Subdir struct {
	Name  string
	Stamp mtree.Stamp
}

// Subdirs returns the directories of a listing with stamps above from. They do not keep
// the memory of the listing.
func Subdirs(l *mtree.Listing, from mtree.Stamp) (below []Subdir) {
	for i := range l.Entries {
		if e := &l.Entries[i]; e.Kind == mtree.Dir && e.MTime.After(from) {
			below = append(below, Subdir{strings.Clone(e.Name), e.MTime})
		}
	}
	return below
}

// drafts are buffers to render in, each of up to MaxWhole and a row. The collector drops
// unused ones.
var drafts = sync.Pool{New: func() any { return new([]byte) }}

// New renders a listing in this form. Its Sum is computed if it is wanted, or if the page
// is not small: then it serves to find the same page in Live.
func New(key Key, l *mtree.Listing, form render.Form, wantSum bool) *Page {
	p := &Page{Key: key, Stamp: l.Stamp, Hot: l.Hot}
	p.Key.Path = strings.Clone(key.Path) // it may be a piece of a request's header
	draft := drafts.Get().(*[]byte)
	defer drafts.Put(draft)
	body, rest := render.UpTo((*draft)[:0], MaxWhole, form, l.Entries)
	p.Whole = len(rest) == 0
	if p.Whole {
		body = form.Tail(body)
	}
	*draft = body
	var sum hash.Hash
	if wantSum || !p.Whole || len(body) >= Small {
		sum = startSum(body, l)
	}
	if p.Whole {
		p.fill(body)
	} else {
		p.fillLong(sum, body, rest, form)
	}
	for _, piece := range p.Pieces {
		p.Size += int64(cap(piece))
	}
	p.Load.Bytes = p.Size
	if sum != nil {
		p.Sum = "h" + hex.EncodeToString(sum.Sum(nil)[:12])
	}
	return p
}

// fill takes a whole body.
func (p *Page) fill(body []byte) {
	if p.Key.Coding == render.Gzip {
		body = render.Compress(body)
	}
	p.Pieces = [][]byte{bytes.Clone(body)}
}

// renderPiece is how much of a long listing is rendered at once, in bytes.
const renderPiece = 64 << 10

// fillLong takes the beginning of a long body and renders the rest of it.
func (p *Page) fillLong(sum hash.Hash, body []byte, rest []mtree.Entry, form render.Form) {
	var long pieces
	defer func() { p.Pieces = long }()
	var out io.Writer = &long
	if p.Key.Coding == render.Gzip {
		zip := render.NewGzip(out)
		defer render.PutGzip(zip)
		defer zip.Close()
		out = zip
	}
	_, _ = out.Write(body) // pieces take everything
	some := make([]byte, 0, 2*renderPiece)
	flush := func() {
		sum.Write(some)
		_, _ = out.Write(some)
		some = some[:0]
	}
	for i := range rest {
		if some = form.Row(some, &rest[i]); len(some) >= renderPiece {
			flush()
		}
	}
	some = form.Tail(some)
	flush()
}

// pieces is a body of any length, without the copies that a growing slice makes.
type pieces [][]byte

// pieceRoom is what is allocated at once for a long body, in bytes.
const pieceRoom = 512 << 10

// Write appends b. It never fails.
func (p *pieces) Write(b []byte) (int, error) {
	for rest := b; len(rest) > 0; {
		last := len(*p) - 1
		if last < 0 || len((*p)[last]) == cap((*p)[last]) {
			*p = append(*p, make([]byte, 0, pieceRoom))
			last++
		}
		n := min(len(rest), cap((*p)[last])-len((*p)[last]))
		(*p)[last] = append((*p)[last], rest[:n]...)
		rest = rest[n:]
	}
	return len(b), nil
}

// startSum begins the sum over a body. The time of the reading, the one thing in it that
// always differs, is left out.
func startSum(body []byte, l *mtree.Listing) hash.Hash {
	sum := sha256.New()
	mark := []byte("\tnow=" + l.Now.String())
	head, _, _ := bytes.Cut(body[:min(len(body), 4096)], []byte("\n"))
	if at := bytes.Index(head, mark); at >= 0 && l.HasNow {
		sum.Write(body[:at])
		body = body[at+len(mark):]
	}
	sum.Write(body)
	return sum
}
