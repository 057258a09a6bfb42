package watch

import (
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/watch/internal/identity"
)

// floorAhead is how far the floor may be ahead of the clock before it is abandoned:
// else one stamp of a wrong clock could decide for years.
const floorAhead = time.Minute

// aboveEarlier raises the floor to all that directories may show since an earlier watcher: the
// clock may have been set back, and a batch that was broken off may have given one stamp more than
// was recorded, or than the clock showed then.
func (w *watcher) aboveEarlier(id identity.Identity) {
	s := &id.Status
	if s.Updated != nil && s.Boot == machine.BootID() {
		w.reading = reading{*s.Updated, s.Up, s.Up}
	}
	w.lookAtClock() // guard: TestKilledAndSetBackALittle
	if !s.Clean {
		w.floor = w.rule().Least() // guard: TestKilledInABatchOfASecond
	}
}

// mayShowMore reports whether directories may show times above the floor that an earlier watcher
// left, now being the clock: it was set back too far, or in another boot, or the audit after that
// was not finished.
func (w *watcher) mayShowMore(id identity.Identity, now mtree.Stamp) bool {
	s := &id.Status
	// guard (without s.Checkpoint == nil): TestStartInDoubt
	return w.farBack || s.Checkpoint == nil || s.Boot != machine.BootID() && s.Checkpoint.After(now)
}

// lookAtClock finds out whether the clock was set back since the last look. Until then the
// kernel may have given any time to a directory up to that which the clock would show now, and a
// reader may know it. So the floor is raised to that, and it does not come again as a stamp. If
// it lies too far ahead for that, the floor stays, and farBack is set. Files may have got times since the
// clock was set back, which was at the last look at the earliest: from then on stamps come again.
func (w *watcher) lookAtClock() {
	was, begun := w.reading, machine.Uptime()
	now := w.Now()
	w.reading = reading{now, begun, machine.Uptime()}
	if was.end == 0 || begun < was.end {
		return
	}
	switch would := was.clock.Add(begun - was.end); { // no delay of a look counts
	case would.Sub(now) > floorAhead: // guard: TestSetBackInAQuietTree
		w.farBack = true
		w.tree.SetBack(now.Add(was.begun-w.reading.end), would) // guard: TestStampsThatComeAgainAreRecorded
	case would.After(now):
		w.floor = mtree.Later(w.floor, would) // guard: TestTimesOfSecondsThatComeAgain
	}
}

// clockSetBack reports whether the clock was set back, which an audit has to mend.
func (w *watcher) clockSetBack() bool { return w.clock.SetBack() || w.farBack }
