package publish

import (
	"path"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/notify"
	"tidemark/pkg/mtree/watch/internal/stamprule"
)

// On xfs, two files of equal size and mtime were exchanged. That moves no ctime there, so the
// listing was the same as before, but for the directory's stamp: the state was "watched", the
// stamps were equal, and the copy had the bytes of each under the name of the other for good.
func TestARenameThatMovesNoCTime(t *testing.T) {
	for _, c := range []struct {
		name    string
		a, b    string        // which are exchanged
		later   time.Duration // it is looked at
		unheard bool          // the events were not those of a rename
		refused error
		moved   []string // of which the ctime is moved
	}{
		{"files", "d/f", "d/g", time.Minute, false, nil, []string{"d/f", "d/g"}},
		{"files of two directories", "d/f", "e/f", time.Minute, false, nil, []string{"d/f", "e/f"}},
		{"a file and a symlink", "d/f", "d/l", time.Minute, false, nil, []string{"d/l"}},
		{"directories", "d/s", "d/t", time.Minute, false, nil, nil},
		{"young files", "d/f", "d/g", maxRenameLag - time.Second, false, nil, nil},
		{"other events", "d/f", "d/g", time.Minute, true, nil, nil},
		{"it is refused", "d/f", "d/g", time.Minute, false, unix.EPERM, []string{"d/g"}},
		{"it is gone", "d/f", "d/g", time.Minute, false, unix.ENOENT, []string{"d/g"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newGround(t, "d/f", "d/g", "d/s/", "d/t/", "e/f")
			g.Machine.XFS = true
			require.NoError(t, g.Shell.Symlink("f", "/tree/d/l"))
			g.settle()
			before := map[string]time.Time{c.a: g.ctime(c.b), c.b: g.ctime(c.a)}
			require.NoError(t, g.Shell.Rename("/tree/"+c.a, "/tree/"+c.b, unix.RENAME_EXCHANGE))
			require.Equal(t, before[c.a], g.ctime(c.a), "xfs leaves it")
			clock := stamprule.NewClock(func() mtree.Stamp { return machine.Now().Add(c.later) })
			g.Clock = &clock
			if c.refused != nil {
				g.Refuse("utimes f", c.refused, 1)
			}
			g.publish(func(b *Batch) {
				for at := range before {
					events(b, notify.DirEvents{Path: path.Dir(at), Entries: []notify.Entry{{Name: path.Base(at), Renamed: !c.unheard}}})
				}
			})
			var moved []string
			for _, at := range []string{c.a, c.b} {
				if g.ctime(at).After(before[at]) {
					moved = append(moved, at)
				}
			}
			require.Equal(t, c.moved, moved)
		})
	}
}

// ctime is that of a path.
func (g *ground) ctime(at string) time.Time {
	_, ctime, err := g.Shell.Times("/tree/" + at)
	require.NoError(g.t, err)
	return ctime
}
