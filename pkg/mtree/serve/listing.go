package serve

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"net/http"
	"runtime/debug"
	"slices"
	"sync"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
)

// maxWhole is the longest listing that is held in memory as a whole and sent
// with its length, in bytes; longer ones are sent in chunks.
const maxWhole = 8 << 20

// view is one directory as one request wants to see it.
type view struct {
	*target
	snap     *snapshot
	format   format
	coding   coding
	explicit bool
	now      mtree.Stamp
	self     disk.Info // of the directory, when the request came in
	hot      bool      // a copy's directory that is unfinished
	noStore  bool      // the answer holds for this request only
	seen     string    // tag of the listing as it was read while waiting, where no stamp proves it
	recent   bool      // the entries are files below, named by their paths
}

func (h *Handler) newView(r *http.Request, t *target) *view {
	v := &view{target: t, snap: h.tree.now(), now: h.now(), coding: chooseCoding(r)}
	v.format, v.explicit = choose(t, r)
	return v
}

// directory answers GET and HEAD of a URL that ends in a slash.
func (h *Handler) directory(w http.ResponseWriter, r *http.Request, t *target) {
	v := h.newView(r, t)
	if answer := h.special(v); answer != nil {
		answer(w, r, v)
		return
	}
	if t.path == "" {
		// The request that mirrors make all day: the descriptor is there.
		h.listing(w, r, v, h.tree.root)
		return
	}
	dir, err := h.openDir(t.path)
	for try := 1; err != nil && disk.IsLink(err) && !t.doubled; try++ {
		if real, kind := h.resolve(t.path); try == followTries || kind == mtree.Dir && real != t.path {
			h.throughLink(w, r, t, t.path, err)
			return
		}
		dir, err = h.openDir(t.path) // it may have taken the symlink's name meanwhile
	}
	if err != nil {
		h.fail(w, err)
		return
	}
	defer dir.Close()
	h.listing(w, r, v, dir)
}

// special returns what answers the query keys that ask for more than the
// listing, nil if there are none.
func (h *Handler) special(v *view) func(http.ResponseWriter, *http.Request, *view) {
	_, wait := v.waitOf()
	switch {
	case len(v.query) == 0:
	case v.has("status") && v.path == "":
		return h.status
	case v.has("since"):
		return h.since
	case v.has("tar"):
		return h.subtree
	case v.has("sums"):
		return h.dirSums
	case v.has("recent"):
		return h.recent
	case wait:
		return h.listingWhenNew
	}
	return nil
}

// look reads the directory's own times.
func (h *Handler) look(v *view, dir *disk.Dir) (err error) {
	lister := h.lister(v.snap)
	if v.self, err = lister.Self(dir, v.path); err == nil && lister.Copy {
		v.hot = !lister.Finished(dir, v.path, v.self)
	}
	return err
}

// byStamp reports whether the stamp is known to prove the listing before it is
// read: where stamps prune, for the formats that follow symlinks only if the
// directory is known to have none.
func (h *Handler) byStamp(v *view) bool {
	return v.snap.State.Prunes() && (v.format == text || h.linkless.knows(v))
}

// listing answers for an open directory: 304 and HEAD without reading it where
// the stamp proves the listing.
func (h *Handler) listing(w http.ResponseWriter, r *http.Request, v *view, dir *disk.Dir) {
	if err := h.look(v, dir); err != nil {
		h.fail(w, err)
		return
	}
	header := w.Header()
	h.setTree(header, v.snap, v.path, v.self.MTime, v.now)
	if h.mismatched(w, r) {
		return
	}
	h.setListing(header, v)
	setDirDate(header, v.self.MTime, v.now)
	if h.byStamp(v) {
		header["Etag"] = []string{quoteTag(v.stampTag(v.self.MTime, v.hot), v.coding)}
		if !v.hot && v.unchanged(r, v.self.MTime) {
			h.notModified(w)
			return
		}
	}
	header["Content-Type"] = []string{contentType(v.format)}
	header["Content-Security-Policy"] = []string{h.policy(v.format)}
	if v.coding != identity {
		header["Content-Encoding"] = []string{string(v.coding)}
	}
	if r.Method == http.MethodHead {
		return
	}
	h.sendListing(w, r, v, dir)
}

// mismatched answers a request on condition of a strong tag, which no listing has
// (RFC 9110, 13.1.1).
func (h *Handler) mismatched(w http.ResponseWriter, r *http.Request) bool {
	tags := field(r, "If-Match")
	if tags == "" || anyTag(tags, func(string) bool { return false }) {
		return false
	}
	h.refuse(w, http.StatusPreconditionFailed, "a listing has no strong tag")
	return true
}

// stampTag returns the tag of the listing with this stamp.
func (v *view) stampTag(stamp mtree.Stamp, hot bool) string {
	tag := listingTag(stamp.String(), v.format, v.snap.e)
	if hot {
		tag += "-" + hotMark
	}
	return tag
}

// unchanged reports whether the client has the listing with this stamp, which
// proves it, already. A tag decides where one is given; dates are for people,
// caches and wget (RFC 9110, 13.1.3).
func (v *view) unchanged(r *http.Request, stamp mtree.Stamp) bool {
	if tags := field(r, "If-None-Match"); tags != "" {
		return noneMatch(tags, v.stampTag(stamp, false))
	}
	date, held := dirDate(stamp, v.now)
	return !held && sameDate(r.Header.Get("If-Modified-Since"), date)
}

// confirm answers 304 after the listing was read, without the headers of what
// is not sent.
func (h *Handler) confirm(w http.ResponseWriter) {
	for _, key := range []string{"Content-Type", "Content-Encoding", "Content-Security-Policy"} {
		delete(w.Header(), key)
	}
	h.notModified(w)
}

func (h *Handler) notModified(w http.ResponseWriter) {
	h.cfg.Stats.NotModified.Add(1)
	w.WriteHeader(http.StatusNotModified)
}

// sendListing sends the listing from the cache, or reads the directory.
func (h *Handler) sendListing(w http.ResponseWriter, r *http.Request, v *view, dir *disk.Dir) {
	if v.self.Size > h.largeSize {
		leave, ok := h.large.enter(r)
		if !ok {
			h.refuse(w, http.StatusTooManyRequests, "too many listings of large directories at once")
			return
		}
		defer func() {
			// 140 bytes an entry are garbage now: without this they lie beside
			// those of the next. It takes a hundredth of the time of the reading.
			debug.FreeOSMemory()
			leave()
		}()
	}
	p, l, err := h.readOrRecall(v, dir)
	if err != nil {
		h.fail(w, err)
		return
	}
	header := w.Header()
	stamp := v.self.MTime
	if l != nil {
		stamp = l.Stamp
	}
	header["Tidemark-Stamp"] = []string{stamp.String()}
	setDirDate(header, stamp, v.now)
	if p == nil {
		h.send(w, r, v, l)
		return
	}
	h.sendPage(w, r, v, p)
}

// sendPage sends a page, which its stamp proves.
func (h *Handler) sendPage(w http.ResponseWriter, r *http.Request, v *view, p *page) {
	header := w.Header()
	header["Etag"] = []string{quoteTag(p.tag, v.coding)}
	if v.unchanged(r, v.self.MTime) {
		h.confirm(w)
		return
	}
	announce(w, int64(len(p.body)))
	writeAll(w, p.body)
}

// readOrRecall returns the page as it is to be sent where it is cached or could
// be, else the listing.
func (h *Handler) readOrRecall(v *view, dir *disk.Dir) (*page, *mtree.Listing, error) {
	if v.snap.State != disk.Watched {
		l, err := h.read(v, dir)
		return nil, l, err
	}
	if p := h.cache.get(v.key(), v.time()); p != nil {
		h.cfg.Stats.Cached.Add(1)
		return p, nil, nil
	}
	// All who want this page of this stamp at this moment share one reading, also
	// where nothing is kept.
	made, err, _ := h.flights.Do(fmt.Sprintf("%q", []any{v.key(), v.time()}), func() (any, error) {
		l, err := h.read(v, dir)
		if err != nil {
			return nil, err
		}
		return outcomeOf{h.pageOf(v, l), l}, nil
	})
	if err != nil {
		return nil, nil, err
	}
	got := made.(outcomeOf)
	return got.page, got.listing, nil
}

type outcomeOf struct {
	page    *page
	listing *mtree.Listing
}

func (h *Handler) read(v *view, dir *disk.Dir) (*mtree.Listing, error) {
	if dir == h.tree.root {
		// A descriptor has one position for all who read the directory by it.
		own, err := h.openDir("")
		if err != nil {
			return nil, err
		}
		defer own.Close()
		dir = own
	}
	h.cfg.Stats.Listings.Add(1)
	l, err := h.lister(v.snap).Read(dir, v.path)
	if err == nil && !l.Hot && l.Stamp == v.self.MTime && !hasLinks(&l) {
		h.linkless.learn(v)
	}
	return &l, err
}

// pageOf renders a listing to be kept, nil if it is hot, depends on more than
// its stamp, or is too long.
func (h *Handler) pageOf(v *view, l *mtree.Listing) *page {
	if l.Hot || l.Stamp != v.self.MTime || !v.stamped(l) {
		return nil
	}
	form := h.formatter(v, l)
	draft := bodies.Get().(*[]byte)
	defer bodies.Put(draft)
	body, rest := renderUpTo((*draft)[:0], maxWhole, form, l.Entries)
	*draft = body
	if len(rest) > 0 {
		return nil
	}
	body = form.tail(body)
	*draft = body
	if v.coding == gzipped {
		body = compress(body)
	}
	p := &page{body: bytes.Clone(body), tag: v.stampTag(l.Stamp, false)}
	h.cache.put(v.key(), v.time(), p)
	return p
}

// stamped reports whether the stamp is the validator of a listing: where stamps
// prune, and for the formats that follow symlinks only if there are none, for
// what those lead to is changed without this stamp.
func (v *view) stamped(l *mtree.Listing) bool {
	return v.snap.State.Prunes() && (v.format == text || !hasLinks(l))
}

func hasLinks(l *mtree.Listing) bool {
	for i := range l.Entries {
		if l.Entries[i].Kind == mtree.Symlink {
			return true
		}
	}
	return false
}

// send renders a listing and sends it. Up to maxWhole it is sent with its
// length, and where the stamp is no validator with a hash of the body as tag;
// longer ones without a tag then.
func (h *Handler) send(w http.ResponseWriter, r *http.Request, v *view, l *mtree.Listing) {
	header, stamped := w.Header(), v.stamped(l)
	delete(header, "Etag")
	if stamped {
		header["Etag"] = []string{quoteTag(v.stampTag(l.Stamp, l.Hot), v.coding)}
		if !l.Hot && v.unchanged(r, l.Stamp) {
			h.confirm(w)
			return
		}
	}
	form := h.formatter(v, l)
	draft := bodies.Get().(*[]byte)
	defer bodies.Put(draft)
	body, rest := renderUpTo((*draft)[:0], maxWhole, form, l.Entries)
	*draft = body
	if len(rest) > 0 {
		h.stream(w, v, form, body, rest)
		return
	}
	body = form.tail(body)
	*draft = body
	if !stamped {
		tag := v.hashTag(body, l)
		header["Etag"] = []string{quoteTag(tag, v.coding)}
		if tags := field(r, "If-None-Match"); tags != "" && noneMatch(tags, tag) {
			h.confirm(w)
			return
		}
	}
	if v.coding == gzipped {
		body = compress(body)
	}
	announce(w, int64(len(body)))
	writeAll(w, body)
}

// hashTag returns the tag of a listing whose stamp proves nothing.
func (v *view) hashTag(body []byte, l *mtree.Listing) string {
	return listingTag(bodyHash(body, l), v.format, v.snap.e)
}

// render returns the whole body of a listing.
func (h *Handler) render(v *view, l *mtree.Listing) []byte {
	form := h.formatter(v, l)
	body, _ := renderUpTo(nil, math.MaxInt, form, l.Entries)
	return form.tail(body)
}

// bodies are kept to render in: of up to maxWhole and a row, as many as there
// were at once since the collector ran.
var bodies = sync.Pool{New: func() any { return new([]byte) }}

// renderUpTo appends the beginning of a body, of most bytes or a little more, to
// dst, and returns the entries that did not fit.
func renderUpTo(dst []byte, most int, form formatter, entries []mtree.Entry) (body []byte, rest []mtree.Entry) {
	body = form.head(slices.Grow(dst, 1024+min(most, 128*len(entries))))
	for i := range entries {
		if len(body) >= most {
			return body, entries[i:]
		}
		body = form.row(body, &entries[i])
	}
	return body, nil
}

// bodyHash is the validator of a listing whose stamp proves nothing. The time
// of its reading, the one thing in it that always differs, is left out.
func bodyHash(body []byte, l *mtree.Listing) string {
	sum := sha256.New()
	mark := []byte("\tnow=" + l.Now.String())
	head := body[:min(len(body), 4096)]
	for i := range head {
		if head[i] == '\n' {
			break
		}
		if head[i] == '\t' && len(head)-i > len(mark) && string(head[i:i+len(mark)]) == string(mark) {
			sum.Write(body[:i])
			body = body[i+len(mark):]
			break
		}
	}
	sum.Write(body)
	return "h" + hex.EncodeToString(sum.Sum(nil)[:12])
}
