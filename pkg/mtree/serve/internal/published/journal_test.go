package published

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/journal"
	"tidemark/pkg/mtree/internal/lister"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/wire"
)

// A reading that is overtaken looks again at the names that were written down since the stamp that
// it began with. Where none of the lines begins early enough, nobody knows which; where the last one
// ends before that stamp, the next one is still to come.
func TestNamesThatNobodyWroteDown(t *testing.T) {
	simulated(t, 0, func(t *testing.T, w *world) {
		w.fill("d/", "e/", "f/")
		floor := machine.Now()
		at := func(second int) mtree.Stamp { return floor.Add(time.Duration(second) * time.Second) }
		w.says(source(), state.Status{State: wire.Watched})
		w.keep(func(m *state.Marker) {
			var j journal.Writer
			require.NoError(t, j.Begin(m, journal.Tree{ID: source().ID, Epoch: source().Epoch}))
			require.NoError(t, j.Write(floor, []journal.Line{
				{Path: "d", Known: true, From: at(1), To: at(2), Names: []string{"x"}},
				{Path: "e", Known: true, From: at(1), To: at(2), Unknown: true},
			}))
			require.NoError(t, j.Write(at(3), []journal.Line{{Path: "d", Known: true, From: at(3), To: at(4), Names: []string{"y"}}}))
		})
		tree := w.open(Config{})
		changed := tree.Lister(tree.Now()).Changed
		for _, c := range []struct {
			path  string
			stamp mtree.Stamp
			names []string
			err   error
		}{
			{path: "d", stamp: at(1), names: []string{"x", "y"}},
			{path: "d", stamp: at(2), names: []string{"x", "y"}},
			{path: "d", stamp: at(3), names: []string{"y"}},
			{path: "d", stamp: at(0), err: journal.ErrUnproved},
			{path: "d", stamp: at(2).Add(1), err: journal.ErrUnproved},
			{path: "d", stamp: at(5), err: lister.ErrEarly},
			{path: "f", stamp: at(1), err: lister.ErrEarly},
			{path: "e", stamp: at(1), err: journal.ErrUnproved},
		} {
			names, err := changed(c.path, c.stamp)
			require.ErrorIs(t, err, c.err, c)
			require.Equal(t, c.names, names, c)
		}
	})
}
