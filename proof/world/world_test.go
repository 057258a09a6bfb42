package world

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/proof"
)

// as takes threads of its own: it must not get the main thread, which cannot end.
func init() { runtime.LockOSThread() }

func TestMain(m *testing.M) { os.Exit(proof.Main(m)) }

// TestWorld lets worlds of three programs, a copy and a copy of that go through random
// changes and transitions. PROOF_CASE=FILE replays the steps in a file instead, as a
// failure writes them.
func TestWorld(t *testing.T) {
	if name := proof.Case(); name != "" {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		steps, err := ParseAll(string(text))
		require.NoError(t, err)
		play(t, steps)
		return
	}
	var covered Coverage
	const short = 4 // seeds of short worlds, for CI
	proof.RoundsBeside(t, short, 4, func(t *testing.T, seed uint64) {
		phases := 4
		if seed <= short {
			phases = 1
		}
		steps := Draw(seed, phases)
		found := play(t, steps)
		covered.Add(found)
		if len(found.Found) > 0 && proof.Budget(t) > 0 {
			smallest, times, tries := Shrink(steps, found, proof.Shrinking(t, 4*time.Minute))
			name := filepath.Join(os.TempDir(), fmt.Sprintf("tidemark-world-%d.steps", seed))
			text := fmt.Sprintf("# Seed %d. It failed %d of %d times with these %d steps:\n# %s\n", seed, times, tries, len(smallest), strings.ReplaceAll(strings.Join(found.Found, "\n"), "\n", "\n# "))
			require.NoError(t, os.WriteFile(name, []byte(text+Format(smallest)), 0o644))
			t.Logf("shrunk: %s\n%s%s", proof.ReplayCase(t.Name(), name), text, Format(smallest))
		}
	})
	n, all := covered.Covered()
	t.Logf("changes after transitions: %d of %d pairs\n%s", n, all, covered.Table())
	proof.Count("pairs of a transition and a change", n)
}

// play plays a world, and fails with all that happened in it if something must not be.
func play(t *testing.T, steps []Step) Played {
	logs, err := os.MkdirTemp("", "tidemark-world-logs-")
	require.NoError(t, err)
	played, err := Play(steps, logs)
	if len(played.Found) > 0 || err != nil {
		require.NoError(t, os.WriteFile(filepath.Join(logs, "world.log"), []byte(strings.Join(played.Log, "\n")+"\n"), 0o644))
		t.Errorf("%s\n%v\nthe logs of the programs are in %s\n%s", strings.Join(played.Log, "\n"), err, logs, strings.Join(played.Found, "\n"))
		return played
	}
	require.NoError(t, os.RemoveAll(logs))
	count(played)
	return played
}

// count counts what happened.
func count(played Played) {
	proof.Count("worlds", 1)
	for name, n := range played.Counted {
		switch {
		case changeOf(name) != nil:
			proof.Count("changes of the tree", n)
		case transitionOf(name) != nil:
			proof.Count("transitions", n)
		}
	}
	proof.Count("looks at copies", played.Looks)
}
