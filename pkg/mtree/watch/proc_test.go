package watch

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/internal/sys"
	"tidemark/pkg/mtree/watch/internal/mounts"
	"tidemark/pkg/mtree/wire"
)

// once audits the tree as from cron, a while after the last time.
func (s *start) once() error {
	<-time.After(time.Hour)
	return Once(s.t.Context(), s.options)
}

// shown returns the stamps of some directories.
func (s *start) shown(paths ...string) (all []time.Time) {
	for _, path := range paths {
		mtime, _, err := s.Shell.Times("/tree/" + path)
		require.NoError(s.t, err)
		all = append(all, mtime)
	}
	return all
}

// Without /proc, as in a chroot, every start stamped everything anew, the tree was degraded for
// ever ("no longer there"), and --once ended with 1.
func TestWithoutProc(t *testing.T) {
	starts(t, true, func(t *testing.T, s *start) {
		s.NoProc = true
		was := s.shown("", "a", "a/b", "x")
		for range 2 {
			require.NoError(t, s.once(), s.text.String())
			require.Equal(t, was, s.shown("", "a", "a/b", "x"))
			st, err := s.marker().ReadStatus()
			require.NoError(t, err)
			require.Equal(t, wire.Audited, st.State)
			require.Empty(t, st.Error)
		}
		require.NoError(t, s.Shell.Write("/tree/a/b/f", "new"))
		require.NoError(t, s.once())
		is := s.shown("", "a", "a/b", "x")
		require.NotContains(t, was, is[0])
		require.Equal(t, is[0], is[1])
		require.Equal(t, is[0], is[2])
		require.Equal(t, was[3], is[3])
		s.options.Backend = "auto"
		w, err := open(s.options, "auto")
		require.NoError(t, err)
		require.Equal(t, "none", w.backend)
		require.Contains(t, s.text.String(), sys.ErrNoProc.Error())
		require.NoError(t, w.close())
		_, err = open(s.options, "inotify")
		require.ErrorIs(t, err, sys.ErrNoProc)
		require.Equal(t, exit.Local, exit.Of(err))
	})
}

// Without /proc it is not known which mounts came or went. While an audit sees one, the tree is
// degraded, and the error says what helps. After it has gone, everything is stamped: readers know
// what was mounted. The next start does so if the last one saw one, with and without /proc.
func TestMountsWithoutProc(t *testing.T) {
	for _, again := range []bool{false, true} {
		starts(t, true, func(t *testing.T, s *start) {
			s.NoProc = true
			s.Mount("b")
			for range 2 {
				err := s.once()
				require.ErrorContains(t, err, sys.ErrNoProc.Error())
				require.Equal(t, exit.Failed, exit.Of(err))
				st, err := s.marker().ReadStatus()
				require.NoError(t, err)
				require.Equal(t, wire.Degraded, st.State)
			}
			was := s.shown("", "a", "x")
			s.Show, s.NoProc = nil, !again
			require.NoError(t, s.once())
			for i, is := range s.shown("", "a", "x") {
				require.NotEqual(t, was[i], is)
			}
			was = s.shown("", "a", "x")
			require.NoError(t, s.once())
			require.Equal(t, was, s.shown("", "a", "x"))
		})
	}
}

// The same while watch runs.
func TestMountsComeAndGoUnheard(t *testing.T) {
	manned(t, []string{"a/b/", "x/"}, func(t *testing.T, p *post) {
		require.NoError(t, p.mounts.Close())
		p.mounts, p.unfollowed, p.backend = &mounts.Follower{}, sys.ErrNoProc, "none"
		p.again(func() {})
		require.Equal(t, wire.Audited, p.status(t).State)
		require.Empty(t, p.treeFile().Mounts)
		p.Mount("b")
		p.requestAudit(p.auditScope("asked for"))
		p.lose("a loss", false)
		for p.audits.current.reason == "asked for" {
			p.takeOfAudit()
		}
		require.Equal(t, []state.Mount{{}}, p.treeFile().Mounts, "a kill may come before the next audit is done")
		p.audit()
		for range 2 {
			require.Empty(t, p.changes(func() { p.again(func() {}) }, "", "a", "a/b", "x"))
			require.Equal(t, wire.Degraded, p.status(t).State)
			require.Equal(t, sys.ErrNoProc.Error(), p.status(t).Error)
			require.Equal(t, []state.Mount{{}}, p.treeFile().Mounts)
		}
		p.Show = nil
		require.Equal(t, "a a/b x", p.changes(func() {
			p.requestAudit(p.auditScope("asked for"))
			again := p.auditScope("asked for meanwhile")
			again.raiseAgain = true
			p.requestAudit(again)
			for p.audits.current.reason == "asked for" {
				p.takeOfAudit()
			}
			require.True(t, p.audits.current.raiseAgain, "one audit is both")
			require.Equal(t, wire.Degraded, p.status(t).State, "until everything is stamped")
			require.Equal(t, []state.Mount{{}}, p.treeFile().Mounts)
			p.audit()
		}, "a", "a/b", "x"))
		require.Equal(t, wire.Audited, p.status(t).State)
		require.Empty(t, p.treeFile().Mounts)
		p.sleep(time.Hour)
		require.Empty(t, p.changes(func() { p.again(func() {}) }, "", "a", "a/b", "x"))
	})
}

// What was mounted has gone, and nobody asked for one more audit meanwhile: without a look at that,
// watch ended by a panic.
func TestMountsGoUnheardAndNoAuditWaits(t *testing.T) {
	manned(t, []string{"a/b/", "x/"}, func(t *testing.T, p *post) {
		require.NoError(t, p.mounts.Close())
		p.mounts, p.unfollowed, p.backend = &mounts.Follower{}, sys.ErrNoProc, "none"
		p.Mount("b")
		p.again(func() {})
		require.Equal(t, wire.Degraded, p.status(t).State)
		p.Show = nil
		require.Equal(t, "a a/b x", p.changes(func() { p.again(func() {}) }, "a", "a/b", "x"))
		require.Equal(t, wire.Audited, p.status(t).State)
	})
}
