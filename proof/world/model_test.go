package world

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/internal/proof"
)

// TestModel compares the model with a directory in which nothing but the changes happens.
func TestModel(t *testing.T) {
	proof.Rounds(t, 2, func(t *testing.T, seed uint64) {
		top := t.TempDir()
		w := &World{top: top, src: filepath.Join(top, "tree"), model: newModel(), history: newHistory(), counted: map[string]int{}}
		w.site = site{root: w.src, aside: filepath.Join(top, "aside")}
		require.NoError(t, os.Mkdir(w.src, 0o755))
		require.NoError(t, os.Mkdir(w.site.aside, 0o755))
		require.NoError(t, w.plant())
		for _, s := range Draw(seed, 3) {
			c := changeOf(s.Name)
			if c == nil {
				continue
			}
			s.User = 0
			require.NoError(t, w.change(c, s))
			require.False(t, w.stale, "%s: it failed half way: %s", s, w.log[len(w.log)-1])
			have, err := scan(w.src)
			require.NoError(t, err)
			require.Empty(t, differences(w.model, have, false), s.String())
		}
	})
}

// TestStepsAreLines reads what was written.
func TestStepsAreLines(t *testing.T) {
	for seed := range uint64(5) {
		steps := Draw(seed, 3)
		read, err := ParseAll("# a comment\n\n" + Format(steps))
		require.NoError(t, err)
		require.Equal(t, Format(steps), Format(read))
		require.Equal(t, Format(steps), Format(Draw(seed, 3)), "a seed means one list of steps")
	}
}

// TestLeadsOut is the rule for symlinks that are not copied.
func TestLeadsOut(t *testing.T) {
	for target, out := range map[string]bool{"f": false, "../f": false, "../../f": true, "/etc/passwd": true, "s/../f": true, ".": false, "..": false} {
		require.Equal(t, out, leadsOut("d/l", target), target)
	}
}

// TestPlain keeps the errors apart after which the tree is as it was.
func TestPlain(t *testing.T) {
	require.True(t, plain(&fs.PathError{Op: "open", Err: fs.ErrPermission}))
	require.False(t, plain(errors.New("exit status 1")))
}
