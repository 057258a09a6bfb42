package gate

import (
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/internal/sys"
	"tidemark/pkg/mtree/mirror/internal/replica"
)

// Gate is the guard of --max-delete during one pass. One goroutine uses it, but any may
// call Begin.
type Gate struct {
	replica *replica.Replica
	limit   Limit

	now       state.Deletions // what is remembered now
	before    state.Deletions // what was remembered when the pass began
	uncounted bool            // the copy was never counted

	begin  sys.Mutex // held while Begin writes
	begun  atomic.Bool
	stored time.Time // when the deletions of this pass were written last
}

// recentMinutes is how long deletions count together.
const recentMinutes = 10

// storeEvery is the least time between two writes of how much a pass has deleted. A kill
// loses the count of that time.
const storeEvery = 100 * time.Millisecond

// New returns the guard for a new pass over r.
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

// isRecent reports whether minute lies at most ten minutes before now, or after it: the
// clock may have been set back a little. What lies further ahead does not count.
func isRecent(minute, now int64) bool {
	return now-minute <= recentMinutes && minute-now <= recentMinutes // guard (without minute-now): TestWhichDeletionsAreRecent
}

// recent counts the deletions of the last ten minutes. During a hold it counts those of
// the ten minutes before the hold, so that the passing of time does not end the hold.
func (g *Gate) recent(now mtree.Stamp) (total int64) {
	for _, r := range g.now.Recent {
		if g.now.Shut || isRecent(r[0], minuteOf(now)) { // guard (without g.now.Shut): TestWhatIsRemembered, TestAHoldStays
			total += r[1]
		}
	}
	return total
}

// forget forgets deletions that are no longer recent, unless they are why deletions are held.
func (g *Gate) forget(minute int64) {
	if !g.now.Shut { // guard (always): TestWhatIsRemembered
		g.now.Recent = slices.DeleteFunc(g.now.Recent, func(r [2]int64) bool { return !isRecent(r[0], minute) })
	}
}

// note counts n deletions, and forgets those that are no longer recent.
func (g *Gate) note(n int64, now mtree.Stamp) {
	minute := minuteOf(now)
	g.forget(minute)
	for i := range g.now.Recent {
		if g.now.Recent[i][0] == minute {
			g.now.Recent[i][1] += n
			return
		}
	}
	g.now.Recent = append(g.now.Recent, [2]int64{minute, n})
}

// Recall restores a hold from the list of held deletions, if the status that recorded it
// is lost.
func (g *Gate) Recall(was *replica.HeldList) {
	if !g.uncounted { // guard: TestRecallNeedsALoss
		return
	}
	for i := range was.Entries {
		if d := &was.Entries[i]; !d.HasOwnReason() { // guard (always): TestAHoldIsRecalled
			g.now.Shut = true
			g.now.Base += d.Entries
		}
	}
}

// FoundRecord is called when the root of the copy has a record. If that copy was never
// counted, it is counted at the end of the pass.
func (g *Gate) FoundRecord() { g.now.Unsure = g.now.Unsure || g.uncounted } // guard (g.uncounted -> false): TestAHoldIsRecalled

// Refuse says why total deletions are more than --max-delete allows; "" if they are not.
// made is how many entries this pass added; released says whether somebody released some
// of the deletions.
//
// Once it has refused, the base and the recent deletions stay as they are until the source
// has enough of the entries again, or until a higher --max-delete or a release lets them
// go. A release also clears the recent deletions.
func (g *Gate) Refuse(total, made int64, released bool) string {
	if released && g.now.Shut { // guard (without g.now.Shut): TestRefusal
		g.now.Recent = nil
	}
	recent := g.recent(g.replica.Now())
	if total == 0 { // guard: TestRefusal
		g.now.Shut = false
		return ""
	}
	base := g.base(recent, made)
	if !g.limit.exceeded(total+recent, base) { // guard (+recent -> ): TestDeletionsCountTogether
		g.now.Shut = false
		return ""
	}
	g.forget(minuteOf(g.replica.Now())) // guard: TestAHoldCountsNothingOld
	g.now.Shut, g.now.Base = true, base // guard: TestRefusal
	if recent > 0 {
		return fmt.Sprintf("%d of %d entries would go, %d went in the last ten minutes, --max-delete is %s", total, base, recent, g.limit)
	}
	return fmt.Sprintf("%d of %d entries would go, --max-delete is %s", total, base, g.limit)
}

// base returns how many entries the copy had at the last full walk, or ten minutes ago if
// that is less. Entries made since then do not count.
func (g *Gate) base(recent, made int64) int64 {
	switch {
	case g.now.Base == 0:
		return g.replica.CountAll() - made // guard ( - made -> ): TestBase
	case g.now.Shut || g.now.Unsure: // guard (without g.now.Unsure): TestBase
		return g.now.Base
	}
	return min(g.now.Base, g.replica.Counters().Entries+recent) // guard (returns g.now.Base): TestBase, TestTheBaseShrinks
}

// Begin must be called before a pass changes anything; further calls do nothing. It writes
// down that what the pass makes is not counted yet. Several goroutines may call it.
func (g *Gate) Begin() {
	if g.begun.Load() {
		return
	}
	g.begin.Lock()
	defer g.begin.Unlock()
	if !g.begun.Load() {
		g.store(clone(g.before)) // guard: TestDeletionsCountTogether
		g.begun.Store(true)
	}
}

// store writes down what the guard has to know if the pass is killed.
func (g *Gate) store(d state.Deletions) {
	d.Unsure = true // guard: TestDeletedIsWrittenDown
	g.replica.StoreDeletions(&d)
}

// Keep writes a hold down, durably. It comes before the list of what is held: after a kill or a
// power cut that list alone does not hold anything, for it may be of a hold that has ended.
func (g *Gate) Keep() error {
	if !g.now.Shut { // guard (always): TestAHoldIsKept
		return nil
	}
	d := clone(g.now)
	d.Unsure = d.Unsure || g.begun.Load()
	return g.replica.KeepDeletions(&d)
}

// Deleted counts deletions that nobody released.
func (g *Gate) Deleted(n int64) {
	if n == 0 {
		return
	}
	g.note(n, g.replica.Now())
	if time.Since(g.stored) > storeEvery {
		g.store(clone(g.now)) // guard: TestDeletedIsWrittenDown
		g.stored = time.Now()
	}
}

// End adds to the outcome of a pass what the guard has to remember, and how many entries
// the copy has now. Only a full walk that may delete changes the base once it is set. A
// pass that leaves something held is not complete.
func (g *Gate) End(o *replica.Outcome) {
	next := g.now
	entries := max(g.replica.Counters().Entries+o.Made-o.Deleted, 0)
	switch {
	case !o.Complete:
	case o.Full:
		entries, next.Unsure = max(o.Seen+o.Made-o.Deleted, 0), false
	case next.Unsure: // guard: TestEnd
		entries, next.Unsure = g.replica.CountAll(), false
	}
	if o.Complete && (o.Full || next.Base == 0) && !o.NoDelete { // guard (without !o.NoDelete): TestEnd
		// Refuse adds the recent deletions to new ones before it compares the sum with the
		// base, so the base has to include them.
		next.Base = entries + g.recent(g.replica.Now()) // guard ( + g.recent(g.replica.Now()) -> ): TestEnd
	}
	o.Deletions, o.Entries, o.Begun = &next, entries, g.begun.Load()
}
