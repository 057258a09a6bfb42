package watch

import "time"

// settling is the time of the batch that is being gathered.
type settling struct {
	timer *time.Timer // fires when the batch may have settled; stopped while there is none
	open  bool
	limit time.Time     // the batch is published at this time at the latest
	cost  time.Duration // of publishing the last one
	ended time.Time     // when the last one that stamped something ended
	looks int           // how often it was looked whether all of the batch is complete; 0: that is over
}

// lookPauses are the pauses, in tenths of the settle time, after which a batch is looked at
// again: a file that is being saved when its first event comes is mostly closed by the first.
// With the rest, they make up the settle time.
var lookPauses = [...]time.Duration{1, 3}

// isQuiet reports whether what comes now comes after a moment without batches.
func (s *settling) isQuiet(settle time.Duration) bool {
	return time.Since(s.ended) >= max(settle, s.cost)
}

// nextLook returns the pause before the next look at the batch, or the rest of the settle
// time.
func (s *settling) nextLook(settle time.Duration) time.Duration {
	if s.looks < len(lookPauses) {
		s.looks++
		return lookPauses[s.looks-1] * settle / 10
	}
	s.looks = 0
	return settle - 4*settle/10
}

// patience returns how long a batch waits at most if changes never pause. The more
// publishing costs, the longer that is, up to the limit in docs/cli.md; so publishing
// takes at most a ninth of the time.
func (s *settling) patience(settle time.Duration) time.Duration {
	return max(2*settle, min(8*s.cost, settleLimit*settle))
}
