package watch

import "time"

// settling is the time of the batch that is being gathered.
type settling struct {
	timer *time.Timer // fires when the batch may have settled; stopped while there is none
	open  bool
	limit time.Time     // the batch is published at this time at the latest
	cost  time.Duration // of publishing the last one
}

// patience returns how long a batch waits at most if changes never pause. The more
// publishing costs, the longer that is, up to the limit in docs/cli.md; so publishing
// takes at most a ninth of the time.
func (s *settling) patience(settle time.Duration) time.Duration {
	return max(2*settle, min(8*s.cost, settleLimit*settle))
}
