package mirror

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"tidemark/internal/proof"
)

// envHistory replays one history: its steps, separated by "; ".
const envHistory = "SIM_HISTORY"

// TestSimulatedHistories runs random histories, each twice.
func TestSimulatedHistories(t *testing.T) {
	if text := os.Getenv(envHistory); text != "" {
		simulateHistory(t, strings.Split(text, "; "))
		return
	}
	const runs = 50
	proof.Rounds(t, 2, func(t *testing.T, seed uint64) {
		for i := range uint64(runs) {
			r := rand.New(rand.NewPCG(seed, i))
			simulateHistory(t, randomHistory(r))
		}
		proof.Count("simulated runs of mirror", 2*runs)
	})
}

// simulateHistory fails the test with the shortest history that fails, if this one does.
func simulateHistory(t *testing.T, history []string) {
	t.Helper()
	sum, _, err := simulate(t, history, false)
	again, _, err2 := simulate(t, history, false)
	if sum != again || fmt.Sprint(err) != fmt.Sprint(err2) {
		_, one, _ := simulate(t, history, true)
		_, two, _ := simulate(t, history, true)
		t.Fatalf("two runs differ: %s\n%s", strings.Join(history, "; "), firstDifference(one, two))
	}
	if err == nil {
		return
	}
	history = shrink(history, func(h []string) bool { _, _, err := simulate(t, h, false); return err != nil })
	_, lines, err := simulate(t, history, true)
	t.Fatalf("%v\n%s\n%v\nreplay: %s='%s' go test -count=1 -run TestSimulatedHistories ./pkg/mtree/mirror",
		err, strings.Join(lines, "\n"), err, envHistory, strings.Join(history, "; "))
}

// shrink drops steps while the history still fails.
func shrink(history []string, fails func([]string) bool) []string {
	for size := max(len(history)/2, 1); ; size /= 2 {
		for at := 0; at+size <= len(history); {
			if shorter := slices.Delete(slices.Clone(history), at, at+size); fails(shorter) {
				history = shorter
			} else {
				at++
			}
		}
		if size == 1 {
			return history
		}
	}
}

// firstDifference shows where two traces part.
func firstDifference(a, b []string) string {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return strings.Join(a[:i], "\n") + "\n< " + a[i] + "\n> " + b[i]
		}
	}
	return "one goes on"
}

// simNames are the paths that histories are about.
var simNames = []string{"f", "a", "a/f", "a/g", "a/d", "a/d/h", "b", "b/f", "b/e", "b/e/g"}

// randomHistory returns a history of some 5 to 40 steps.
func randomHistory(r *rand.Rand) (history []string) {
	name := func() string { return simNames[r.IntN(len(simNames))] }
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	change := func() string {
		switch n := r.IntN(100); {
		case n < 22:
			return pick("write", "rewrite", "old", "replace", "more") + " " + name()
		case n < 34:
			return "rm " + name()
		case n < 44:
			return "mkdir " + name()
		case n < 52:
			return pick("mv", "swap") + " " + name() + " " + name()
		case n < 56:
			return pick("link", "chmod") + " " + name()
		case n < 60:
			return pick("deny", "allow") + " " + name()
		case n < 64:
			return pick("mount", "unmount") + " " + name()
		case n < 66:
			return pick("exclude f", "exclude g", "exclude d", "exclude e", "trust")
		case n < 90:
			return "publish"
		case n < 93:
			return pick("stop", "start", "lose")
		case n < 96:
			return pick("snapshot", "restore", "restore")
		}
		return "write " + name()
	}
	around := func() string {
		switch n := r.IntN(100); {
		case n < 30:
			return fmt.Sprintf("at %d %s", 1+r.IntN(25), change())
		case n < 40:
			return fmt.Sprintf("break %d", 1+r.IntN(25))
		case n < 50:
			return fmt.Sprintf("fail %d", 1+r.IntN(6))
		case n < 55:
			return "wait " + pick("3s", "15s", "2m", "11m", "200h")
		case n < 57:
			return "clock " + pick("-1h", "1h", "-30s")
		case n < 62:
			return "set " + pick("no-delete", "no-links", "sums", "adopt", "filter=g", "filter=e", "filter=a/d", "max-delete=2", "max-delete=50%", "durability=none", "durability=file")
		case n < 66:
			return pick("local-write", "local-mkdir", "local-rm") + " " + name()
		case n < 68:
			return "local-mv " + name() + " " + name()
		case n < 70:
			return "local-forget"
		case n < 71:
			return pick("tree", "nameless", "release")
		}
		return "pass"
	}
	for _, n := range simNames {
		if r.IntN(2) == 0 {
			history = append(history, pick("write", "mkdir", "mkdir")+" "+n)
		}
	}
	history = append(history, "publish", "pass")
	for range 2 + r.IntN(14) {
		for range r.IntN(4) {
			history = append(history, change())
		}
		if r.IntN(3) > 0 {
			history = append(history, "publish")
		}
		history = append(history, around())
		if r.IntN(2) == 0 {
			history = append(history, "pass")
		}
	}
	return history
}
