package serve

import (
	"net/http"
	"time"

	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/serve/internal/longpoll"
	"tidemark/pkg/mtree/serve/internal/negotiate"
	"tidemark/pkg/mtree/wire"
)

// outcome is how a wait ended.
type outcome int

const (
	differs  outcome = iota // there is news
	timedOut                // nothing changed, or no more requests may wait
	answered                // an error was answered
)

// await holds the request until news reports true, at most for the time that it asked
// for. No descriptor is held meanwhile. Afterwards q describes the directory as it was
// looked at last.
func (h *Handler) await(w http.ResponseWriter, r *http.Request, q *dirRequest, news func(*disk.Dir) (bool, error)) outcome {
	limit, _ := q.query.Wait()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	var topic *longpoll.Topic
	defer func() { h.hub.Leave(topic) }()
	for woken := false; ; woken = true {
		if woken && h.byStamp(q) {
			// Nearly all requests that are woken have news: they need not join the
			// topic again, which takes a system call and a lock each.
			if changed, err := h.lookOnce(q, news); err == nil && changed {
				return differs
			}
		}
		wake, changed, err := h.lookAgain(q, &topic, news)
		switch {
		case err == longpoll.ErrCrowded:
			q.retry = "1"
			return timedOut
		case err != nil:
			h.fail(w, q.base(), err)
			return answered
		case changed:
			return differs
		}
		end := differs
		select {
		case <-wake:
		case <-timer.C:
			end = timedOut
		case <-h.stop.Done():
			end = timedOut
		case <-r.Context().Done():
			h.abort(r.Context().Err())
		}
		if !h.mayGoOn(w, r, q) {
			return answered
		}
		if end == timedOut {
			return timedOut
		}
	}
}

// mayGoOn looks at the tree after a wait. If the root was replaced or the request's token
// revoked meanwhile, it has answered.
func (h *Handler) mayGoOn(w http.ResponseWriter, r *http.Request, q *dirRequest) bool {
	q.snap, q.now = h.tree.Now(), h.now()
	extend(w)
	switch {
	case q.snap.Replaced:
		h.send(w, q.base().refused(http.StatusServiceUnavailable, replacedText))
	case !h.allowed(r):
		h.send(w, q.base().unauthorized())
	default:
		return true
	}
	return false
}

// lookAgain joins the topic of the directory, then looks at the directory and asks news:
// what happens in between wakes the topic. If no more requests may wait, the comparison
// still counts.
func (h *Handler) lookAgain(q *dirRequest, topic **longpoll.Topic, news func(*disk.Dir) (bool, error)) (wake <-chan struct{}, changed bool, err error) {
	dir, err := h.tree.OpenDir(q.path)
	if err != nil {
		return nil, false, err
	}
	defer dir.Close()
	heard := dir
	if h.tree.Refuses(q.path) {
		heard = h.tree.Root() // no event of the directory shows its new stamp
	}
	joined, wake, joinErr := h.hub.Join(heard, q.snap.State, *topic)
	*topic = joined
	if changed, err = h.lookInto(q, dir, news); err != nil || changed {
		return nil, changed, err
	}
	return wake, false, joinErr
}

// lookOnce looks at the directory and asks news.
func (h *Handler) lookOnce(q *dirRequest, news func(*disk.Dir) (bool, error)) (changed bool, err error) {
	dir, err := h.tree.OpenDir(q.path)
	if err != nil {
		return false, err
	}
	defer dir.Close()
	return h.lookInto(q, dir, news)
}

// lookInto looks at an open directory and asks news.
func (h *Handler) lookInto(q *dirRequest, dir *disk.Dir, news func(*disk.Dir) (bool, error)) (changed bool, err error) {
	if err := h.look(q, dir); err != nil {
		return false, err
	}
	return news(dir)
}

// listingWhenNew answers ?wait: the listing as soon as it is not the one that If-None-Match
// names, or 304 after the time-out.
func (h *Handler) listingWhenNew(w http.ResponseWriter, r *http.Request, q *dirRequest) {
	if mismatched(r) {
		h.send(w, q.base().refused(http.StatusPreconditionFailed, noStrongTag))
		return
	}
	tags := negotiate.Field(r, "If-None-Match")
	q.noStore = true
	end := differs
	leave, ok := func() {}, true
	if !q.snap.State.Prunes() {
		leave, ok = h.pollLimit.tryEnter(&place{client: clientOf(r)})
	}
	switch {
	case !ok:
		q.retry = "1"
		end = timedOut
	case tags != "":
		defer leave()
		end = h.await(w, r, q, func(dir *disk.Dir) (bool, error) { return h.isNew(r, q, dir, tags) })
	default:
		leave()
	}
	if end == answered {
		return
	}
	dir, err := h.tree.OpenDir(q.path)
	if err != nil {
		h.fail(w, q.base(), err)
		return
	}
	defer dir.Close()
	if end == timedOut {
		h.nothingNew(w, r, q, dir, tags)
		return
	}
	h.listing(w, r, q, dir)
}

// isNew reports whether the listing differs from those that tags name. It reads the
// directory only if no stamp proves the listing.
func (h *Handler) isNew(r *http.Request, q *dirRequest, dir *disk.Dir, tags string) (bool, error) {
	if h.byStamp(q) {
		return !negotiate.NoneMatch(tags, q.stampTag(q.self.MTime, q.hot)), nil
	}
	p, err := h.page(r, q, dir)
	if err != nil {
		return false, err
	}
	if !p.Stamped {
		q.seen = p.Tag
	}
	return p.Tag == "" || !negotiate.NoneMatch(tags, p.Tag), nil
}

// nothingNew answers 304 to a request that waited in vain, with the state of the tree as it
// is by now; or the listing, if its stamp changed in the last moment.
func (h *Handler) nothingNew(w http.ResponseWriter, r *http.Request, q *dirRequest, dir *disk.Dir, tags string) {
	if err := h.look(q, dir); err != nil {
		h.fail(w, q.base(), err)
		return
	}
	tag := q.stampTag(q.self.MTime, q.hot)
	stamped := tags != "" && h.byStamp(q)
	if stamped && !negotiate.NoneMatch(tags, tag) {
		h.listing(w, r, q, dir)
		return
	}
	a := h.listingReply(q)
	if stamped {
		a.tag = wire.QuoteTag(tag, string(q.coding))
	} else if q.seen != "" {
		a.tag = wire.QuoteTag(q.seen, string(q.coding))
	}
	h.send(w, a.notModified())
}
