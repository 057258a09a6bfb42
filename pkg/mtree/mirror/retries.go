package mirror

import "time"

// When a mirror looks again at what a pass left incomplete.
const (
	firstRetry   = time.Second // also the first pause after trouble
	longestRetry = time.Minute // between looks at a directory that stays incomplete
	mostRetries  = 1000        // directories with times of their own; the others share one
)

// retries says, by path, when the directories that passes left incomplete are looked at
// again. Every pass looks at all of them, whatever started it; but a pause becomes longer
// only if the pass came after the pause was over.
type retries map[string]retry

// retry says when a directory is looked at again.
type retry struct {
	due   time.Time
	pause time.Duration // before due
}

// set replaces the paths by those that a pass left incomplete; the pass started at began.
func (l *retries) set(incomplete []string, began, now time.Time) {
	was := *l
	*l = make(retries, min(len(incomplete), mostRetries+1))
	for _, path := range incomplete {
		if len(*l) >= mostRetries {
			path = ""
		}
		r, known := was[path]
		switch {
		case !known:
			r = retry{now.Add(firstRetry), firstRetry}
		case !r.due.After(began):
			r.pause = min(2*r.pause, longestRetry)
			r.due = now.Add(r.pause)
		}
		(*l)[path] = r
	}
}

// next returns when the first of them is due; zero: never.
func (l retries) next() (first time.Time) {
	for _, r := range l {
		if first.IsZero() || r.due.Before(first) {
			first = r.due
		}
	}
	return first
}
