package serve

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/serve/internal/negotiate"
	"tidemark/pkg/mtree/serve/internal/render"
	"tidemark/pkg/mtree/wire"
)

// page is a listing as it is sent. All who are sent it at one time share it. It is
// immutable but for load.
type page struct {
	load
	key    pageKey
	pieces pieces // in its coding
	size   int64  // bytes of pieces
	sum    string // of what is in it, but for when it was read; "": too short to matter

	tag     string // without coding and quotes; "": none
	stamp   mtree.Stamp
	hot     bool
	stamped bool     // the stamp proves it
	whole   bool     // at most maxWhole before its coding: sent with its length
	below   []subdir // in an answer to ?since: its directories
}

// subdir is a directory in a listing.
type subdir struct {
	name  string
	stamp mtree.Stamp
}

// pieces is a body of any length, without the copies that a growing slice makes.
type pieces [][]byte

// pieceRoom is what is allocated at once for a long body.
const pieceRoom = 512 << 10

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

// errUnmade says that the making of a page did not come to its end.
var errUnmade = errors.New("the making of a listing ended early")

// page returns the listing of dir as it is to be sent: from the cache, or made, with
// all who want the same now.
func (h *Handler) page(r *http.Request, v *view, dir *disk.Dir) (*page, error) {
	key, time := flightKey{pageKey: v.key(), e: v.snap.e, state: v.snap.State}, pageTime{}
	if v.snap.State == wire.Watched {
		if p := h.cache.get(v.key(), v.time()); p != nil {
			h.cfg.Stats.Cached.Add(1)
			return p, nil
		}
		time = v.time()
	}
	return h.share(r, key, time, func() (*page, error) { return h.makePage(r, v, dir) })
}

// share makes a page with all who want the same. One whose maker's client has gone
// while it waited for its turn is made anew.
func (h *Handler) share(r *http.Request, key flightKey, time pageTime, make func() (*page, error)) (*page, error) {
	for {
		p, err := h.flights.do(key, time, make)
		if err != nil && errors.Is(err, context.Canceled) && r.Context().Err() == nil {
			continue
		}
		return p, err
	}
}

// makePage reads the directory and renders its listing.
func (h *Handler) makePage(r *http.Request, v *view, dir *disk.Dir) (*page, error) {
	leave, err := h.passLarge(r, v.self.Size)
	if err != nil {
		return nil, err
	}
	defer leave()
	if err := h.look(v, dir); err != nil { // anew: it waited for another reading, maybe
		return nil, err
	}
	l, err := h.read(v, dir)
	if err != nil {
		return nil, err
	}
	p := h.pageOf(v, l)
	if proves(v, l) && v.snap.State == wire.Watched {
		h.cache.put(v.key(), v.time(), p)
	}
	return h.pages.same(p), nil
}

// proves reports whether the stamp that the directory had before it was read proves
// the listing for as long as it has it.
func proves(v *view, l *mtree.Listing) bool {
	return !l.Hot && l.Stamp == v.self.MTime && v.stamped(l)
}

// pageOf renders a listing.
func (h *Handler) pageOf(v *view, l *mtree.Listing) *page {
	p := &page{key: v.key(), stamp: l.Stamp, hot: l.Hot, stamped: v.stamped(l)}
	p.key.path = strings.Clone(v.path) // it may be a piece of a request's header
	form := h.form(v, l)
	draft := bodies.Get().(*[]byte)
	defer bodies.Put(draft)
	body, rest := render.UpTo((*draft)[:0], maxWhole, form, l.Entries)
	p.whole = len(rest) == 0
	if p.whole {
		body = form.Tail(body)
	}
	*draft = body
	sum := startSum(body, l, p.whole && p.stamped && len(body) < heldLeast)
	p.fill(v.coding, sum, body, rest, form)
	switch {
	case p.stamped:
		p.tag = v.stampTag(l.Stamp, l.Hot)
	case p.whole:
		p.tag = wire.ListingTag{Validator: p.sum, Format: string(v.format), Fingerprint: v.snap.e}.String()
	}
	return p
}

// fill takes the body, which has all but rest of the entries, in its coding.
func (p *page) fill(c render.Coding, sum hash.Hash, body []byte, rest []mtree.Entry, form render.Form) {
	if p.whole {
		if c == render.Gzip {
			body = render.Compress(body)
		}
		p.pieces = pieces{bytes.Clone(body)}
	} else {
		p.long(c, sum, body, rest, form)
	}
	for _, piece := range p.pieces {
		p.size += int64(cap(piece))
	}
	p.load.bytes = p.size
	if sum != nil {
		p.sum = "h" + hex.EncodeToString(sum.Sum(nil)[:12])
	}
}

// long renders the rest of a long listing.
func (p *page) long(c render.Coding, sum hash.Hash, body []byte, rest []mtree.Entry, form render.Form) {
	var out io.Writer = &p.pieces
	if c == render.Gzip {
		zip := render.NewGzip(out)
		defer render.PutGzip(zip)
		defer zip.Close()
		out = zip
	}
	_, _ = out.Write(body) // pieces take everything
	some := make([]byte, 0, 2*sinkPiece)
	flush := func() {
		sum.Write(some)
		_, _ = out.Write(some)
		some = some[:0]
	}
	for i := range rest {
		if some = form.Row(some, &rest[i]); len(some) >= sinkPiece {
			flush()
		}
	}
	some = form.Tail(some)
	flush()
}

// startSum begins the sum over a body, nil if none is wanted. The time of the
// reading, the one thing in it that always differs, is left out.
func startSum(body []byte, l *mtree.Listing, none bool) hash.Hash {
	if none {
		return nil
	}
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

// confirms reports whether the client has the listing already. A tag decides where
// one is given; dates are for people, caches and wget (RFC 9110, 13.1.3).
func (p *page) confirms(r *http.Request, now mtree.Stamp) bool {
	if p.stamped && p.hot {
		return false
	}
	if tags := negotiate.Field(r, "If-None-Match"); tags != "" {
		return p.tag != "" && negotiate.NoneMatch(tags, p.tag)
	}
	date, early := negotiate.DirDate(p.stamp, now)
	return p.stamped && !early && negotiate.SameDate(r.Header.Get("If-Modified-Since"), date)
}

// sendPage sends a page, in pieces each with a deadline of its own.
func (h *Handler) sendPage(w http.ResponseWriter, p *page, a reply) {
	give, err := h.hold(w, p)
	if err != nil {
		h.fail(w, a, err)
		return
	}
	defer give()
	extend(w)
	if p.whole {
		h.send(w, a.withBody(p.pieces[0]))
		return
	}
	h.start(w, &a)
	if err := p.send(w); err != nil {
		h.abort(err)
	}
}

// hold counts a page among those that are being sent; short ones are not counted.
func (h *Handler) hold(w http.ResponseWriter, p *page) (give func(), err error) {
	if p.size < heldLeast {
		return func() {}, nil
	}
	one, err := h.held.take(&p.load, cutting(w))
	if err != nil {
		return nil, err
	}
	h.pages.sending(p)
	return func() {
		h.held.give(one)
		h.pages.sent(p)
	}, nil
}

// send writes all pieces.
func (p *page) send(w http.ResponseWriter) error {
	for _, piece := range p.pieces {
		extend(w)
		if _, err := w.Write(piece); err != nil {
			return err
		}
	}
	return nil
}

// pages knows those that are being sent: whoever reads the same anew sends the same.
type pages struct {
	mu   sync.Mutex
	live map[pageKey]*alive
}

// alive is a page that somebody is being sent, the newest of its key.
type alive struct {
	page    *page
	clients int
}

func newPages() *pages { return &pages{live: map[pageKey]*alive{}} }

// same returns the page being sent that holds the same as p, else p.
func (s *pages) same(p *page) *page {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.live[p.key]; a != nil && p.sum != "" && a.page.sum == p.sum {
		if was := a.page; was.tag == p.tag && was.stamp == p.stamp && was.hot == p.hot {
			return was
		}
	}
	return p
}

func (s *pages) sending(p *page) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.live[p.key]
	if a == nil || a.page != p {
		a = &alive{page: p}
		s.live[p.key] = a
	}
	a.clients++
}

func (s *pages) sent(p *page) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.live[p.key]
	if a == nil || a.page != p {
		return // a newer one has its place
	}
	if a.clients--; a.clients == 0 {
		delete(s.live, p.key)
	}
}

// passLarge lets a request read a directory of this size: at once, unless it is a
// large one and such are being read already; then it waits. leave must follow.
func (h *Handler) passLarge(r *http.Request, size int64) (leave func(), err error) {
	if size <= h.largeSize {
		return func() {}, nil
	}
	out, err := h.large.wait(r, &place{client: clientOf(r)})
	if err != nil {
		return nil, err
	}
	return func() {
		// 140 bytes an entry are garbage now: without this they lie beside those of
		// the next. It takes a hundredth of the time of the reading.
		debug.FreeOSMemory()
		out()
	}, nil
}

// subdirs returns the directories of a listing with stamps above from, by themselves: the memory of the other
// names is not to be kept.
func subdirs(l *mtree.Listing, from mtree.Stamp) (below []subdir) {
	for i := range l.Entries {
		if e := &l.Entries[i]; e.Kind == mtree.Dir && e.MTime.After(from) {
			below = append(below, subdir{strings.Clone(e.Name), e.MTime})
		}
	}
	return below
}
