package audit

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/internal/glob"
	"tidemark/pkg/mtree/internal/sys"
)

// One audit in place of two looks for what either of them would have found. It is slow only
// if nobody waits for either.
func TestJoin(t *testing.T) {
	for _, a := range []bool{false, true} {
		for _, b := range []bool{false, true} {
			require.Equal(t, a || b, Scope{All: a}.Join(Scope{All: b}).All)
			require.Equal(t, a || b, Scope{First: a}.Join(Scope{First: b}).First)
			require.Equal(t, a && b, Scope{Slow: a}.Join(Scope{Slow: b}).Slow)
		}
	}
	for _, c := range [][2]int64{{3, 7}, {7, 3}} {
		both := Scope{Since: at(c[0]), Before: at(c[1]), Floor: at(1)}.Join(Scope{Since: at(c[1]), Before: at(c[0]), Floor: at(2)})
		require.Equal(t, Scope{Since: at(3), Before: at(3), Floor: at(2)}, both)
	}
}

// Paths are built of names, from the root down.
func TestPaths(t *testing.T) {
	root := &visit{}
	a := &visit{parent: root, name: "a"}
	b := &visit{parent: a, name: "bcd"}
	c := &visit{parent: b, name: "e"}
	require.Equal(t, []string{"", "a", "a/bcd", "a/bcd/e"}, []string{root.path(), a.path(), b.path(), c.path()})
}

// Where nobody tells when mounts come or go, a tree in which something is mounted is degraded:
// its stamps say nothing of that. What is excluded makes no difference.
func TestMountsThatNobodyFollows(t *testing.T) {
	for _, c := range []struct {
		mounted, exclude string
		followed, sees   bool
	}{{mounted: "b", sees: true}, {mounted: "f", sees: true}, {mounted: "b", exclude: "b"}, {mounted: "b", followed: true}, {mounted: "nothing"}} {
		for _, cross := range []bool{true, false} {
			s := newSurvey(t, "a/b/g", "a/f")
			s.CrossMounts = cross
			if !c.followed {
				s.Unfollowed = sys.ErrNoProc
			}
			if c.exclude != "" {
				var err error
				s.Exclude, err = glob.Excluding([]string{c.exclude})
				require.NoError(t, err)
			}
			s.Mount(c.mounted)
			s.run()
			require.Equal(t, c.sees, s.report.Mounted, c)
			s.Health.EndAudit(0)
			require.Equal(t, c.sees, s.Health.Degraded() == sys.ErrNoProc.Error(), c)
		}
	}
}
