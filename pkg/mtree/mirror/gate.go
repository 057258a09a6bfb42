package mirror

import (
	"fmt"
	"slices"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/state"
)

// gate is the guard of --max-delete. What it remembers stands in status.json, so
// neither a restart nor a pass a minute lets a deletion through in pieces.
type gate struct{ state.Deletions }

// recentMinutes is for how long deletions count together.
const recentMinutes = 10

// gateEvery is how often a pass that deletes writes down how much, at most: a
// kill costs the count of so much time.
const gateEvery = 100 * time.Millisecond

// gate returns what the guard remembered last.
func (d *dest) gate() gate {
	if d.status.Deletions == nil {
		return gate{}
	}
	g := gate{*d.status.Deletions}
	g.Recent = slices.Clone(g.Recent)
	return g
}

func minuteOf(at mtree.Stamp) int64 {
	sec, _ := at.Unix()
	return sec / 60
}

// isRecent allows for a clock that was set back, but not for one that was far
// ahead.
func isRecent(minute, now int64) bool {
	return now-minute <= recentMinutes && minute-now <= recentMinutes
}

// recent counts the deletions of the last ten minutes. While a hold stands those
// of the ten minutes before it count: time is no reason to end it.
func (g *gate) recent(now mtree.Stamp) (total int64) {
	for _, r := range g.Recent {
		if g.Shut || isRecent(r[0], minuteOf(now)) {
			total += r[1]
		}
	}
	return total
}

// note counts n deletions, and forgets those that are no longer recent.
func (g *gate) note(n int64, now mtree.Stamp) {
	minute := minuteOf(now)
	if !g.Shut {
		g.Recent = slices.DeleteFunc(g.Recent, func(r [2]int64) bool { return !isRecent(r[0], minute) })
	}
	for i := range g.Recent {
		if g.Recent[i][0] == minute {
			g.Recent[i][1] += n
			return
		}
	}
	g.Recent = append(g.Recent, [2]int64{minute, n})
}

// recall takes a hold by what is held, where nothing else is remembered of it.
func (g *gate) recall(was *heldList, lost bool) {
	if !lost {
		return
	}
	for i := range was.entries {
		if e := &was.entries[i]; !e.byItself() {
			g.Shut = true
			g.Base += e.entries
		}
	}
}

// share says why total deletions are more than --max-delete allows; "" if they
// are not. Once it said so, neither the base nor the recent deletions move until
// the source has enough of the doomed again, or a higher --max-delete or a release
// (which also settles the recent ones) lets them go.
func (p *pass) share(total int64, released bool) string {
	g, limit := &p.gate, p.rules.limit
	if released && g.Shut {
		g.Recent = nil
	}
	recent := g.recent(p.config.Now())
	if total == 0 {
		g.Shut = false
		return ""
	}
	base := p.base(recent)
	if !limit.exceeded(total+recent, base) {
		g.Shut = false
		return ""
	}
	g.Shut, g.Base = true, base
	if recent > 0 {
		return fmt.Sprintf("%d of %d entries would go, %d went in the last ten minutes, --max-delete is %s", total, base, recent, limit)
	}
	return fmt.Sprintf("%d of %d entries would go, --max-delete is %s", total, base, limit)
}

// base is how many entries the copy had at the last full walk, or ten minutes ago
// if that is less. What was made since does not count.
func (p *pass) base(recent int64) int64 {
	g := &p.gate
	switch {
	case g.Base == 0 && p.config.DryRun:
		return p.dest.countAll()
	case g.Base == 0:
		return p.dest.countAll() - p.made
	case g.Shut || g.Unsure:
		return g.Base
	}
	return min(g.Base, p.dest.entries()+recent)
}

// begun notes, once in a pass and before it changes anything, that what it makes
// is not counted yet.
func (p *pass) begun() {
	p.changing.Do(func() {
		p.counting.Store(true)
		p.storeGate(p.known)
	})
}

// storeGate writes down what the guard has to know if the pass is killed now.
func (p *pass) storeGate(g gate) {
	g.Unsure = true
	g.Recent = slices.Clone(g.Recent)
	p.dest.statusMu.Lock()
	defer p.dest.statusMu.Unlock()
	p.dest.status.Deletions = &g.Deletions
	if err := p.dest.file.Write(p.dest.status); err != nil {
		p.config.Log.Warn("status", "error", err)
	}
}

// deletedNow counts deletions that nobody released.
func (p *pass) deletedNow(n int64) {
	if n == 0 {
		return
	}
	p.gate.note(n, p.config.Now())
	if time.Since(p.noted) > gateEvery {
		p.storeGate(p.gate)
		p.noted = time.Now()
	}
}

// remembered returns what the guard has to know of a pass that ended, and how
// many entries the copy has now. Only a full walk moves the base, and none that
// deletes nothing; one that leaves something held is not complete.
func (p *pass) remembered() (d *state.Deletions, entries int64) {
	g := p.gate
	entries = max(p.dest.entries()+p.made-p.deleted, 0)
	switch {
	case !p.complete:
	case p.full:
		entries, g.Unsure = max(p.inCopy+p.below+p.made-p.deleted, 0), false
	case g.Unsure:
		entries, g.Unsure = p.dest.countAll(), false
	}
	if p.complete && (p.full || g.Base == 0) && !p.config.NoDelete {
		// What went in the last ten minutes counts against the base, so it is of it.
		g.Base = entries + g.recent(p.config.Now())
	}
	return &g.Deletions, entries
}
