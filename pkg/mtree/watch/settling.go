package watch

import "time"

// settling is the time of the batch that is being gathered.
type settling struct {
	timer *time.Timer // fires when the batch may have settled; stopped while there is none
	open  bool
	limit time.Time     // when the batch is published at the latest
	cost  time.Duration // of publishing the last one
}

// patience is how long a batch waits at most where changes never pause. It is short
// while publishing is cheap, and longer as publishing costs more: that takes a ninth of
// the time at most, up to the limit that docs/cli.md names.
func (s *settling) patience(settle time.Duration) time.Duration {
	return max(2*settle, min(8*s.cost, settleLimit*settle))
}
