package pass

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/mirror/internal/work"
)

// Each directory ends once, after all that is in it and below: complete, or not; and what
// became of it is seen above.
func TestWhatADirectoryMeansForTheOneAbove(t *testing.T) {
	listed := mtree.Unix(1000, 0)
	for name, c := range map[string]struct {
		set                      func(n *node)
		other                    bool // another server
		up                       func(up *node)
		held                     string
		ready                    bool // n is
		blocked, changed, failed bool // the one above
	}{
		"complete":                      {set: func(*node) {}, ready: true},
		"changed":                       {set: func(n *node) { n.changed = true }, ready: true, changed: true},
		"the one above changed":         {set: func(*node) {}, up: func(up *node) { up.changed = true }, ready: true, changed: true},
		"incomplete":                    {set: func(n *node) { n.blocked = true }, blocked: true},
		"not visited":                   {set: func(n *node) { n.visited = false }, blocked: true},
		"something failed":              {set: func(n *node) { n.blocked, n.failed = true, true }, blocked: true, failed: true},
		"something failed above":        {set: func(*node) {}, up: func(up *node) { up.failed = true }, ready: true, failed: true},
		"complete, of the past":         {set: func(n *node) { n.failed = true }, ready: true, failed: true},
		"another stamp":                 {set: func(n *node) { n.Record.Stamp = later }, ready: true, blocked: true},
		"another stamp, another server": {set: func(n *node) { n.Record.Stamp = later }, other: true, ready: true},
		"incomplete, another server":    {set: func(n *node) { n.blocked = true }, other: true, blocked: true},
		"denied":                        {set: func(n *node) { n.visited, n.unreadable = false, true }},
		"denied, held in it":            {set: func(n *node) { n.visited, n.unreadable = false, true }, held: "a/b/old", blocked: true},
		"denied, held itself":           {set: func(n *node) { n.visited, n.unreadable = false, true }, held: "a/b", blocked: true},
		"denied, held beside it":        {set: func(n *node) { n.visited, n.unreadable = false, true }, held: "a/bc"},
		"complete, no longer held":      {set: func(*node) {}, held: "a/b/old", ready: true},
	} {
		t.Run(name, func(t *testing.T) {
			var r rig
			r.options.Memory = &Memory{}
			p := &pass{env: r.envOf(c.other), options: &r.options}
			if c.held != "" {
				p.guard.was.Entries = []replica.Deletion{{Path: c.held, Entries: 1}}
			}
			up := &node{visited: true, open: 2}
			up.Path = "a"
			if c.up != nil {
				c.up(up)
			}
			n := &node{parent: up, visited: true, open: 2}
			n.Path, n.Listed, n.Record.Stamp = "a/b", listed, listed
			c.set(n)
			p.done(n)
			require.Empty(t, append(p.ready, p.incomplete...), "something else is open")
			require.Equal(t, 2, up.open)
			p.done(n)
			require.Equal(t, 1, up.open)
			require.Equal(t, c.ready, len(p.ready) == 1)
			require.Equal(t, !c.ready, len(p.incomplete) == 1)
			require.Equal(t, !c.ready, n.blocked)
			require.Equal(t, []bool{c.blocked, c.changed, c.failed}, []bool{up.blocked, up.changed, up.failed})
			p.done(up)
			require.Equal(t, 2, len(p.ready)+len(p.incomplete))
			require.Equal(t, c.blocked, up.blocked)
		})
	}
}

// envOf is that of a source without anything.
func (r *rig) envOf(other bool) *work.Env {
	r.env.Root = &source.Root{OtherServer: other}
	return &r.env
}

// What a failure means: its directory stays incomplete; if the source is not known there,
// nothing above is deleted. It is counted, logged and returned, the first ten of them.
func TestWhatAFailureMeans(t *testing.T) {
	for name, c := range map[string]struct {
		err     error
		failed  bool
		counted bool
		code    exit.Code
		noRoom  bool
		remedy  string
	}{
		"of the source":               {err: errAway, failed: true, counted: true, code: exit.Failed},
		"of a source on this machine": {err: unix.EACCES, failed: true, counted: true, code: exit.Failed},
		"of this disk":                {err: replica.Local(unix.EIO), counted: true, code: exit.Local},
		"of a disk for reading":       {err: replica.Local(unix.EROFS), counted: true, code: exit.Local, remedy: "mount it for writing"},
		"of a full disk":              {err: replica.Local(unix.ENOSPC), counted: true, code: exit.Local, noRoom: true, remedy: replica.MakeRoom},
		"the pass is stopped":         {err: fmt.Errorf("x: %w", context.Canceled), failed: true},
	} {
		simulate(t, name, "a/f", func(t *testing.T, r *rig) {
			p := r.begun("a")
			n := p.ready[0]
			p.fail(n, "a/f", c.err)
			require.True(t, n.blocked && n.uncompared)
			require.Equal(t, c.failed, n.failed)
			require.Equal(t, c.counted, p.result.Failed == 1 && r.options.Counters.Failed.Load() == 1)
			require.Equal(t, c.counted, strings.Contains(r.log.String(), "level=WARN msg=failed"))
			require.Equal(t, c.noRoom, p.result.NoRoom != nil)
			if !c.counted {
				require.Empty(t, p.result.Errs)
				return
			}
			require.ErrorIs(t, p.result.Errs[0], c.err)
			require.ErrorContains(t, p.result.Errs[0], `"a/f": `)
			require.Equal(t, c.code, exit.Of(p.result.Errs[0]))
			var with *exit.Error
			require.ErrorAs(t, p.result.Errs[0], &with)
			require.Contains(t, with.Remedy, c.remedy)
			require.Equal(t, c.remedy == "", with.Remedy == "")

			p.fail(n, "a/g", replica.Local(unix.EIO))
			require.Equal(t, c.failed, n.failed, "it is not forgotten")
			for range 12 {
				p.fail(n, "a/h", errAway)
			}
			require.Equal(t, int64(14), p.result.Failed)
			require.Len(t, p.result.Errs, 10)
			require.True(t, n.failed)
		})
	}
}

// On a full disk the first file is a warning, and the others are not.
func TestAFullDiskIsToldOnce(t *testing.T) {
	simulate(t, "", "a/f", func(t *testing.T, r *rig) {
		p := r.begun("a")
		first := replica.Local(fmt.Errorf("first: %w", unix.ENOSPC))
		p.fail(p.ready[0], "a/f", first)
		p.fail(p.ready[0], "a/g", errNoRoom)
		require.Equal(t, 1, strings.Count(r.log.String(), "msg=failed"))
		require.ErrorIs(t, p.result.NoRoom, first)
		require.True(t, p.result.tried)

		p = r.begun("a")
		p.fail(p.ready[0], "a/f", errNoRoom)
		require.False(t, p.result.tried, "it was only remembered")
		p.fail(p.ready[0], "a/g", first)
		require.True(t, p.result.tried)
		p.fail(p.ready[0], "a/h", errNoRoom)
		require.True(t, p.result.tried)
		require.ErrorIs(t, p.result.NoRoom, errNoRoom)
	})
}

// A failure of this disk does not stop deletions above it.
func TestDeletionsGoOnIfThisDiskFails(t *testing.T) {
	for _, local := range []bool{true, false} {
		simulate(t, fmt.Sprint(local), "old a/f", func(t *testing.T, r *rig) {
			r.remove("old")
			r.write("a/g")
			if local {
				r.Refuse("write a", unix.EIO, 1)
			} else {
				r.lose(errAway, "fetch /a/g")
			}
			p := r.pass()
			require.Equal(t, int64(1), p.Failed)
			require.Equal(t, local, p.Deleted == 1)
		})
	}
}

// The first error that ends a pass is its error.
func TestTheFirstErrorEndsAPass(t *testing.T) {
	var p pass
	first := errors.New("first")
	p.halt(first)
	p.halt(errors.New("second"))
	require.Equal(t, first, p.halted)
}

// What the source may not read was named once: `mirror --status` said "incomplete: 1" after the
// pass that looked last, and after the next change nothing of it, though it was missing. It counts
// in `incomplete` no more, since it keeps nothing incomplete, and is named as long as it is so.
func TestWhatTheSourceMayNotRead(t *testing.T) {
	simulate(t, "", "a/f a/no/x a/was/x b/f", func(t *testing.T, r *rig) {
		named := func(p *Result, want replica.Uncopied, dirs int) {
			t.Helper()
			require.True(t, p.Complete, r.log.String())
			require.Zero(t, p.Incomplete)
			require.Zero(t, r.replica.Counters().Incomplete)
			require.Equal(t, want, r.replica.Uncopied())
			require.Equal(t, dirs, r.replica.Status().Unread)
		}
		r.write("a/new/x a/secret")
		r.Tree.Deny("a/new")
		r.Tree.Deny("a/was")
		r.Tree.Deny("a/secret")
		r.Tree.Publish()
		named(r.pass(), replica.Uncopied{"a": 3}, 1)
		r.write("b/f")
		named(r.pass(), replica.Uncopied{"a": 3}, 1)
		r.write("a/f")
		named(r.pass(), replica.Uncopied{"a": 3}, 1)
		named(r.full(), replica.Uncopied{"a": 3}, 1)
		r.Tree.Allow("a/was")
		r.Tree.Publish()
		named(r.pass(), replica.Uncopied{"a": 2}, 1)
		r.Tree.Allow("a/new")
		r.Tree.Allow("a/secret")
		r.Tree.Publish()
		named(r.complete(), replica.Uncopied{}, 0)
	})
}
