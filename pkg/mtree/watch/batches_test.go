package watch

import (
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/notify"
	"tidemark/pkg/mtree/watch/internal/audit"
	"tidemark/pkg/mtree/watch/internal/ownwrites"
	"tidemark/pkg/mtree/watch/internal/trigger"
	"tidemark/pkg/mtree/wire"
)

// gives reports whether something comes out of a channel within a time.
func gives[T any](from <-chan T, within time.Duration) bool {
	select {
	case <-from:
		return true
	case <-time.After(within):
		return false
	}
}

// A batch is published when nothing came for a while. While changes go on it waits, and no
// longer than its patience.
func TestBatchThatSettles(t *testing.T) {
	manned(t, []string{"a/f"}, func(t *testing.T, p *post) {
		p.openBatch()
		require.True(t, p.batch.open)
		require.Equal(t, p.Settle, waits(func() { <-p.batch.timer.C }))
		p.batch.limit = time.Now().Add(10 * time.Millisecond)
		for _, c := range []struct {
			heard bool
			left  time.Duration // of the patience
			again time.Duration // -1: it is published
		}{{true, time.Hour, p.Settle}, {true, time.Millisecond, time.Millisecond}, {true, 0, -1}, {true, -time.Second, -1}, {false, time.Hour, -1}} {
			p.batch.open, p.batch.limit = true, time.Now().Add(c.left)
			p.tower.taken = 0
			if c.heard {
				p.wake <- struct{}{}
			}
			require.NoError(t, p.settle(p.ctx))
			require.Equal(t, c.again < 0, p.tower.taken > 0, c)
			require.Equal(t, c.again >= 0, p.batch.open, c)
			if c.again >= 0 {
				require.Equal(t, c.again, waits(func() { <-p.batch.timer.C }), c)
			}
			require.Empty(t, p.wake)
		}
		require.NoError(t, p.Shell.Rename("/tree", "/away", 0))
		p.tower.events = []notify.Events{{RootGone: true}}
		require.ErrorContains(t, p.settle(p.ctx), "moved, deleted or unmounted")
	})
}

// The patience of a batch depends on what the last one cost.
func TestCostOfABatch(t *testing.T) {
	manned(t, []string{"a/f"}, func(t *testing.T, p *post) {
		set := p.published.SetTime
		p.published.SetTime = func(d *disk.Dir, stamp mtree.Stamp) error {
			p.sleep(3 * time.Millisecond)
			return set(d, stamp)
		}
		p.batch.open = true
		p.batch.timer.Reset(time.Second)
		p.hear(&notify.DirEvents{Path: "a", Dirty: true})
		require.NoError(t, p.publishEvents(p.ctx))
		require.Equal(t, 6*time.Millisecond, p.batch.cost)
		require.False(t, p.batch.open)
		require.False(t, gives(p.batch.timer.C, time.Minute), "it is published")
	})
}

// Changes that were heard are published, without those that are excluded, and counted. If the
// kernel holds nothing more, the checkpoint moves. A batch that stamps nothing writes nothing.
func TestEventsArePublished(t *testing.T) {
	mannedWith(t, Config{Exclude: []string{"x"}}, []string{"a/f", "b/"}, func(t *testing.T, p *post) {
		all := []string{"", "a", "b"}
		batches, changed, stamped, heard := p.Stats.Batches.Load(), p.Stats.Changes.Load(), p.Stats.Stamped.Load(), p.Stats.Events.Load()
		p.sleep(time.Hour)
		at := p.now()
		p.hear(&notify.DirEvents{Path: "a", Entries: []notify.Entry{{Name: "f"}, {Name: "x"}}})
		p.forget()
		require.Equal(t, " a", p.changes(func() { require.NoError(t, p.publishEvents(p.ctx)) }, all...))
		require.True(t, p.written())
		require.Equal(t, []int64{batches + 1, changed + 1, stamped + 2, heard + 1},
			[]int64{p.Stats.Batches.Load(), p.Stats.Changes.Load(), p.Stats.Stamped.Load(), p.Stats.Events.Load()})
		require.Equal(t, at.Add(-wire.ClockLag), *p.watcher.status.Checkpoint)
		require.Equal(t, p.shows(""), p.floor)

		p.sleep(time.Hour)
		p.tower.events = []notify.Events{{Dirs: []*notify.DirEvents{{Path: "b", Dirty: true}}}} // there is more
		require.NoError(t, p.publishEvents(p.ctx))
		require.Equal(t, at.Add(-wire.ClockLag), *p.watcher.status.Checkpoint)

		batches, changed = p.Stats.Batches.Load(), p.Stats.Changes.Load()
		p.hear(&notify.DirEvents{Path: "gone", Dirty: true})
		p.forget()
		require.NoError(t, p.publishEvents(p.ctx))
		require.False(t, p.written())
		require.Equal(t, []int64{batches, changed}, []int64{p.Stats.Batches.Load(), p.Stats.Changes.Load()})

		require.NoError(t, p.publishEvents(p.ctx))
		require.False(t, p.written(), "nothing at all")
		p.hear(&notify.DirEvents{Path: "a", Dirty: true})
		p.Refuse("statx tree", unix.EIO, -1)
		err := p.publishEvents(p.ctx)
		require.ErrorIs(t, err, unix.EIO)
		require.Equal(t, exit.Local, exit.Of(err))
	})
}

// While an audit runs, or is owed, or something is not heard, batches do not move the
// checkpoint; nor where nothing is heard.
func TestCheckpointThatStays(t *testing.T) {
	for what, prepare := range map[string]func(p *post){
		"an audit runs":   func(p *post) { p.audits.running = true },
		"an audit is due": func(p *post) { p.audits.owed = true },
		"deaf":            func(p *post) { p.health.CannotHear(notify.ErrLimit) },
		"no events":       func(p *post) { p.backend = "none" },
		"mounts":          func(p *post) { p.Refuse("proc mountinfo", unix.EIO, -1); p.Mounted = true },
		"":                func(*post) {},
	} {
		manned(t, []string{"a/"}, func(t *testing.T, p *post) {
			before := *p.watcher.status.Checkpoint
			p.sleep(time.Hour)
			prepare(p)
			p.wrote("a", ownwrites.Proven)
			p.forget()
			p.hear(&notify.DirEvents{Path: "gone", Dirty: true})
			require.NoError(t, p.publishEvents(p.ctx))
			require.Equal(t, what != "", *p.watcher.status.Checkpoint == before, what)
			require.Equal(t, what == "", p.Made("write left") > 0, what)
			p.audits.running = false
		})
	}
}

// Findings are published when the clock has a stamp for them, and the status is written.
func TestFindingsArePublished(t *testing.T) {
	manned(t, []string{"a/"}, func(t *testing.T, p *post) {
		require.NoError(t, p.Shell.Write(markerPath+"/sync-1", ""))
		require.True(t, p.addCookie("sync-1"))
		p.floor = p.now().Add(time.Second)
		p.forget()
		require.Equal(t, time.Second, waits(func() {
			require.Equal(t, " a", p.changes(func() { require.NoError(t, p.publishFindings(p.ctx, []audit.Finding{{Path: "a"}})) }, "", "a"))
		}).Round(time.Millisecond))
		require.True(t, p.written())
		require.Contains(t, p.Shell.Names(markerPath), "synced-1")
		p.floor = p.now().Add(-1)
		require.Zero(t, waits(func() { p.waitForClock(p.ctx) }))
		p.floor = p.now()
		require.Zero(t, waits(func() { p.waitForClock(p.ctx) }))
		p.floor = p.now().Add(time.Hour)
		require.Equal(t, coarseWait, waits(func() { p.waitForClock(p.ctx) }))
	})
	manned(t, []string{"a/"}, func(t *testing.T, p *post) { // a clock that was set back a little shows no stamp again
		p.sleep(time.Hour)
		would := p.now()
		p.later = -30 * time.Second
		require.NoError(t, p.publishFindings(p.ctx, []audit.Finding{{Path: "a"}}))
		require.True(t, p.shows("a").After(would))
	})
}

// What batches leave behind: the borders that they met, and the end of exceptions.
func TestWhatABatchRecords(t *testing.T) {
	manned(t, []string{"a/b/", "c/d/"}, func(t *testing.T, p *post) {
		p.live("a")
		p.hear(&notify.DirEvents{Path: "a/b", Dirty: true})
		require.NoError(t, p.publishEvents(p.ctx))
		require.Equal(t, []string{"a"}, p.treeFile().Borders)

		p.health.CannotRead("c/d", p.inode("c/d"), unix.EACCES)
		p.saveExceptions()
		p.hear(&notify.DirEvents{Path: "c/d", Self: 1})
		require.NoError(t, p.Shell.Chmod("/tree/c/d", 0o700))
		require.NoError(t, p.publishEvents(p.ctx))
		require.Empty(t, exceptionsIn(t, p).Unread)
		require.Empty(t, p.exceptions.Unread())
	})
}

// The state changes with what a batch found out, once, and with it the pause of audits, unless
// one runs. Trouble that ended is confirmed by an audit soon.
func TestStateAfterABatch(t *testing.T) {
	manned(t, nil, func(t *testing.T, p *post) {
		p.forget()
		p.endBatch(false)
		require.False(t, p.written())
		p.endBatch(true)
		require.True(t, p.written())
		require.Empty(t, p.told)
		p.health.CannotHear(notify.ErrLimit)
		p.endBatch(false)
		require.Equal(t, wire.Degraded, p.status(t).State)
		require.Equal(t, []string{string(wire.Degraded)}, p.told)
		require.Equal(t, minDeafPause, waits(func() { <-p.audits.timer.C }))
		p.endBatch(false)
		require.Len(t, p.told, 1)
	})
	manned(t, nil, func(t *testing.T, p *post) {
		p.requestAudit(p.auditScope("asked for"))
		p.health.CannotHear(notify.ErrLimit)
		p.endBatch(false)
		require.False(t, p.fires(), "one runs")
		p.audit()
	})
	manned(t, nil, func(t *testing.T, p *post) {
		p.audits.last.Elapsed = time.Second
		p.audits.timer.Stop()
		p.endBatch(true)
		require.False(t, p.fires())
		p.health.Refuse("", disk.Node{}, p.now(), unix.EPERM)
		p.health.Accept("")
		p.audits.running = true // so that the state alone does not
		p.endBatch(true)
		p.audits.running = false
		require.Equal(t, auditPace*time.Second, waits(func() { <-p.audits.timer.C }))
	})
}

// The triggers get the changes that were published, and nothing if there are none. A printer
// whose reader is gone ends watch.
func TestTriggers(t *testing.T) {
	mannedWith(t, Config{Print: io.Discard}, []string{"a/f"}, func(t *testing.T, p *post) {
		reader, writer := io.Pipe()
		var lines strings.Builder
		p.printer = trigger.NewPrinter(writer, time.Hour, p.Log, &p.Stats.PrintLost)
		go func() { _, _ = io.Copy(&lines, reader) }()
		p.hook = trigger.NewHook("true", p.Log, &p.Stats.HookRuns, &p.Stats.HookErrors)
		require.NoError(t, p.trigger(nil))
		p.hear(&notify.DirEvents{Path: "a", Entries: []notify.Entry{{Name: "f"}}})
		require.NoError(t, p.publishEvents(p.ctx))
		synctest.Wait()
		require.Contains(t, lines.String(), "\ta/f\n")
		require.True(t, gives(p.hook.Done(), time.Hour))
		require.NoError(t, reader.Close())
		var err error
		for range 10 {
			if err == nil {
				p.hear(&notify.DirEvents{Path: "a", Entries: []notify.Entry{{Name: "f"}}})
				err = p.publishEvents(p.ctx)
				p.sleep(time.Second)
			}
		}
		require.Error(t, err)
	})
}

// A hook that failed waits for its pause, also while batches stamp nothing.
func TestHookThatFailed(t *testing.T) {
	manned(t, nil, func(t *testing.T, p *post) {
		p.hook = trigger.NewHook("false", p.Log, &p.Stats.HookRuns, &p.Stats.HookErrors)
		require.NoError(t, p.trigger([]trigger.Change{{Path: "a/"}}))
		p.hook.Ended(<-p.hook.Done())
		require.NoError(t, p.trigger(nil))
		require.Equal(t, int64(1), p.Stats.HookRuns.Load())
	})
}

// An empty batch publishes nothing: what can be read again, and is not told above, stays noted.
func TestEmptyBatch(t *testing.T) {
	manned(t, []string{"a/"}, func(t *testing.T, p *post) {
		p.health.CannotRead("a", p.inode("a"), unix.EACCES)
		p.exceptions.SetReadable("a")
		require.NoError(t, p.write(p.newBatch()))
		require.Contains(t, p.exceptions.Unread(), "a")
	})
}

// The clock was set back by less than the tree had been quiet, and a batch came before the kernel
// told of that, or where it tells nobody. No reading lay before an earlier one: a stamp was given
// that a directory had shown in the seconds before, and who had listed it then was complete with it.
func TestABatchAfterTheClockWasSetBack(t *testing.T) {
	for name, publish := range map[string]func(p *post) error{
		"events": func(p *post) error {
			p.hear(&notify.DirEvents{Path: "a", Dirty: true})
			return p.publishEvents(p.ctx)
		},
		"findings": func(p *post) error { return p.publishFindings(p.ctx, []audit.Finding{{Path: "a"}}) },
	} {
		manned(t, []string{"a/"}, func(t *testing.T, p *post) {
			require.NoError(t, p.publishEvents(p.ctx))
			p.sleep(time.Minute)
			shown := p.now()
			p.later -= 4 * time.Second
			require.NoError(t, publish(p))
			require.False(t, p.shows("a").Before(shown), name)
			require.False(t, p.audits.running, "that is no loss")
		})
	}
}
