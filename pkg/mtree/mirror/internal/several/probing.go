package several

import (
	"context"
	"time"
)

const (
	AskTime      = 15 * time.Second // for a source to show its root
	longestProbe = time.Minute      // between probes
)

// untilProbe returns how long nothing need be done for the preferred sources.
func (s *Sources) untilProbe() time.Duration {
	if s.probing != nil { // guard: TestNothingIsDueWhileAProbeRuns
		return time.Hour // it ends by itself
	}
	return time.Until(s.due)
}

// isPreferred reports whether a source is used rather than the present one once it can be.
func (s *Sources) isPreferred(i int) bool {
	return i < s.used || i != s.used && s.list[s.used].stale
}

func (s *Sources) hasPreferred() bool {
	return s.used > 0 || s.list[s.used].stale
}

// probe begins to ask the preferred sources, if it is time for that and nobody does. Until its answer was
// taken, nothing else uses these sources. It goes on while a pass runs, so it looks at nothing of the copy.
func (s *Sources) probe() {
	if now := time.Now(); s.probing != nil || now.Before(s.due) {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	result := make(chan []int, 1)
	s.probing, s.stop = result, stop
	var preferred, answered []int
	for i := range s.list {
		if s.isPreferred(i) {
			preferred = append(preferred, i)
		}
	}
	go func() {
		defer stop()
		for _, i := range preferred {
			if _, err := s.list[i].ask(ctx, AskTime, true); err == nil {
				answered = append(answered, i)
			}
		}
		result <- answered
	}()
}

// endProbe ends a probe, and waits until it has ended.
func (s *Sources) endProbe() {
	if s.probing != nil {
		s.stop()
		<-s.probing
		s.probing = nil
	}
}

// schedule sets when the next probe is due.
func (s *Sources) schedule() {
	s.due = time.Now().Add(s.pause*3/4 + s.c.Vary(s.pause/4))
}
