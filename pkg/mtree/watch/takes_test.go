package watch

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/notify"
	"tidemark/pkg/mtree/watch/internal/audit"
	"tidemark/pkg/mtree/watch/internal/ownwrites"
	"tidemark/pkg/mtree/watch/internal/publish"
)

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
			p.auditForCookies()
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

// What began to be heard since the last Take that drained the queue arrives once more, if that Take
// tells of a move to where nothing was heard, or may have lost that.
func TestWhatArrivesAgain(t *testing.T) {
	for _, c := range []struct {
		events  notify.Events
		arrives bool
		stays   bool
	}{
		{notify.Events{Drained: true}, false, false}, {notify.Events{Drained: true, Strayed: true}, true, false},
		{notify.Events{Drained: true, Lost: "overflow"}, true, false}, {notify.Events{Lost: "overflow"}, false, true},
	} {
		manned(t, nil, func(t *testing.T, p *post) {
			p.fresh = []string{"a"}
			b := p.newBatch()
			p.arriveAgain(&c.events, b)
			require.Equal(t, []bool{c.arrives, c.stays}, []bool{b.Size == 1, len(p.fresh) == 1}, c)
		})
	}
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
