package serve

import (
	"net/http"
	"time"

	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/serve/internal/longpoll"
)

// outcome is how a wait ended.
type outcome int

const (
	differs  outcome = iota // there is news
	timedOut                // nothing changed, or no more requests may wait
	answered                // an error was answered
)

// await holds the request until news reports true, at most for the time that it asked
// for. It holds no descriptor meanwhile. Afterwards q describes the directory as of the
// last look.
func (h *Handler) await(w http.ResponseWriter, r *http.Request, q *dirRequest, news func(*disk.Dir) (bool, error)) outcome {
	limit, _ := q.query.Wait()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	var topic *longpoll.Topic
	defer func() { h.hub.Leave(topic) }()
	for woken := false; ; woken = true {
		if woken && h.byStamp(q) {
			// Nearly all woken requests have news. They need not join the topic again, which
			// takes a system call and a lock.
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
// revoked meanwhile, it sends the answer and returns false.
func (h *Handler) mayGoOn(w http.ResponseWriter, r *http.Request, q *dirRequest) bool {
	q.snap, q.now = h.tree.Now(), h.now()
	extend(w)
	switch {
	case q.snap.Replaced:
		h.send(w, q.base().refused(http.StatusServiceUnavailable, replacedText))
	case !h.guard.allows(r):
		h.send(w, q.base().unauthorized())
	default:
		return true
	}
	return false
}

// lookAgain joins the topic of the directory, then looks at the directory and calls news:
// a change in between wakes the topic. If no more requests may wait, the answer of news
// still counts.
func (h *Handler) lookAgain(q *dirRequest, topic **longpoll.Topic, news func(*disk.Dir) (bool, error)) (wake <-chan struct{}, changed bool, err error) {
	dir, err := h.tree.OpenDir(q.path)
	if err != nil {
		return nil, false, err
	}
	defer dir.Close()
	heard := dir
	if h.tree.Refuses(q.path) { // guard: TestWaitForAStampToldApart
		heard = h.tree.Root() // no event of the directory shows its new stamp
	}
	joined, wake, joinErr := h.hub.Join(heard, q.snap.State, *topic)
	*topic = joined
	if changed, err = h.lookInto(q, dir, news); err != nil || changed {
		return nil, changed, err
	}
	return wake, false, joinErr
}

// lookOnce looks at the directory and calls news.
func (h *Handler) lookOnce(q *dirRequest, news func(*disk.Dir) (bool, error)) (changed bool, err error) {
	dir, err := h.tree.OpenDir(q.path)
	if err != nil {
		return false, err
	}
	defer dir.Close()
	return h.lookInto(q, dir, news)
}

// lookInto looks at an open directory and calls news.
func (h *Handler) lookInto(q *dirRequest, dir *disk.Dir, news func(*disk.Dir) (bool, error)) (changed bool, err error) {
	if err := h.look(q, dir); err != nil {
		return false, err
	}
	return news(dir)
}
