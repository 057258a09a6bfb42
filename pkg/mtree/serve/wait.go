package serve

import (
	"net/http"
	"time"

	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/serve/internal/longpoll"
	"tidemark/pkg/mtree/serve/internal/negotiate"
	"tidemark/pkg/mtree/wire"
)

// waitOf returns how long the request wants to be held: ?wait=SECONDS.
func (t *target) waitOf() (time.Duration, bool) { return t.query.Wait() }

// outcome is how a wait ended.
type outcome int

const (
	differs  outcome = iota // there is something to tell
	timedOut                // nothing changed, or nobody more may wait
	answered                // an error was answered
)

// await holds the request until news reports true, at most for the time it
// asked for. No descriptor is held meanwhile. v describes the directory as it
// was looked at last.
func (h *Handler) await(w http.ResponseWriter, r *http.Request, v *view, news func(*disk.Dir) (bool, error)) outcome {
	limit, _ := v.waitOf()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	var topic *longpoll.Topic
	defer func() { h.hub.Leave(topic) }()
	for woken := false; ; woken = true {
		if woken && h.byStamp(v) {
			// Those who are woken nearly all have news: they need not be armed
			// again, which takes a system call and a lock each.
			if changed, err := h.lookOnce(v, news); err == nil && changed {
				return differs
			}
		}
		wake, changed, err := h.lookAgain(v, &topic, news)
		switch {
		case err == longpoll.ErrCrowded:
			v.base.retry = "1"
			return timedOut
		case err != nil:
			h.fail(w, v.base, err)
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
		v.snap, v.now = h.tree.now(), h.now()
		extend(w)
		if v.snap.replaced {
			h.send(w, v.base.refused(http.StatusServiceUnavailable, replacedText))
			return answered
		}
		if !h.allowed(r) { // its token was revoked meanwhile
			h.send(w, v.base.unauthorized())
			return answered
		}
		if end == timedOut {
			return timedOut
		}
	}
}

// lookAgain joins the topic of the directory, then looks at the directory and asks news:
// what happens in between wakes the topic. If no more requests may wait, the comparison
// still counts.
func (h *Handler) lookAgain(v *view, topic **longpoll.Topic, news func(*disk.Dir) (bool, error)) (wake <-chan struct{}, changed bool, err error) {
	dir, err := h.openDir(v.path)
	if err != nil {
		return nil, false, err
	}
	defer dir.Close()
	heard := dir
	if apart, err := h.tree.apart(); err == nil && apart.Refuses(v.path) {
		heard = h.tree.root // nothing is heard of a stamp that the directory does not show
	}
	joined, wake, joinErr := h.hub.Join(heard, v.snap.State, *topic)
	*topic = joined
	if changed, err = h.lookInto(v, dir, news); err != nil || changed {
		return nil, changed, err
	}
	return wake, false, joinErr
}

// lookOnce looks at the directory and asks news.
func (h *Handler) lookOnce(v *view, news func(*disk.Dir) (bool, error)) (changed bool, err error) {
	dir, err := h.openDir(v.path)
	if err != nil {
		return false, err
	}
	defer dir.Close()
	return h.lookInto(v, dir, news)
}

func (h *Handler) lookInto(v *view, dir *disk.Dir, news func(*disk.Dir) (bool, error)) (changed bool, err error) {
	if err := h.look(v, dir); err != nil {
		return false, err
	}
	return news(dir)
}

// listingWhenNew answers ?wait: the listing as soon as it is not the one that
// If-None-Match names, else 304.
func (h *Handler) listingWhenNew(w http.ResponseWriter, r *http.Request, v *view) {
	if mismatched(r) {
		h.send(w, v.base.refused(http.StatusPreconditionFailed, noStrongTag))
		return
	}
	tags := negotiate.Field(r, "If-None-Match")
	v.noStore = true
	end := differs
	leave, ok := func() {}, true
	if !v.snap.State.Prunes() {
		leave, ok = h.readers.enter(r)
	}
	switch {
	case !ok:
		v.base.retry = "1"
		end = timedOut
	case tags != "":
		defer leave()
		end = h.await(w, r, v, func(dir *disk.Dir) (bool, error) { return h.isNew(r, v, dir, tags) })
	default:
		leave()
	}
	if end == answered {
		return
	}
	dir, err := h.openDir(v.path)
	if err != nil {
		h.fail(w, v.base, err)
		return
	}
	defer dir.Close()
	if end == timedOut {
		h.nothingNew(w, r, v, dir, tags)
		return
	}
	h.listing(w, r, v, dir)
}

// isNew reports whether the listing differs from those that tags name. Only
// where no stamp proves it the directory is read for that.
func (h *Handler) isNew(r *http.Request, v *view, dir *disk.Dir, tags string) (bool, error) {
	if h.byStamp(v) {
		return !negotiate.NoneMatch(tags, v.stampTag(v.self.MTime, v.hot)), nil
	}
	p, err := h.page(r, v, dir)
	if err != nil {
		return false, err
	}
	if !p.Stamped {
		v.seen = p.Tag
	}
	return p.Tag == "" || !negotiate.NoneMatch(tags, p.Tag), nil
}

// nothingNew answers 304 to those who waited in vain, with the state of the
// tree as it is by now; the listing if its stamp changed in the last moment.
func (h *Handler) nothingNew(w http.ResponseWriter, r *http.Request, v *view, dir *disk.Dir, tags string) {
	if err := h.look(v, dir); err != nil {
		h.fail(w, v.base, err)
		return
	}
	tag := v.stampTag(v.self.MTime, v.hot)
	stamped := tags != "" && h.byStamp(v)
	if stamped && !negotiate.NoneMatch(tags, tag) {
		h.listing(w, r, v, dir)
		return
	}
	a := h.listingReply(v)
	if stamped {
		a.tag = wire.QuoteTag(tag, string(v.coding))
	} else if v.seen != "" {
		a.tag = wire.QuoteTag(v.seen, string(v.coding))
	}
	h.send(w, a.notModified())
}
