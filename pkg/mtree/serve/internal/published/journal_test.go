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

// The journal counts while a live program keeps the tree that it is of. Of any other tree or time it
// told a reader that nothing had changed.
func TestTheJournalOfATreeThatIsKept(t *testing.T) {
	simulated(t, 0, func(t *testing.T, w *world) {
		w.says(source(), state.Status{State: wire.Watched})
		w.keep(func(m *state.Marker) {
			var j journal.Writer
			require.NoError(t, j.Begin(m, journal.Tree{ID: source().ID, Epoch: source().Epoch}))
			require.NoError(t, j.Write(machine.Now(), nil))
		})
		tree := w.open(Config{})
		for name, c := range map[string]struct {
			change func(s *Snapshot)
			counts bool
		}{
			"watched":           {func(*Snapshot) {}, true},
			"auditing":          {func(s *Snapshot) { s.State = wire.Auditing }, true},
			"a copy":            {func(s *Snapshot) { s.State = wire.Mirrored }, true},
			"nobody keeps it":   {func(s *Snapshot) { s.State = wire.Audited }, false},
			"it is degraded":    {func(s *Snapshot) { s.State = wire.Degraded }, false},
			"it has no id":      {func(s *Snapshot) { s.Tree.ID = "" }, false},
			"it was replaced":   {func(s *Snapshot) { s.Replaced = true }, false},
			"nobody knows more": {func(s *Snapshot) { s.Unread = true }, false},
		} {
			s := *tree.Now()
			c.change(&s)
			_, err := tree.Journal(&s)
			if c.counts {
				require.NoError(t, err, name)
				continue
			}
			require.ErrorIs(t, err, journal.ErrUnproved, name)
			require.ErrorContains(t, err, "nobody keeps the stamps", name)
		}
	})
}

// A directory that is hidden, excluded by serve or by the mirror, or that no listing can name, is not
// told when it changes.
func TestWhichDirectoriesMayBeTold(t *testing.T) {
	simulated(t, 0, func(t *testing.T, w *world) {
		w.fill("d/")
		copied := replica()
		copied.Filters = []string{"- /filtered"}
		w.says(copied, state.Status{State: wire.Mirrored})
		tree := w.open(Config{Exclude: excluding(t, "excluded"), Hidden: true})
		for path, told := range map[string]bool{
			"": true, "d": true, "d/.dot": true, "excluded": false, "excluded/d": false, "filtered": false, "filtered/d": false,
			".tidemark": false, "d//e": false,
		} {
			require.Equal(t, told, tree.TellsDir(path), path)
		}
	})
}
