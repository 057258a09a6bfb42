package pass

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/replica"
)

// What completes a directory: its record, if that says something new or was begun, and its
// time. Nothing is written in one that was complete and is unchanged.
func TestWhatAStampWrites(t *testing.T) {
	for name, c := range map[string]struct {
		set          func(n *node)
		touched      bool // its time is another one
		record, time bool // which of them is written
	}{
		"unchanged":                  {},
		"listed later":               {set: func(n *node) { n.Record.Now = n.before.Now.Add(time.Hour) }},
		"listed before":              {set: func(n *node) { n.Record.Now = n.before.Now.Add(-1) }, record: true},
		"files were compared":        {set: func(n *node) { n.proved = true }, record: true},
		"it was begun":               {set: func(n *node) { n.begun = true }, record: true},
		"something in it changed":    {set: func(n *node) { n.changed = true }, record: true},
		"another stamp":              {set: func(n *node) { n.Record.Stamp = later }, record: true, time: true},
		"another directory":          {set: func(n *node) { n.Record.ID = "00000000000000ff" }, record: true, time: true},
		"it had no record":           {set: func(n *node) { n.had = false }, record: true, time: true},
		"somebody gave it a time":    {touched: true, record: true, time: true},
		"a time and a later listing": {touched: true, set: func(n *node) { n.Record.Now = n.before.Now.Add(time.Hour) }, record: true, time: true},
	} {
		simulate(t, name, "a/f", func(t *testing.T, r *rig) {
			p := r.begun("a")
			n := p.ready[0]
			n.Record = n.before
			if c.set != nil {
				c.set(n)
			}
			if c.touched {
				require.NoError(t, r.Shell.Touch("/copy/a", time.Unix(77, 0), false))
			}
			require.NoError(t, p.stamp(n))
			calls := strings.Join(r.Calls, ",")
			require.Equal(t, c.record, strings.Contains(calls, "setxattr a"))
			require.Equal(t, c.time, strings.Contains(calls, "utimes a"))
			record, complete := r.record("a")
			require.True(t, complete)
			require.Equal(t, n.Record.Stamp, record.Stamp)
			if c.record {
				require.Equal(t, n.Record, record)
			}
		})
	}
}

// When a directory was listed whole is remembered where its record does not say so; neither a part,
// nor a directory that was complete already, changes that.
func TestWhatIsRememberedOfAWholeListing(t *testing.T) {
	was := later.Add(-time.Hour)
	for name, c := range map[string]struct {
		set  func(n *node)
		want mtree.Stamp
	}{
		"its record keeps an older time": {set: func(n *node) { n.now = later }, want: later},
		"its record says it":             {set: func(n *node) { n.now, n.Record.Now = later, later }},
		"by a part":                      {set: func(n *node) { n.now, n.part = later, true }, want: was},
		"it was complete already":        {set: func(*node) {}, want: was},
	} {
		simulate(t, name, "a/f", func(t *testing.T, r *rig) {
			p := r.begun("a")
			n := p.ready[0]
			r.env.Wholes.Note("a", was, true)
			c.set(n)
			require.NoError(t, p.stamp(n))
			require.Equal(t, c.want, r.env.Wholes.At("a"))
		})
	}
}

// A directory that was made writable gets its listed mode back, with its stamp; one whose mode
// is not listed keeps its own.
func TestADirectoryGetsItsModeBack(t *testing.T) {
	for name, c := range map[string]struct {
		has   mtree.Attrs
		mode  uint32 // of the copy
		want  uint32
		chmod bool
	}{
		"another mode":  {mtree.HasMode, 0o755, 0o555, true},
		"this mode":     {mtree.HasMode, 0o555, 0o555, false},
		"set-id":        {mtree.HasMode, 0o2555, 0o2555, false},
		"set-id, other": {mtree.HasMode, 0o2755, 0o2555, true},
		"not listed":    {0, 0o700, 0o700, false},
	} {
		simulate(t, name, "a/f", func(t *testing.T, r *rig) {
			require.NoError(t, r.Shell.Chmod("/copy/a", c.mode))
			p := r.begun("a")
			n := p.ready[0]
			n.mode, n.hasMode = 0o555, c.has != 0
			require.NoError(t, p.stamp(n))
			require.Equal(t, c.want, r.mode("a"))
			require.Equal(t, c.chmod, r.Made("chmod a") > 0)
			require.Equal(t, "a/", r.stamped())

			n.mode ^= 0o011
			r.Refuse("chmod a", unix.EIO, 1)
			require.Equal(t, c.has != 0, p.stamp(n) != nil)
		})
	}
}

// mode returns the mode of a directory of the copy.
func (r *rig) mode(path string) uint32 {
	dir, err := r.replica.Dir(path)
	require.NoError(r.t, err)
	defer dir.Close()
	info, err := dir.Self()
	require.NoError(r.t, err)
	return info.Mode
}

// What a pass leaves of a directory that it does not complete: a mark if something in it or
// below changed, with the present time; a mark if its record would say that it is complete;
// none if the record says enough.
func TestWhatIsLeftIncomplete(t *testing.T) {
	for name, c := range map[string]struct {
		set           func(n *node)
		marked, timed bool
		doubts        replica.Doubts
	}{
		"nothing happened":            {set: func(n *node) {}},
		"something changed":           {set: func(n *node) { n.changed = true }, marked: true, timed: true},
		"changed and doubted":         {set: func(n *node) { n.changed, n.Doubts = true, replica.DoubtBelow|replica.DoubtBytes }, marked: true, timed: true, doubts: replica.DoubtBelow | replica.DoubtBytes},
		"it has its stamp already":    {set: func(n *node) { n.Record.Stamp = n.before.Stamp }, marked: true},
		"so, but there was no record": {set: func(n *node) { n.Record.Stamp, n.had = n.before.Stamp, false }},
		"so, but it was not listed":   {set: func(n *node) { n.Record.Stamp, n.visited = n.before.Stamp, false }},
		"doubted, not listed":         {set: func(n *node) { n.Doubts, n.visited = replica.DoubtBelow|replica.DoubtHidden, false }, marked: true, doubts: replica.DoubtBelow | replica.DoubtHidden},
		"doubted and listed":          {set: func(n *node) { n.Doubts = replica.DoubtBelow | replica.DoubtHidden }},
		"doubted, with its stamp":     {set: func(n *node) { n.Doubts, n.Record.Stamp = replica.DoubtBelow|replica.DoubtHidden, n.before.Stamp }, marked: true, doubts: replica.DoubtHidden},
		"bytes, not listed":           {set: func(n *node) { n.Doubts, n.visited = replica.DoubtBytes, false }},
		"changed, not listed":         {set: func(n *node) { n.changed, n.visited, n.Doubts = true, false, replica.DoubtBelow }, marked: true, timed: true, doubts: replica.DoubtBelow},
	} {
		simulate(t, name, "a/f", func(t *testing.T, r *rig) {
			p := r.begun("a")
			n := p.ready[0]
			n.hasMode, n.mode = true, 0o555
			c.set(n)
			p.incomplete = []*node{n}
			<-time.After(time.Hour)
			p.leaveIncomplete(r.ctx)
			require.Equal(t, int64(1), p.result.Incomplete)
			mtime, _, err := r.Shell.Times("/copy/a")
			require.NoError(t, err)
			require.Equal(t, c.timed, mtree.Unix(mtime.Unix(), int64(mtime.Nanosecond())) == p.options.Now())
			require.Equal(t, c.timed, r.mode("a") == 0o555)
			record, _ := r.record("a")
			doubts, begun := replica.DoubtsOf(record)
			require.Equal(t, c.marked, begun)
			require.Equal(t, c.doubts, doubts)
			require.Equal(t, n.before.ID, record.ID)
			require.NotContains(t, r.log.String(), "could not be marked")
		})
	}
}

// A directory that was begun in another stay is known again, if all its files were compared or
// written.
func TestWhatAStayRecovers(t *testing.T) {
	for name, c := range map[string]struct {
		set       func(n *node)
		stopped   bool
		recovered bool
	}{
		"all of it":           {set: func(n *node) {}, recovered: true},
		"not all of it":       {set: func(n *node) { n.uncompared = true }},
		"nor if it changed":   {set: func(n *node) { n.uncompared, n.changed = true, true }},
		"the pass is stopped": {set: func(n *node) {}, stopped: true},
		"nothing was lost":    {set: func(n *node) { n.mayBeLost = false }},
	} {
		simulate(t, name, "a/f", func(t *testing.T, r *rig) {
			require.NoError(t, r.replica.MarkUnfinished("a"))
			r.reboot()
			was, _ := r.record("a")
			require.True(t, r.replica.MayBeLost(was))
			p := r.begun("a")
			n := p.ready[0]
			n.mayBeLost = true
			c.set(n)
			p.incomplete = []*node{n}
			ctx, stop := context.WithCancel(r.ctx)
			if c.stopped {
				stop()
			}
			defer stop()
			p.leaveIncomplete(ctx)
			is, _ := r.record("a")
			require.Equal(t, !c.recovered, r.replica.MayBeLost(is))
			require.Equal(t, !c.recovered, was == is)
		})
	}
}

// reboot opens the copy after another boot.
func (r *rig) reboot() {
	r.replica.Close()
	r.Refuse("proc boot_id", unix.EIO, 100)
	r.open(replica.Options{})
	r.Fail = nil
}

// What cannot be marked is logged, but for a directory that is gone; the next one is marked.
func TestWhatCannotBeMarked(t *testing.T) {
	for call, c := range map[string]struct {
		errno  unix.Errno
		logged bool
	}{
		"open a":     {unix.ENOENT, false},
		"getxattr a": {unix.EIO, true},
		"setxattr a": {unix.EIO, true},
		"statx a":    {unix.EIO, true},
		"utimes a":   {unix.EIO, true},
		"chmod a":    {unix.EIO, true},
	} {
		simulate(t, call, "a/f b/f", func(t *testing.T, r *rig) {
			p := r.begun("a", "b")
			for _, n := range p.ready[:2] {
				n.changed, n.hasMode, n.mode = true, true, 0o555
			}
			p.incomplete = p.ready[:2]
			r.Refuse(call, c.errno, 1)
			p.leaveIncomplete(r.ctx)
			require.Equal(t, c.logged, strings.Contains(r.log.String(), "could not be marked"), r.log.String())
			record, _ := r.record("b")
			require.True(t, record.IsUnfinished())
			require.Equal(t, uint32(0o555), r.mode("b"))
			if call == "setxattr a" {
				require.Equal(t, uint32(0o755), r.mode("a"))
			}
		})
	}
}

// A pass that was stopped marks for a moment; one that was not marks all.
func TestAStoppedPassMarksForAMoment(t *testing.T) {
	for stopped, want := range map[bool]string{true: "a/ b/ c/", false: "a/ b/ c/ d/ e/"} {
		simulate(t, want, "a/f b/f c/f d/f e/f", func(t *testing.T, r *rig) {
			p := r.begun("a", "b", "c", "d", "e")
			ctx, stop := context.WithCancel(r.ctx)
			if stopped {
				stop()
			}
			defer stop()
			p.incomplete = p.ready[:5]
			for _, n := range p.incomplete {
				n.changed = true
			}
			r.Fail = func(call string) error {
				if strings.HasPrefix(call, "utimes ") {
					<-time.After(stopPatience / 2)
				}
				return nil
			}
			p.leaveIncomplete(ctx)
			require.Equal(t, want, r.behind())
		})
	}
}
