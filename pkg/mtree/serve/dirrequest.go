package serve

import (
	"net/http"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/serve/internal/negotiate"
	"tidemark/pkg/mtree/serve/internal/pages"
	"tidemark/pkg/mtree/serve/internal/published"
	"tidemark/pkg/mtree/serve/internal/render"
	"tidemark/pkg/mtree/wire"
)

// dirRequest is one request for one directory. While the request waits, it looks again at
// the directory and the tree.
type dirRequest struct {
	*target
	format   render.Format
	coding   render.Coding
	explicit bool   // the query names the format
	page     string // what tells pages of this serve from others

	snap *published.Snapshot
	now  mtree.Stamp
	self disk.Info // of the directory as it was looked at last
	hot  bool      // the directory of a copy is unfinished

	close   bool        // the connection ends after the answer
	retry   string      // Retry-After of the answer, in seconds; "": not said
	noStore bool        // the answer holds for this request only
	search  bool        // the entries were found below, and are named by their paths
	find    string      // what was looked for by name; "": nothing was
	more    bool        // of a search: a bound ended it
	seen    string      // tag of the listing that was read while waiting, if no stamp proves it
	place   *place      // in bulkLimit
	kept    *pages.Page // a listing that was read for this answer; nil: none
	readme  readme      // of the directory, for its page
	linkErr error       // a symlink of the listing could not be followed, and what is there is not known

	room *pages.Holder // for the answer that this request made, perhaps for others, too; nil: none
}

// giveRoom gives back the room for the answer that this request made.
func (q *dirRequest) giveRoom() {
	if q.room != nil {
		q.room.Give()
		q.room = nil
	}
}

func (h *Handler) newDirRequest(r *http.Request, t *target) *dirRequest {
	q := &dirRequest{target: t, snap: h.tree.Now(), now: h.now(), coding: negotiate.Coding(r), page: h.pageVersion}
	q.format, q.explicit = negotiate.Format(r, t.query)
	return q
}

// base returns a reply with what every answer to this request has.
func (q *dirRequest) base() *reply { return &reply{close: q.close, retry: q.retry} }

// key returns the key of the listing that is asked for.
func (q *dirRequest) key() pages.Key {
	return pages.Key{Path: q.path, Format: q.format, Coding: q.coding}
}

// time returns the times of the directory as it was looked at last.
func (q *dirRequest) time() pages.Time {
	return pages.Time{Node: q.self.Node, MTime: q.self.MTime, CTime: q.self.CTime, Fingerprint: q.snap.Fingerprint}
}

// stampTag returns the tag of the listing with this stamp.
func (q *dirRequest) stampTag(stamp mtree.Stamp, hot bool) string {
	return q.listingTag(stamp.String(), hot)
}

// listingTag returns the tag of the listing with this validator. What pages show besides the listing is part
// of their fingerprint: a browser must not take the page of another version, or of other options, for this one.
func (q *dirRequest) listingTag(validator string, hot bool) string {
	t := wire.ListingTag{Validator: validator, Format: string(q.format), Fingerprint: q.snap.Fingerprint, Hot: hot}
	if q.format.IsPage() {
		t.Format, t.Fingerprint = string(render.HTML), wire.Fingerprint([]byte(q.snap.Fingerprint+" "+q.page+string(q.format)))
	}
	return t.String()
}

// byStamp reports whether it is known, before the directory is read, that its stamp
// proves the listing: stamps prune, and the format does not follow symlinks or the
// directory is known to have none.
func (h *Handler) byStamp(q *dirRequest) bool {
	return q.snap.State.Prunes() && (q.format == render.Text || h.linkless.Knows(q.path, q.time()))
}

// stamped reports whether the stamp is the validator of a listing that was read: stamps
// prune, and either the format does not follow symlinks or the listing has none, because
// what a symlink leads to may change while this stamp stays.
func (q *dirRequest) stamped(l *mtree.Listing) bool {
	return q.snap.State.Prunes() && (q.format == render.Text || !hasLinks(l))
}

func hasLinks(l *mtree.Listing) bool {
	for i := range l.Entries {
		if l.Entries[i].Kind == mtree.Symlink {
			return true
		}
	}
	return false
}

// unchanged reports whether the client already has the listing with this stamp, which
// proves it. A tag decides if there is one; dates are for people, caches and wget (RFC
// 9110, 13.1.3).
func (h *Handler) unchanged(r *http.Request, q *dirRequest, stamp mtree.Stamp) bool {
	if tags := negotiate.Field(r, "If-None-Match"); tags != "" {
		return negotiate.NoneMatch(tags, q.stampTag(stamp, false))
	}
	return h.sameDate(r, q, stamp)
}

// sameDate reports whether the client's date says that it has the listing with this stamp.
func (h *Handler) sameDate(r *http.Request, q *dirRequest, stamp mtree.Stamp) bool {
	date, early := negotiate.Date(stamp, q.now)
	return !early && negotiate.SameDate(r.Header.Get("If-Modified-Since"), date) && h.isDated(q, stamp)
}

// datedBefore is how many seconds a directory's mtime lies before its ctime at least if a tool gave it,
// before watch ran. What watch finds late, it finds within an audit or two.
const datedBefore = 30 * 24 * 60 * 60

// isDated reports whether the date of this stamp proves it: nobody saw an earlier stamp of that second once
// the second was over. That is known of a stamp that was given within its second: any that came later
// would have moved the ctime. A copy gets its stamps long after their second.
func (h *Handler) isDated(q *dirRequest, stamp mtree.Stamp) bool {
	switch {
	case q.snap.IsCopy(): // guard: TestADateOfASecondWithTwoStamps/mirrored
		return false
	case h.tree.Refuses(q.path): // guard: TestADateOfARefusedStamp
		return false // no ctime tells of its stamps
	case stamp != q.self.MTime: // guard: TestIsDated
		return false // it came after the ctime was read
	}
	sec, _ := stamp.Unix()
	given, _ := q.self.CTime.Unix()
	return given <= sec || given > sec+datedBefore // guard (without given <= sec): TestIsDated, TestADateOfAStampOfItsSecond
}
