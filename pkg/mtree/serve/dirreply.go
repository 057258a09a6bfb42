package serve

import (
	"math"
	"net/http"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/serve/internal/negotiate"
	"tidemark/pkg/mtree/serve/internal/render"
)

// replyAbout returns a reply with what every answer says about a directory that was
// looked at.
func (h *Handler) replyAbout(q *dirRequest) *reply {
	a := q.base()
	a.about = h.about(q.snap, q.path, q.self.MTime, q.now)
	return a
}

// listingReply returns the reply with a listing, without its validators and its body.
func (h *Handler) listingReply(q *dirRequest) *reply {
	a := h.replyAbout(q)
	a.kind, a.policy, a.coding, a.ranges = q.format.ContentType(), h.policy(q.format), q.coding, "none"
	a.vary, a.cache = "Accept-Encoding, Accept, User-Agent", "private, max-age=0"
	if q.explicit {
		a.vary, a.cache = "Accept-Encoding", h.caching("public, max-age=0, s-maxage=1, stale-while-revalidate=0")
	}
	if q.noStore {
		a.cache = "no-store"
	}
	return a
}

// mismatched reports whether a request has an If-Match that no listing can meet: listings
// have no strong tags (RFC 9110, 13.1.1).
func mismatched(r *http.Request) bool {
	tags := negotiate.Field(r, "If-Match")
	return tags != "" && !negotiate.AnyTag(tags, func(string) bool { return false })
}

// form returns the form of a listing in the format that q asks for.
func (h *Handler) form(q *dirRequest, l *mtree.Listing) render.Form {
	q.linkErr = nil
	o := render.Options{Path: q.path, Search: q.search, Find: q.find, More: q.more, Follow: func(link mtree.Entry) (mtree.Entry, []byte) {
		shown, href, err := h.tree.ShowLink(q.path, link)
		if err != nil {
			q.linkErr = err
		}
		return shown, href
	}}
	if q.format.IsPage() {
		o.Tar, o.Token, o.Newest, o.Readme, o.Text = h.cfg.Tar, h.guard.wanted, q.snap.State.Prunes(), q.readme.name, q.readme.text
		if !q.search {
			directoriesFirst(l.Entries)
		}
		if !q.search && q.stamped(l) && !l.Hot {
			o.Tag = q.stampTag(l.Stamp, false)
		}
	}
	return render.New(q.format, l, o)
}

// render returns the whole body of a listing.
func (h *Handler) render(q *dirRequest, l *mtree.Listing) []byte {
	form := h.form(q, l)
	body, _ := render.UpTo(nil, math.MaxInt, form, l.Entries)
	return form.Tail(body)
}

// policy returns the Content-Security-Policy of a listing.
func (h *Handler) policy(f render.Format) string {
	switch f {
	case render.HTML:
		return h.pagePolicy
	case render.Preview:
		return h.previewPolicy
	}
	return render.NoScripts
}

// directoriesFirst puts the directories before everything else, as people expect it; each kind keeps its order.
func directoriesFirst(entries []mtree.Entry) {
	dirs := 0
	for i := range entries {
		if entries[i].Kind == mtree.Dir {
			dirs++
		}
	}
	// The kind of which there are fewer is put aside, so that a large directory takes little memory more.
	aside := make([]mtree.Entry, 0, min(dirs, len(entries)-dirs))
	if dirs <= len(entries)/2 {
		to := len(entries) - 1
		for i := len(entries) - 1; i >= 0; i-- {
			if entries[i].Kind == mtree.Dir {
				aside = append(aside, entries[i])
				continue
			}
			entries[to] = entries[i]
			to--
		}
		for i := range aside {
			entries[to-i] = aside[i]
		}
		return
	}
	to := 0
	for i := range entries {
		if entries[i].Kind != mtree.Dir {
			aside = append(aside, entries[i])
			continue
		}
		entries[to] = entries[i]
		to++
	}
	copy(entries[to:], aside)
}

// lastModified returns the Last-Modified of a directory.
func lastModified(stamp, now mtree.Stamp) string {
	date, _ := negotiate.Date(stamp, now)
	return negotiate.HTTPDate(date)
}
