package gate

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/mirror/internal/replica"
)

// Gate is the guard of --max-delete during one pass. One goroutine uses it, but for
// Begin.
type Gate struct {
	replica *replica.Replica
	limit   Limit

	now       state.Deletions // what is remembered, as of now
	before    state.Deletions // as the pass began
	uncounted bool            // nobody ever counted the copy

	begin  sync.Once
	begun  atomic.Bool
	stored time.Time // when the deletions of this pass were written last
}

// recentMinutes is for how long deletions count together.
const recentMinutes = 10

// storeEvery is how often a pass that deletes writes down how much it deleted, at
// most: a kill costs the count of that time.
const storeEvery = 100 * time.Millisecond

// New returns the guard of a pass over r that begins.
func New(r *replica.Replica, limit Limit) *Gate {
	g := &Gate{replica: r, limit: limit}
	if d := r.Status().Deletions; d != nil {
		g.now, g.before = clone(*d), clone(*d)
	} else {
		g.uncounted = true
	}
	return g
}

// clone returns a copy that shares nothing.
func clone(d state.Deletions) state.Deletions {
	d.Recent = slices.Clone(d.Recent)
	return d
}

// minuteOf returns the minute of a time.
func minuteOf(at mtree.Stamp) int64 {
	sec, _ := at.Unix()
	return sec / 60
}

// isRecent allows for a clock that was set back a little, but not for one that was
// far ahead.
func isRecent(minute, now int64) bool {
	return now-minute <= recentMinutes && minute-now <= recentMinutes
}

// recent counts the deletions of the last ten minutes. While a hold stands, those of
// the ten minutes before the hold count: time is no reason to end it.
func (g *Gate) recent(now mtree.Stamp) (total int64) {
	for _, r := range g.now.Recent {
		if g.now.Shut || isRecent(r[0], minuteOf(now)) {
			total += r[1]
		}
	}
	return total
}

// note counts n deletions, and forgets those that are no longer recent.
func (g *Gate) note(n int64, now mtree.Stamp) {
	minute := minuteOf(now)
	if !g.now.Shut {
		g.now.Recent = slices.DeleteFunc(g.now.Recent, func(r [2]int64) bool { return !isRecent(r[0], minute) })
	}
	for i := range g.now.Recent {
		if g.now.Recent[i][0] == minute {
			g.now.Recent[i][1] += n
			return
		}
	}
	g.now.Recent = append(g.now.Recent, [2]int64{minute, n})
}

// Recall takes a hold from the list of what was held, where the status that
// remembered it is lost.
func (g *Gate) Recall(was *replica.HeldList) {
	if !g.uncounted {
		return
	}
	for i := range was.Entries {
		if d := &was.Entries[i]; !d.HasOwnReason() {
			g.now.Shut = true
			g.now.Base += d.Entries
		}
	}
}

// FoundRecord is called when the root of the copy has a record. If nobody ever
// counted that copy, it is counted when the pass has ended.
func (g *Gate) FoundRecord() { g.now.Unsure = g.now.Unsure || g.uncounted }

// Refuse says why total deletions are more than --max-delete allows; "" if they are
// not. made is how many entries this pass added; released says whether somebody
// released some of the deletions.
//
// Once it has refused, neither the base nor the recent deletions move until the
// source has enough of the entries again, or a higher --max-delete or a release lets
// them go. A release also settles the recent deletions.
func (g *Gate) Refuse(total, made int64, released bool) string {
	if released && g.now.Shut {
		g.now.Recent = nil
	}
	recent := g.recent(g.replica.Now())
	if total == 0 {
		g.now.Shut = false
		return ""
	}
	base := g.base(recent, made)
	if !g.limit.exceeded(total+recent, base) {
		g.now.Shut = false
		return ""
	}
	g.now.Shut, g.now.Base = true, base
	if recent > 0 {
		return fmt.Sprintf("%d of %d entries would go, %d went in the last ten minutes, --max-delete is %s", total, base, recent, g.limit)
	}
	return fmt.Sprintf("%d of %d entries would go, --max-delete is %s", total, base, g.limit)
}

// base is how many entries the copy had at the last full walk, or ten minutes ago if
// that is less. What was made since does not count.
func (g *Gate) base(recent, made int64) int64 {
	switch {
	case g.now.Base == 0:
		return g.replica.CountAll() - made
	case g.now.Shut || g.now.Unsure:
		return g.now.Base
	}
	return min(g.now.Base, g.replica.Counters().Entries+recent)
}

// Begin is called before a pass changes anything, as often as it likes: it writes
// down, once, that what the pass makes is not counted yet. Several goroutines may
// call it.
func (g *Gate) Begin() {
	g.begin.Do(func() {
		g.begun.Store(true)
		g.store(clone(g.before))
	})
}

// store writes down what the guard has to know if the pass is killed now.
func (g *Gate) store(d state.Deletions) {
	d.Unsure = true
	g.replica.StoreDeletions(&d)
}

// Deleted counts deletions that nobody released.
func (g *Gate) Deleted(n int64) {
	if n == 0 {
		return
	}
	g.note(n, g.replica.Now())
	if time.Since(g.stored) > storeEvery {
		g.store(clone(g.now))
		g.stored = time.Now()
	}
}

// End adds to the outcome of a pass what the guard has to know from now on, and how many
// entries the copy has now. Only a full walk that may delete moves the base. A pass that
// leaves something held is not complete.
func (g *Gate) End(o *replica.Outcome) {
	next := g.now
	entries := max(g.replica.Counters().Entries+o.Made-o.Deleted, 0)
	switch {
	case !o.Complete:
	case o.Full:
		entries, next.Unsure = max(o.Seen+o.Made-o.Deleted, 0), false
	case next.Unsure:
		entries, next.Unsure = g.replica.CountAll(), false
	}
	if o.Complete && (o.Full || next.Base == 0) && !o.NoDelete {
		// What went in the last ten minutes counts against the base, so it is part of it.
		next.Base = entries + g.recent(g.replica.Now())
	}
	o.Deletions, o.Entries, o.Begun = &next, entries, g.begun.Load()
}
