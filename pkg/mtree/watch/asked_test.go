package watch

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/notify"
	"tidemark/pkg/mtree/watch/internal/audit"
	"tidemark/pkg/mtree/watch/internal/mounts"
	"tidemark/pkg/mtree/watch/internal/stamprule"
	"tidemark/pkg/mtree/wire"
)

// fires reports whether the next audit becomes due within a day.
func (p *post) fires() bool {
	p.sleep(25 * time.Hour)
	select {
	case <-p.audits.timer.C:
		return true
	default:
		return false
	}
}

// An audit that is asked for begins at once, and no other one is due while it runs. It hears
// .tidemark anew, knows the floor, and tells nothing if nothing changed.
func TestAuditThatIsAskedFor(t *testing.T) {
	manned(t, []string{"a/"}, func(t *testing.T, p *post) {
		p.forget()
		p.sleep(time.Hour)
		p.requestAudit(p.auditScope("asked for"))
		require.True(t, p.audits.running)
		require.Equal(t, 1, p.tower.marked)
		require.Equal(t, "asked for", p.audits.current.reason)
		require.Equal(t, p.floor, p.audits.current.Floor)
		require.Equal(t, p.now(), p.audits.current.start)
		require.False(t, p.fires())
		p.audit()
		require.Equal(t, 0, p.chunks)
		require.Equal(t, wire.Watched, p.status(t).State)
	})
}

// Where the tree is on a file server, attributes come up to a minute late, and ctimes by the server's
// clock. The next audit looked back 10 s by ours: what another client wrote in place was never
// published, nor was anything if the server's clock was 11 s behind.
func TestAuditsElsewhere(t *testing.T) {
	for _, c := range []struct {
		elsewhere bool
		ahead     time.Duration // our clock
		stateDir  string
		refuse    string // a call that fails while it is found out
		lag       time.Duration
	}{
		{false, time.Hour, "", "", 0}, {true, 0, "", "", attributesAge}, {true, time.Hour, "", "", attributesAge + time.Hour},
		{true, time.Hour, "/own", "", attributesAge}, {true, 2 * mostBehind, "", "", attributesAge},
		{true, 0, "", "write status.json", attributesAge},
	} {
		manned(t, nil, func(t *testing.T, p *post) {
			p.sleep(3 * time.Hour) // the checkpoint is older than what the audit proves
			p.backend, p.elsewhere, p.later, p.StateDir = "none", c.elsewhere, c.ahead, c.stateDir
			p.Refuse(c.refuse, unix.EIO, -1)
			p.requestAudit(p.auditScope("asked for"))
			p.Fail = nil
			start := p.audits.current.start
			require.InDelta(t, float64(c.lag), float64(p.now().Sub(start)), float64(time.Millisecond), c)
			p.audit()
			require.Equal(t, start, *p.status(t).Audit, c)
			require.Equal(t, start.Add(-stamprule.LookBack), p.auditScope("asked for").Since, c)
			require.False(t, p.status(t).Checkpoint.After(start), c)
		})
	}
}

// What is not heard may be a file server's, mounted below the root.
func TestAuditsOfADeafTree(t *testing.T) {
	manned(t, nil, func(t *testing.T, p *post) {
		p.health.CannotHear(unix.ENOMEM)
		p.requestAudit(p.auditScope("asked for"))
		start := p.audits.current.start
		require.Equal(t, p.now().Add(-attributesAge), start)
		p.audit()
		require.Equal(t, start, *p.status(t).Audit)
	})
	manned(t, nil, func(t *testing.T, p *post) { // where nothing is heard anyway, that is no sign of one
		p.backend = "none"
		p.health.CannotHear(unix.ENOMEM)
		p.requestAudit(p.auditScope("asked for"))
		require.Equal(t, p.now(), p.audits.current.start)
		p.audit()
	})
	manned(t, nil, func(t *testing.T, p *post) { // the audit itself finds what is mounted
		p.requestAudit(p.auditScope("asked for"))
		start := p.audits.current.start
		p.health.CannotHear(unix.ENOMEM)
		p.audit()
		require.Equal(t, start.Add(-attributesAge), *p.status(t).Audit)
	})
}

// One that makes up for a loss is owed until it is done, whatever is asked for meanwhile.
func TestAuditThatIsOwed(t *testing.T) {
	manned(t, nil, func(t *testing.T, p *post) {
		p.again(func() { require.False(t, p.audits.owed) })
		lost := p.auditScope("lost")
		lost.loss = true
		p.requestAudit(lost)
		require.True(t, p.audits.owed)
		p.requestAudit(p.auditScope("asked for"))
		require.True(t, p.audits.owed)
		p.audit()
		require.False(t, p.audits.owed)
	})
}

// Something was mounted while an audit looked, and came and went between two looks at the table of mounts. What
// it covered was not seen, and nothing of it was heard from then on.
func TestAMountThatPassed(t *testing.T) {
	manned(t, []string{"a/b/", "x/"}, func(t *testing.T, p *post) {
		p.again(func() {})
		require.True(t, p.mounts.Follows())
		require.Empty(t, p.changes(func() { p.again(func() {}) }, "a", "a/b", "x"))
		p.Mount("b")
		require.Contains(t, p.changes(func() { p.again(func() {}) }, "a", "a/b", "x"), "a")
		p.Show = nil
		require.NotEmpty(t, p.changes(func() { p.again(func() {}) }, "a", "a/b", "x"), "the batch after the audit saw it, too")
		require.Empty(t, p.changes(func() { p.again(func() {}) }, "a", "a/b", "x"))
	})
}

// The same while a batch was published: the walk of what arrived, for one. Each mount on the machine wakes
// watch, and so the mounts are read. Until then the checkpoint stays: a watch that starts anew would not
// look there.
func TestAMountThatPassedABatch(t *testing.T) {
	manned(t, []string{"a/b/", "x/"}, func(t *testing.T, p *post) {
		p.again(func() {})
		batch := func(events ...*notify.DirEvents) string {
			p.hear(events...)
			return p.changes(func() { require.NoError(t, p.publishEvents(p.ctx)) }, "a", "a/b", "x")
		}
		name := &notify.DirEvents{Path: "a", Entries: []notify.Entry{{Name: "b"}}}
		p.Mount("b")
		for range 2 {
			require.Equal(t, "", batch(name))
			require.False(t, p.canAdvance())
			require.Equal(t, []string{"a/b"}, p.seenMounts)
		}
		p.Show = nil
		require.Equal(t, "", batch(), "no mount came or went so far")
		require.False(t, p.canAdvance())
		p.Mounted = true
		require.Equal(t, "a a/b", batch())
		require.True(t, p.canAdvance())
		p.Mounts, p.Mounted = "5 1 8:2 / /tree/a/b rw - ext4 x rw\n", true
		batch()
		p.Mount("b")
		require.Equal(t, "", batch(name))
		require.True(t, p.canAdvance(), "it is known")
		require.NoError(t, p.mounts.Close())
		p.mounts = &mounts.Follower{}
		require.Equal(t, "", batch(name))
		require.True(t, p.canAdvance(), "nothing will say that it went: audits look")
	})
}

// While an audit runs, several that are asked for become one, which follows it.
func TestAuditsThatAreJoined(t *testing.T) {
	manned(t, nil, func(t *testing.T, p *post) {
		audits := p.Stats.Audits.Load()
		p.again(func() {
			for _, all := range []bool{false, true, false} {
				r := p.auditScope("asked for")
				r.All = all
				p.requestAudit(r)
				require.True(t, p.audits.running)
			}
			require.True(t, p.audits.next.All)
			require.False(t, p.audits.current.All)
		})
		require.Equal(t, audits+2, p.Stats.Audits.Load())
	})
}

// An audit during which something is lost proves nothing. The one that follows raises the epoch again
// if either was to.
func TestAuditThatFollowsRaisesAgain(t *testing.T) {
	for _, c := range []struct{ first, lost bool }{{true, false}, {false, true}, {false, false}} {
		manned(t, nil, func(t *testing.T, p *post) {
			first, lost := p.auditScope("asked for"), p.auditScope("lost")
			lost.loss, first.raiseAgain, lost.raiseAgain = true, c.first, c.lost
			p.requestAudit(first)
			p.requestAudit(lost)
			for p.audits.current.reason == "asked for" {
				p.takeOfAudit()
			}
			require.Equal(t, c.first || c.lost, p.audits.current.raiseAgain, c)
			p.audit()
		})
	}
}

// The first epoch begins with the end of the first audit. Where that of a later one raises the epoch
// again, it is one that begins little later than the one before.
func TestEpochsOfAudits(t *testing.T) {
	for _, first := range []bool{true, false} {
		manned(t, nil, func(t *testing.T, p *post) {
			want := p.began.Add(epochGap)
			p.firstAudit = first
			r := p.auditScope("asked for")
			r.raiseAgain = true
			p.requestAudit(r)
			p.audit()
			if first {
				want = p.now()
			}
			sec, _ := want.Unix()
			require.Equal(t, uint64(sec), p.treeFile().Epoch)
		})
	}
}

// A --sync that waits in .tidemark when an audit begins waits for the queue, too; where nothing
// is heard, for the audit alone.
func TestCookiesThatAnAuditFinds(t *testing.T) {
	for _, hears := range []bool{true, false} {
		manned(t, nil, func(t *testing.T, p *post) {
			if !hears {
				p.backend = "none"
			}
			require.NoError(t, p.Shell.Write(markerPath+"/sync-1", ""))
			p.requestAudit(p.auditScope("asked for"))
			require.Equal(t, hears, len(p.found) == 1)
			require.Equal(t, !hears, len(p.cookies) == 1)
			require.Equal(t, p.cookies, p.audits.cookies)
			p.audit()
			require.Contains(t, p.Shell.Names(markerPath), "synced-1")
		})
	}
}

// A --sync that came during an audit waits for another one if that audit finds a directory that
// cannot be heard: until then all was heard, so none was asked for.
func TestCookiesWhileDeaf(t *testing.T) {
	manned(t, nil, func(t *testing.T, p *post) {
		audits := p.Stats.Audits.Load()
		p.lose("lost", false)
		require.NoError(t, p.Shell.Write(markerPath+"/sync-1", ""))
		p.tower.events = []notify.Events{{Marker: []string{"sync-1"}, Drained: true}}
		require.NoError(t, p.publishEvents(p.ctx))
		require.Nil(t, p.audits.next)
		p.health.CannotHear(unix.ENOMEM)
		p.audit()
		require.Equal(t, audits+2, p.Stats.Audits.Load())
		require.Contains(t, p.Shell.Names(markerPath), "synced-1")
	})
	manned(t, nil, func(t *testing.T, p *post) { // one that is to follow anyway is enough
		p.requestAudit(p.auditScope("asked for"))
		p.requestAudit(p.auditScope("asked for again"))
		p.health.CannotHear(unix.ENOMEM)
		p.cookies = []string{"sync-1"}
		p.auditForCookies()
		require.Equal(t, "asked for again", p.audits.next.reason)
	})
}

// A --sync that waited for an audit was answered although the audit was broken off, because watch ended.
func TestSyncOfAnAuditThatIsBrokenOff(t *testing.T) {
	manned(t, nil, func(t *testing.T, p *post) {
		p.backend = "none"
		require.NoError(t, p.Shell.Write(markerPath+"/sync-1", ""))
		p.requestAudit(p.auditScope("asked for"))
		require.Equal(t, []string{"sync-1"}, p.cookies)
		p.audits.cancel()
		p.endAudits()
		require.NoError(t, p.finish(p.ctx))
		require.Contains(t, p.Shell.Names(markerPath), "sync-1")
		require.False(t, p.audits.running)
	})
}

// What an audit could not name before counts no more once another one finds nothing of the
// kind. Directories that refused their time show their stamp as soon as they take it.
func TestAuditEndsTrouble(t *testing.T) {
	manned(t, []string{"a/"}, func(t *testing.T, p *post) {
		p.again(func() { p.health.Overflow(unix.EACCES) })
		require.Equal(t, wire.Degraded, p.status(t).State)
		stamp := p.now().Add(-time.Minute)
		p.health.Refuse("a", disk.Node{Dev: 1, Ino: p.inode("a")}, stamp, unix.EPERM)
		p.again(func() {})
		require.Equal(t, wire.Watched, p.status(t).State)
		require.Equal(t, stamp, p.shows("a"))
		require.False(t, p.exceptions.AnyRefuses())
	})
}

// When watch ends, the running audit is broken off, and its end waited for. No other follows.
func TestAuditsEnd(t *testing.T) {
	manned(t, []string{"a/"}, func(t *testing.T, p *post) {
		everything := p.auditScope("asked for")
		everything.All = true
		p.scheduleAudit(p.audits.last)
		p.requestAudit(everything)
		p.endAudits()
		require.False(t, p.audits.running)
		synctest.Wait()
		require.Empty(t, p.audits.reports)
		p.scheduleAudit(p.audits.last)
		p.endAudits()
		require.False(t, p.fires())
	})
}

// How far an audit looks back: to the checkpoint, or to the start of the one that runs, if that
// is earlier; the bound for entries is the start of the last that left nothing out unnamed.
// Only the audit for which nobody waits is slow.
func TestScopeOfAnAudit(t *testing.T) {
	at := func(sec int64) *mtree.Stamp { s := mtree.Unix(sec, 0); return &s }
	back := func(sec int64) mtree.Stamp { return mtree.Unix(sec, 0).Add(-stamprule.LookBack) }
	running := auditRequest{Scope: audit.Scope{Since: *at(50), Before: *at(40)}, start: *at(300)}
	for i, c := range []struct {
		checkpoint, audited, swept *mtree.Stamp
		running                    bool
		since, before              mtree.Stamp
	}{
		{since: mtree.MinStamp},
		{running: true, since: *at(50), before: *at(40)},
		{checkpoint: at(500), since: back(500), before: *at(500)},
		{checkpoint: at(500), running: true, since: back(500), before: *at(500)},
		{checkpoint: at(500), audited: at(400), since: back(500), before: *at(400)},
		{checkpoint: at(500), audited: at(400), swept: at(450), since: back(500), before: *at(450)},
		{checkpoint: at(500), audited: at(400), swept: at(350), since: back(500), before: *at(400)},
		{swept: at(350), since: back(350), before: *at(350)},
	} {
		w := &watcher{}
		w.status.Checkpoint, w.status.Audit, w.audits.swept = c.checkpoint, c.audited, c.swept
		w.audits.running, w.audits.current = c.running, running
		r := w.auditScope("asked for")
		require.Equal(t, []any{c.since, c.before, false}, []any{r.Since, r.Before, r.Slow}, i)
		require.True(t, w.auditScope(periodic).Slow)
	}
	w := &watcher{}
	w.audits.running, w.audits.current = true, auditRequest{Scope: audit.Scope{Since: *at(500)}, start: *at(300)}
	require.Equal(t, back(300), w.auditScope("asked for").Since)
}

// A floor that lies more than a minute ahead of the clock is given up, and readers are told by
// the epoch, once.
func TestFloorThatIsAhead(t *testing.T) {
	manned(t, nil, func(t *testing.T, p *post) {
		for _, c := range []struct {
			ahead     time.Duration
			raised    bool // before
			abandoned bool
		}{{0, false, false}, {floorAhead, false, false}, {floorAhead + 1, false, true}, {time.Hour, true, true}} {
			epoch, ahead := p.tree.Epoch, p.clock.Now().Add(c.ahead)
			p.floor = ahead
			p.requestAudit(auditRequest{Scope: p.auditScope("asked for").Scope, epochRaised: c.raised})
			require.Equal(t, c.abandoned, p.floor != ahead, c)
			require.Equal(t, c.abandoned, p.floor == p.clock.Now() && c.ahead > 0, c)
			require.Equal(t, c.abandoned && !c.raised, p.tree.Epoch > epoch, c)
			require.Equal(t, p.floor, p.audits.current.Floor, c)
			p.audit()
		}
	})
}

// Audits come once a day. Where something is not heard they come more often, with pauses of
// twenty times their length, of a minute at least, or of a second where nothing is heard. An audit
// that waited two minutes for the clock had the next one wait for 40.
func TestPauseOfAudits(t *testing.T) {
	for _, c := range []struct {
		hears, degraded bool
		took, pause     time.Duration
	}{
		{true, false, time.Hour, 24 * time.Hour},
		{true, true, time.Second, time.Minute}, {true, true, 10 * time.Second, 200 * time.Second}, {true, true, 2 * time.Hour, 24 * time.Hour},
		{false, false, time.Millisecond, time.Second}, {false, true, time.Second, 20 * time.Second}, {false, false, 2 * time.Hour, 24 * time.Hour},
	} {
		manned(t, nil, func(t *testing.T, p *post) {
			if !c.hears {
				p.backend = "none"
			}
			if c.degraded {
				p.watcher.status.State = wire.Degraded
			}
			p.scheduleAudit(auditReport{Report: audit.Report{Elapsed: c.took + time.Hour, Waited: time.Hour}})
			require.Equal(t, c.pause, waits(func() { <-p.audits.timer.C }), c)
		})
	}
}

// After a loss an audit begins, and the state says so. If readers cannot rely on what they
// have, the checkpoint is gone before they see another epoch: a kill in between must not leave
// the one with the other. The clock may have been set back.
func TestLosses(t *testing.T) {
	for _, newEpoch := range []bool{false, true} {
		manned(t, nil, func(t *testing.T, p *post) {
			epoch, losses, before := p.tree.Epoch, p.Stats.Losses.Load(), p.status(t)
			p.forget()
			p.later = -time.Minute
			var lost atomic.Bool // the audit goes on beside the test
			p.Fail = func(call string) error {
				if call == "rename tree" && !lost.Load() {
					s := p.status(t)
					require.Equal(t, wire.Auditing, s.State)
					require.Nil(t, s.Checkpoint)
					require.Nil(t, s.Audit)
				}
				return nil
			}
			p.lose("overflow", newEpoch)
			lost.Store(true)
			require.Equal(t, losses+1, p.Stats.Losses.Load())
			require.Contains(t, p.text.String(), "overflow")
			require.Equal(t, []string{string(wire.Auditing)}, p.told)
			require.Equal(t, wire.Auditing, p.status(t).State)
			require.True(t, p.audits.running && p.audits.owed && p.audits.current.loss)
			require.False(t, p.audits.current.Slow)
			require.Equal(t, newEpoch, p.audits.current.All)
			require.Equal(t, newEpoch, p.audits.current.epochRaised)
			require.Equal(t, newEpoch, p.treeFile().Epoch > epoch)
			require.Equal(t, newEpoch, p.clock.Now() == p.now(), "a new start")
			require.Equal(t, newEpoch, p.floor == p.now().Add(time.Minute), "what the clock would show does not come again")
			require.Equal(t, !newEpoch, p.audits.swept != nil)
			if !newEpoch {
				require.Equal(t, *before.Checkpoint, *p.status(t).Checkpoint)
			}
			p.audit()
			require.Equal(t, wire.Watched, p.status(t).State)
		})
	}
	manned(t, nil, func(t *testing.T, p *post) {
		p.lose(periodic, false)
		require.False(t, p.audits.current.Slow, "somebody waits for it")
		p.audit()
	})
}
