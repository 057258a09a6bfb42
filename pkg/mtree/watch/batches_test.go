package watch

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/notify"
	"tidemark/pkg/mtree/watch/internal/audit"
	"tidemark/pkg/mtree/watch/internal/ownwrites"
	"tidemark/pkg/mtree/watch/internal/publish"
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

// What we wrote is proof after another Take: an empty batch follows for that, if everything is
// heard, the kernel holds nothing, and no audit runs.
func TestAnotherTakeProvesWrites(t *testing.T) {
	for what, prepare := range map[string]func(p *post){
		"more waits":    func(p *post) { p.tower.events = []notify.Events{{}, {}} },
		"an audit runs": func(p *post) { p.audits.running = true },
		"no events":     func(p *post) { p.backend = "none" },
		"lost": func(p *post) {
			p.tower.events = []notify.Events{{Drained: true}, {Drained: true, Lost: "overflow"}}
		},
		"": func(*post) {},
	} {
		manned(t, []string{"a/"}, func(t *testing.T, p *post) {
			d, err := disk.OpenRoot("/tree/a")
			require.NoError(t, err)
			defer d.Close()
			prepare(p)
			put := func() {
				p.ownWrites.Lock()
				p.ownWrites.Put(selfOf(t, d), 7, ownwrites.Unproven, true)
				p.ownWrites.Unlock()
			}
			put()
			require.NoError(t, p.publishEvents(p.ctx))
			require.False(t, p.batch.open, "nothing was written since that Take")
			require.NoError(t, p.publishEvents(p.ctx))
			p.ownWrites.Lock()
			proof := p.ownWrites.ProofOf(selfOf(t, d), 7)
			p.ownWrites.Unlock()
			require.Equal(t, what == "" || what == "lost", proof == ownwrites.Proven, what)
			p.audits.running = what == "lost"
			if what == "lost" {
				p.audit()
			}
		})
	}
	manned(t, []string{"a/"}, func(t *testing.T, p *post) {
		p.sleep(time.Hour)
		require.NoError(t, p.Shell.Chmod("/tree/a", 0o700))
		p.hear(&notify.DirEvents{Path: "a", Dirty: true})
		require.NoError(t, p.publishEvents(p.ctx))
		require.True(t, p.batch.open, "what it wrote waits for a Take")
		require.NoError(t, p.publishEvents(p.ctx))
		require.False(t, p.batch.open)
	})
}

// A loss is made up for by an audit, and what waited for a Take is no proof. Events that are
// known to be drained let cookies that were found wait for their batch only.
func TestTakes(t *testing.T) {
	manned(t, []string{"a/"}, func(t *testing.T, p *post) {
		p.found = []string{"sync-1"}
		p.tower.events = []notify.Events{{}}
		_, err := p.take(p.now())
		require.NoError(t, err)
		require.Empty(t, p.cookies)
		require.False(t, p.audits.running)
		_, err = p.take(p.now())
		require.NoError(t, err)
		require.Equal(t, []string{"sync-1"}, p.cookies)
		p.cookies = nil

		require.NoError(t, p.Shell.Chmod("/tree/a", 0o700))
		d, err := disk.OpenRoot("/tree/a")
		require.NoError(t, err)
		defer d.Close()
		p.ownWrites.Lock()
		p.ownWrites.Put(selfOf(t, d), 7, ownwrites.Unproven, true)
		p.ownWrites.Unlock()
		p.tower.events = []notify.Events{{Drained: true, Lost: "overflow"}}
		_, err = p.take(p.now())
		require.NoError(t, err)
		require.True(t, p.audits.running && p.audits.owed)
		require.False(t, p.ownWrites.Shows(selfOf(t, d)), "no Take tells of a rename before it")
		p.audit()

		p.tower.events = []notify.Events{{RootGone: true, Drained: true}}
		_, err = p.take(p.now())
		require.NoError(t, err, "it is there")
		require.NoError(t, p.Shell.Rename("/tree", "/away", 0))
		_, err = p.take(p.now())
		require.NoError(t, err, "nobody said so")
		require.NoError(t, p.checkMounts(), "nor that")
		p.tower.events = []notify.Events{{RootGone: true, Drained: true}}
		_, err = p.take(p.now())
		require.Error(t, err)
	})
	for _, drained := range []bool{true, false} {
		manned(t, []string{"a/"}, func(t *testing.T, p *post) { // old writes are forgotten once their events were taken
			proof := p.wrote("a", ownwrites.Proven)
			for range 2 {
				p.ownWrites.Lock()
				for i := range uint64(1 << 15) {
					p.ownWrites.Put(disk.Info{Node: disk.Node{Ino: 1_000_000 + i}}, 0, ownwrites.Unproven, false)
				}
				p.ownWrites.Unlock()
				p.sleep(time.Minute)
				p.tower.events = []notify.Events{{Drained: drained}}
				_, err := p.take(p.now())
				require.NoError(t, err)
			}
			require.Equal(t, !drained, proof() == ownwrites.Proven)
		})
	}
}

// The mounts that came are in the tree file once what came with them is published; those at
// excluded paths, too, though nothing comes with them.
func TestMountsAreRecorded(t *testing.T) {
	mannedWith(t, Config{Exclude: []string{"x"}}, []string{"a/", "x/"}, func(t *testing.T, p *post) {
		p.Mounts, p.Mounted = "5 1 8:2 / /tree/a rw - ext4 x rw\n", true
		require.NoError(t, p.publishEvents(p.ctx))
		require.Len(t, p.treeFile().Mounts, 1)
		require.True(t, p.mountsRecorded)
		require.Empty(t, p.mountEvents)
		require.Equal(t, "", p.changes(func() { require.NoError(t, p.publishEvents(p.ctx)) }, "", "a"))
		p.Mounts, p.Mounted = p.Mounts+"6 1 8:2 / /tree/x rw - ext4 x rw\n", true
		require.NoError(t, p.checkMounts())
		require.Empty(t, p.mountEvents)
		require.False(t, p.mountsRecorded)
		p.mountsRecorded = true
		p.Mounted = true
		require.NoError(t, p.checkMounts())
		require.True(t, p.mountsRecorded, "as they were")
	})
}

// A --sync is answered after the batch of its cookie. Where nothing is heard an audit is begun
// for it. Answers are no concern of ours; whatever else comes and goes in .tidemark is.
func TestMarkerNames(t *testing.T) {
	for _, c := range []struct {
		names  []string
		hears  bool
		looked bool // at .tidemark
		audit  bool
		cookie bool
	}{
		{[]string{"sync-1"}, true, false, false, true}, {[]string{"sync-1"}, false, false, true, true},
		{[]string{"sync-2"}, false, false, false, false}, {[]string{"synced-1"}, true, false, false, false},
		{[]string{"tree"}, true, true, false, false}, {[]string{"tree", "synced-1"}, true, true, false, false},
		{[]string{"lock", "sync-1"}, true, true, false, true}, {nil, true, false, false, false},
	} {
		manned(t, nil, func(t *testing.T, p *post) {
			if !c.hears {
				p.backend = "none"
			}
			require.NoError(t, p.Shell.Write(markerPath+"/sync-1", ""))
			require.NoError(t, p.Shell.Remove(markerPath+"/left.0"))
			p.forget()
			require.NoError(t, p.handleMarker(c.names, p.newBatch()))
			require.Equal(t, c.looked, strings.Contains(p.text.String(), "putting it back"), c)
			require.Equal(t, c.audit, p.audits.running, c)
			require.Equal(t, c.cookie, len(p.cookies) == 1, c)
			p.audit()
		})
	}
	manned(t, nil, func(t *testing.T, p *post) {
		var b publish.Batch
		b.AddEntry("", mtree.MarkerName)
		require.NoError(t, p.Shell.Remove(markerPath))
		require.NoError(t, p.handleMarker(nil, &b))
		require.Contains(t, p.text.String(), "putting it back")
		require.NoError(t, p.Shell.Remove(markerPath))
		p.Refuse("mkdir .tidemark", unix.EIO, -1)
		require.ErrorIs(t, p.handleMarker(nil, &b), unix.EIO)
	})
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
}

// A clock that was set back is not waited for: an audit sets the floor.
func TestClockThatIsNotWaitedFor(t *testing.T) {
	manned(t, nil, func(t *testing.T, p *post) {
		p.floor = p.now().Add(time.Second)
		require.Equal(t, time.Second, waits(func() { require.NoError(t, p.publishEvents(p.ctx)) }))
		p.floor = p.now().Add(time.Second)
		p.later = -time.Hour
		require.Zero(t, waits(func() { require.NoError(t, p.publishEvents(p.ctx)) }))
		p.audit()
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
		p.hear(&notify.DirEvents{Path: "c/d", Self: true})
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
		p.sleep(time.Second)
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

// Writes of ours that are proof are noted for the next start with each batch, and with each
// Take that proved some.
func TestOwnWritesAreNoted(t *testing.T) {
	manned(t, []string{"a/", "b/"}, func(t *testing.T, p *post) {
		p.wrote("a", ownwrites.Proven)
		p.forget()
		require.NoError(t, p.publishFindings(p.ctx, []audit.Finding{{Path: "b", ShowOnly: true}}))
		require.Positive(t, p.Made("write left"))
		p.wrote("a", ownwrites.Proven)
		p.forget()
		require.NoError(t, p.publishEvents(p.ctx))
		require.Positive(t, p.Made("write left"))
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
