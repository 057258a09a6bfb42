package serve

import (
	"math"
	"net/http"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/serve/internal/negotiate"
	"tidemark/pkg/mtree/serve/internal/render"
	"tidemark/pkg/mtree/wire"
)

// view is one directory as one request wants to see it.
type view struct {
	*target
	snap     *snapshot
	format   render.Format
	coding   render.Coding
	explicit bool
	now      mtree.Stamp
	base     reply     // what every answer to this request has
	self     disk.Info // of the directory, when the request came in
	hot      bool      // a copy's directory that is unfinished
	noStore  bool      // the answer holds for this request only
	seen     string    // tag of the listing as it was read while waiting, where no stamp proves it
	place    *place    // within the turnstile of bulk requests
	recent   bool      // the entries are files below, named by their paths
}

func (h *Handler) newView(r *http.Request, t *target) *view {
	v := &view{target: t, snap: h.tree.now(), now: h.now(), coding: negotiate.Coding(r)}
	v.format, v.explicit = negotiate.Format(r, t.query)
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
		h.fail(w, v.base, err)
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
	return v.snap.State.Prunes() && (v.format == render.Text || h.linkless.Knows(v.path, v.time()))
}

// listing answers for an open directory: 304 and HEAD without reading it where
// the stamp proves the listing.
func (h *Handler) listing(w http.ResponseWriter, r *http.Request, v *view, dir *disk.Dir) {
	if err := h.look(v, dir); err != nil {
		h.fail(w, v.base, err)
		return
	}
	if mismatched(r) {
		h.send(w, h.replyAbout(v).refused(http.StatusPreconditionFailed, noStrongTag))
		return
	}
	a := h.listingReply(v)
	a.date = lastModified(v.self.MTime, v.now)
	if h.byStamp(v) {
		a.tag = wire.QuoteTag(v.stampTag(v.self.MTime, v.hot), string(v.coding))
		if !v.hot && v.unchanged(r, v.self.MTime) {
			h.send(w, a.notModified())
			return
		}
	}
	if r.Method == http.MethodHead {
		h.send(w, a)
		return
	}
	h.sendListing(w, r, v, dir, a)
}

// replyAbout returns what every answer about the directory has once it was looked at.
func (h *Handler) replyAbout(v *view) reply {
	a := v.base
	a.about = h.about(v.snap, v.path, v.self.MTime, v.now)
	return a
}

// listingReply returns a listing's answer without its validators and its body.
func (h *Handler) listingReply(v *view) reply {
	a := h.replyAbout(v)
	a.kind, a.policy, a.coding, a.ranges = v.format.ContentType(), h.policy(v.format), v.coding, "none"
	a.vary, a.cache = "Accept-Encoding, Accept, User-Agent", "private, max-age=0"
	if v.explicit {
		a.vary, a.cache = "Accept-Encoding", h.caching("public, max-age=0, s-maxage=1, stale-while-revalidate=0")
	}
	if v.noStore {
		a.cache = "no-store"
	}
	return a
}

// mismatched reports whether a request is on condition of a strong tag, which no
// listing has (RFC 9110, 13.1.1).
func mismatched(r *http.Request) bool {
	tags := negotiate.Field(r, "If-Match")
	return tags != "" && !negotiate.AnyTag(tags, func(string) bool { return false })
}

const noStrongTag = "a listing has no strong tag"

// stampTag returns the tag of the listing with this stamp.
func (v *view) stampTag(stamp mtree.Stamp, hot bool) string {
	return wire.ListingTag{Validator: stamp.String(), Format: string(v.format), Fingerprint: v.snap.e, Hot: hot}.String()
}

// unchanged reports whether the client has the listing with this stamp, which
// proves it, already. A tag decides where one is given; dates are for people,
// caches and wget (RFC 9110, 13.1.3).
func (v *view) unchanged(r *http.Request, stamp mtree.Stamp) bool {
	if tags := negotiate.Field(r, "If-None-Match"); tags != "" {
		return negotiate.NoneMatch(tags, v.stampTag(stamp, false))
	}
	date, held := negotiate.DirDate(stamp, v.now)
	return !held && negotiate.SameDate(r.Header.Get("If-Modified-Since"), date)
}

// sendListing sends the listing from the cache, or reads the directory. a is the answer
// by what the directory showed before.
func (h *Handler) sendListing(w http.ResponseWriter, r *http.Request, v *view, dir *disk.Dir, a reply) {
	p, err := h.page(r, v, dir)
	if err != nil {
		h.fail(w, a, err)
		return
	}
	a.about.stamp, a.date, a.tag = p.Stamp, lastModified(p.Stamp, v.now), ""
	if p.Tag != "" {
		a.tag = wire.QuoteTag(p.Tag, string(v.coding))
	}
	if confirms(p, r, v.now) {
		h.send(w, a.notModified())
		return
	}
	h.sendPage(w, p, a)
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
		h.linkless.Learn(v.path, v.time())
	}
	return &l, err
}

// stamped reports whether the stamp is the validator of a listing: where stamps
// prune, and for the formats that follow symlinks only if there are none, for
// what those lead to is changed without this stamp.
func (v *view) stamped(l *mtree.Listing) bool {
	return v.snap.State.Prunes() && (v.format == render.Text || !hasLinks(l))
}

func hasLinks(l *mtree.Listing) bool {
	for i := range l.Entries {
		if l.Entries[i].Kind == mtree.Symlink {
			return true
		}
	}
	return false
}

// form returns the form of a listing in the format that v asks for.
func (h *Handler) form(v *view, l *mtree.Listing) render.Form {
	o := render.Options{Path: v.path, Search: v.recent, Follow: func(link mtree.Entry) (mtree.Entry, []byte) { return h.showLink(v.path, link) }}
	if v.format == render.HTML && !v.recent && v.stamped(l) && !l.Hot {
		o.Tag = v.stampTag(l.Stamp, false)
	}
	return render.New(v.format, l, o)
}

// policy returns the Content-Security-Policy of a listing.
func (h *Handler) policy(f render.Format) string {
	if f == render.HTML {
		return h.pagePolicy
	}
	return render.NoScripts
}

// render returns the whole body of a listing.
func (h *Handler) render(v *view, l *mtree.Listing) []byte {
	form := h.form(v, l)
	body, _ := render.UpTo(nil, math.MaxInt, form, l.Entries)
	return form.Tail(body)
}
