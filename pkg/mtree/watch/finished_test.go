package watch

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/notify"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/watch/internal/audit"
	"tidemark/pkg/mtree/watch/internal/ownwrites"
	"tidemark/pkg/mtree/wire"
)

// again lets an audit run that somebody asked for, and does something while it runs.
func (p *post) again(during func()) {
	p.t.Helper()
	p.requestAudit(p.auditScope("asked for"))
	during()
	p.audit()
}

// wrote puts a write of ours on a directory into the memory, and returns how far it is proof.
func (p *post) wrote(path string, proof ownwrites.Proof) func() ownwrites.Proof {
	d, err := disk.OpenRoot("/tree/" + path)
	require.NoError(p.t, err)
	info := selfOf(p.t, d)
	require.NoError(p.t, d.Close())
	p.ownWrites.Lock()
	defer p.ownWrites.Unlock()
	p.ownWrites.Put(info, 7, proof, false)
	return func() ownwrites.Proof {
		p.ownWrites.Lock()
		defer p.ownWrites.Unlock()
		return p.ownWrites.ProofOf(info, 7)
	}
}

// An audit that read everything moves the checkpoint to its start, and is the last one. What it
// judged is proof, and noted. The events so far are published before the tree counts as
// watched, and the next audit is due after its pause.
func TestAuditThatIsDone(t *testing.T) {
	manned(t, []string{"a/f", "b/", "c/"}, func(t *testing.T, p *post) {
		epoch, audits := p.tree.Epoch, p.Stats.Audits.Load()
		require.Positive(t, epoch, "by the first run")
		p.earlier, p.missedMounts = map[string]bool{"b": true}, []audit.Finding{{Path: "b"}}
		p.tree.Options = "others"
		p.sleep(time.Hour)
		began := p.now()
		proof := p.wrote("c", ownwrites.Judged)
		p.forget()
		require.NoError(t, p.Shell.Write("/tree/a/f", "grown"))
		p.hear(&notify.DirEvents{Path: "a", Entries: []notify.Entry{{Name: "f"}}})
		require.Equal(t, " a b", p.changes(func() { p.again(func() {}) }, "", "a", "b"))
		require.Equal(t, 1, p.tower.taken)
		require.Equal(t, audits+1, p.Stats.Audits.Load())
		require.Equal(t, []int64{4, 1, 5}, []int64{p.Stats.Directories.Load(), p.Stats.Files.Load(), p.Stats.Bytes.Load()})
		require.Equal(t, epoch, p.tree.Epoch)
		require.Equal(t, p.watcher.options(), p.treeFile().Options)
		require.Nil(t, p.earlier)
		require.Nil(t, p.missedMounts)
		require.False(t, p.audits.owed)
		require.Equal(t, "asked for", p.audits.last.reason)
		s := p.status(t)
		require.Equal(t, wire.Watched, s.State)
		require.Equal(t, []string{string(wire.Watched)}, p.told)
		require.Equal(t, began, *s.Audit)
		require.Equal(t, began, *p.audits.swept)
		require.False(t, s.Checkpoint.Before(began.Add(-wire.ClockLag)))
		require.Equal(t, ownwrites.Proven, proof())
		require.Contains(t, p.text.String(), "msg=audited")
		require.NotContains(t, p.text.String(), "msg=armed")
		require.Positive(t, p.Made("write left"))
		require.Equal(t, p.AuditInterval, waits(func() { <-p.audits.timer.C }))
	})
}

// The first audit of a run arms the tree.
func TestFirstAuditArms(t *testing.T) {
	manned(t, nil, func(t *testing.T, p *post) {
		p.logAudit(auditReport{auditRequest: auditRequest{reason: atStart}})
		require.Contains(t, p.text.String(), "msg=armed")
		require.NotContains(t, p.text.String(), "msg=audited")
	})
}

// Without events there is nothing to take, and nobody to be told. What was asked before the
// audit began is answered at its end.
func TestAuditWithoutEvents(t *testing.T) {
	manned(t, nil, func(t *testing.T, p *post) {
		p.backend = "none"
		require.NoError(t, p.Shell.Write(markerPath+"/sync-1", ""))
		require.True(t, p.addCookie("sync-1"))
		p.forget()
		forgot := p.tower.forgot
		p.again(func() {
			require.NoError(t, p.Shell.Write(markerPath+"/sync-2", ""))
			require.True(t, p.addCookie("sync-2"))
		})
		require.Equal(t, []int{0, forgot}, []int{p.tower.taken, p.tower.forgot})
		require.Contains(t, p.Shell.Names(markerPath), "synced-1")
		require.Contains(t, p.Shell.Names(markerPath), "sync-2", "the audit may have passed what it asks for")
		require.Equal(t, wire.Audited, p.status(t).State)
		p.backend = "inotify"
		p.again(func() {})
		require.Equal(t, []int{1, forgot + 1}, []int{p.tower.taken, p.tower.forgot})
	})
}

// Our own writes are forgotten in time: where nothing is heard, audits see to that.
func TestOwnWritesAgeByAudits(t *testing.T) {
	for _, hears := range []bool{true, false} {
		manned(t, []string{"a/"}, func(t *testing.T, p *post) {
			if !hears {
				p.backend = "none"
			}
			proof := p.wrote("a", ownwrites.Proven)
			for range 2 {
				p.ownWrites.Lock()
				for i := range uint64(1 << 15) {
					p.ownWrites.Put(disk.Info{Node: disk.Node{Ino: 1_000_000 + i}}, 0, ownwrites.Unproven, false)
				}
				p.ownWrites.Unlock()
				p.sleep(time.Minute)
				p.recordAudit(auditReport{auditRequest: auditRequest{start: p.now()}})
			}
			require.Equal(t, hears, proof() == ownwrites.Proven)
		})
	}
}

// An audit that is broken off when watch ends is no error, and no audit. One that could not read
// the root is an error, and one whose root was moved.
func TestAuditThatFailed(t *testing.T) {
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	failed := auditReport{Report: audit.Report{Err: unix.EIO}}
	for _, c := range []struct {
		what    string
		ended   bool
		report  auditReport
		prepare func(p *post)
		text    string // of the error
		counted int64
	}{
		{"broken off", true, failed, nil, "", 0},
		{"done when watch ends", true, auditReport{}, nil, "", 1},
		{"done", false, auditReport{}, nil, "", 1},
		{"the root cannot be read", false, failed, nil, "reading the tree", 0},
		{"the root was moved", false, auditReport{}, func(p *post) { require.NoError(t, p.Shell.Rename("/tree", "/away", 0)) }, "moved, deleted or unmounted", 0},
		{"the marker cannot be made", false, auditReport{}, func(p *post) {
			require.NoError(t, p.Shell.Remove(markerPath))
			p.Refuse("mkdir .tidemark", unix.EIO, -1)
		}, "input/output error", 0},
		{"the root cannot be looked at", false, auditReport{}, func(p *post) {
			p.hear(&notify.DirEvents{Dirty: true})
			p.Fail = func(call string) error {
				if call == "statx tree" && p.tower.taken > 0 {
					return unix.EIO
				}
				return nil
			}
		}, "input/output error", 1},
	} {
		manned(t, nil, func(t *testing.T, p *post) {
			ctx, audits := p.ctx, p.Stats.Audits.Load()
			if c.ended {
				ctx = canceled
			}
			if c.prepare != nil {
				c.prepare(p)
			}
			err := p.finishAudit(ctx, c.report)
			p.Fail = nil
			require.Equal(t, c.counted, p.Stats.Audits.Load()-audits, c.what)
			if c.text == "" {
				require.NoError(t, err, c.what)
				return
			}
			require.ErrorContains(t, err, c.text, c.what)
			require.Equal(t, exit.Local, exit.Of(err), c.what)
		})
	}
}

// What was lost while an audit ran is made up for by another one, and the first proves nothing.
// What somebody asked for meanwhile follows it, once.
func TestAuditAfterAnAudit(t *testing.T) {
	for _, loss := range []bool{true, false} {
		manned(t, []string{"a/"}, func(t *testing.T, p *post) {
			was, audits := *p.status(t).Audit, p.Stats.Audits.Load()
			p.sleep(time.Hour)
			proof := p.wrote("a", ownwrites.Judged)
			p.requestAudit(p.auditScope("asked for"))
			if loss {
				p.lose("lost", false)
			} else {
				p.requestAudit(p.auditScope("asked for, too"))
			}
			require.Equal(t, loss, p.status(t).State == wire.Auditing)
			for running := true; running; running = p.Stats.Audits.Load() == audits {
				select {
				case findings := <-p.audits.findings:
					require.NoError(t, p.publishFindings(p.ctx, findings))
				case r := <-p.audits.reports:
					require.NoError(t, p.finishAudit(p.ctx, r))
				}
			}
			require.True(t, p.audits.running)
			require.Nil(t, p.audits.next)
			require.Equal(t, loss, p.audits.current.loss)
			require.Equal(t, loss, p.audits.owed)
			require.Equal(t, loss, p.status(t).State == wire.Auditing)
			require.Equal(t, loss, *p.status(t).Audit == was, "it proves nothing")
			require.Equal(t, !loss, proof() == ownwrites.Proven)
			p.audit()
			require.Equal(t, audits+2, p.Stats.Audits.Load())
			require.Equal(t, wire.Watched, p.status(t).State)
			require.Equal(t, !loss, proof() == ownwrites.Proven, "the other one has not judged it")
		})
	}
}

// A loss that shows when the events of an audit's time are taken leads to another audit before
// the tree counts as watched.
func TestLossAtTheEndOfAnAudit(t *testing.T) {
	manned(t, nil, func(t *testing.T, p *post) {
		forgot, audits := p.tower.forgot, p.Stats.Audits.Load()
		p.tower.events = []notify.Events{{Lost: "overflow", Drained: true}}
		p.forget()
		p.again(func() {})
		require.Equal(t, forgot+1, p.tower.forgot)
		require.Equal(t, audits+2, p.Stats.Audits.Load())
		require.Equal(t, string(wire.Auditing), p.told[0])
		require.Equal(t, string(wire.Watched), p.told[len(p.told)-1])
	})
}

// What cannot be read is told before the checkpoint moves on without it, also if another
// directory is in its place that cannot be read either.
func TestUnreadIsToldBeforeTheCheckpoint(t *testing.T) {
	manned(t, []string{"a/d/"}, func(t *testing.T, p *post) {
		p.health.CannotRead("a/d", 1, unix.EACCES)
		p.saveExceptions()
		p.Refuse("open d", unix.EACCES, -1)
		p.again(func() {})
		require.Equal(t, p.inode("a/d"), exceptionsIn(t, p).Unread["a/d"].Inode)
	})
}

func exceptionsIn(t *testing.T, p *post) *state.Exceptions {
	have, err := p.marker.ReadExceptions()
	require.NoError(t, err)
	return have
}

// An audit that had to leave something out without a name moves neither the checkpoint nor the
// bound of the next one, and what it judged is no proof. One that could not write the tree file
// proves nothing either.
func TestAuditThatIsIncomplete(t *testing.T) {
	manned(t, []string{"a/"}, func(t *testing.T, p *post) {
		before := p.status(t)
		swept := *p.audits.swept
		p.sleep(time.Hour)
		proof := p.wrote("a", ownwrites.Judged)
		p.tree.Options = "others"
		p.again(func() { p.health.Overflow(unix.EACCES) })
		s := p.status(t)
		require.Equal(t, wire.Degraded, s.State)
		require.Equal(t, *before.Audit, *s.Audit)
		require.Equal(t, *before.Checkpoint, *s.Checkpoint)
		require.Equal(t, swept, *p.audits.swept)
		require.Equal(t, ownwrites.Unproven, proof())
		require.Equal(t, "others", p.treeFile().Options)
	})
	manned(t, []string{"a/"}, func(t *testing.T, p *post) {
		before := p.status(t)
		p.sleep(time.Hour)
		p.tree.Epoch++
		p.Refuse("rename tree", unix.EIO, -1)
		p.again(func() {})
		s := p.status(t)
		require.Equal(t, wire.Degraded, s.State)
		require.Equal(t, *before.Audit, *s.Audit)
		require.Equal(t, *before.Checkpoint, *s.Checkpoint)
	})
}

// The tree file has the borders that an audit found, and no others, and the mounts if all that
// came with them is published. New borders are looked at each second.
func TestWhatAnAuditRecords(t *testing.T) {
	manned(t, []string{"a/b/"}, func(t *testing.T, p *post) {
		due := func() bool {
			p.sleep(2 * time.Second)
			select {
			case <-p.borders.Due():
				return true
			default:
				return false
			}
		}
		p.again(func() {})
		require.False(t, due())
		p.live("a")
		p.again(func() {})
		require.Equal(t, []string{"a"}, p.treeFile().Borders)
		require.True(t, due())
		p.borders.Add("a/b")
		p.tree.Borders = append(p.tree.Borders, "of an earlier run")
		p.recordAudit(auditReport{})
		require.Equal(t, []string{"a", "a/b"}, p.treeFile().Borders)
		require.True(t, due())
	})
	manned(t, []string{"a/"}, func(t *testing.T, p *post) {
		p.sleep(time.Hour)
		proof := p.wrote("a", ownwrites.Judged)
		p.forget()
		p.recordAudit(auditReport{auditRequest: auditRequest{start: p.now()}})
		require.Equal(t, p.now().Add(-wire.ClockLag), *p.watcher.status.Checkpoint)
		require.Equal(t, ownwrites.Proven, proof())
		require.Positive(t, p.Made("write left"), "the next start knows it")
	})
	manned(t, []string{"a/b/"}, func(t *testing.T, p *post) {
		p.Mounts, p.Mounted = "5 1 8:2 / /tree/a rw - ext4 x rw\n", true
		require.NoError(t, p.checkMounts())
		require.NotEmpty(t, p.mountEvents)
		p.recordAudit(auditReport{})
		require.Empty(t, p.treeFile().Mounts)
		p.mountEvents = nil
		p.recordAudit(auditReport{})
		require.Len(t, p.treeFile().Mounts, 1)
	})
}

// After an orderly stop the stamps are on disk: of the root's file system, and of each that is mounted
// in the tree and belongs to it. If one of them cannot be flushed, the stop is none. What is a file
// has no stamps, what is gone was flushed, and what cannot be read is stamped when it can.
func TestStopFlushesWhatIsMounted(t *testing.T) {
	lines := ""
	for i, path := range []string{"a", "a/b", "c", "f", "gone"} {
		lines += fmt.Sprintf("%d 1 8:%d / /tree/%s rw - ext4 x rw\n", 5+i, 2+i, path)
	}
	for _, c := range []struct {
		what    string
		stays   bool // without --cross-mounts
		prepare func(p *post)
		flushed string
		clean   bool
	}{
		{"all", false, func(*post) {}, "tree a b", true},
		{"other file systems stay out", true, func(*post) {}, "tree", true},
		{"the root's is not flushed", false, func(p *post) { p.Refuse("syncfs tree", unix.EIO, -1) }, "tree a b", false},
		{"one is not flushed", false, func(p *post) { p.Refuse("syncfs a", unix.EIO, -1) }, "tree a b", false},
		{"one cannot be opened", false, func(p *post) { p.Refuse("open b", unix.EIO, -1) }, "tree a", false},
		{"one cannot be read", false, func(p *post) {
			p.health.CannotRead("a/b", p.inode("a/b"), os.ErrPermission)
			p.Refuse("open b", unix.EACCES, -1)
		}, "tree a", true},
		{"one is below what cannot be read", false, func(p *post) {
			p.health.CannotRead("a", p.inode("a"), os.ErrPermission)
			p.Refuse("open b", unix.EACCES, -1)
		}, "tree", true},
	} {
		mannedWith(t, Config{CrossMounts: !c.stays, Exclude: []string{"c"}}, []string{"a/b/", "c/", "f"}, func(t *testing.T, p *post) {
			p.Mounts, p.Mounted = lines, true
			require.NoError(t, p.publishMounts(p.ctx))
			c.prepare(p)
			p.forget()
			require.NoError(t, p.finish(p.ctx), c.what)
			var flushed []string // or tried
			for _, call := range p.Calls {
				if name, ok := strings.CutPrefix(call, "syncfs "); ok {
					flushed = append(flushed, name)
				}
			}
			require.Equal(t, c.flushed, strings.Join(flushed, " "), c.what)
			require.Equal(t, c.clean, p.status(t).Clean, c.what)
		})
	}
}
