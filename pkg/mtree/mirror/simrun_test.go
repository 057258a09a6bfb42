package mirror

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"tidemark/internal/proof"
)

// TestSimulatedHistories runs random histories, each twice. PROOF_CASE replays one: its steps,
// separated by "; ".
func TestSimulatedHistories(t *testing.T) {
	if text := proof.Case(); text != "" {
		simulateHistory(t, strings.Split(text, "; "))
		return
	}
	const runs = 25
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
	var err error // of any run
	run := func() string {
		sum, _, is := simulate(t, history, false)
		err = cmp.Or(err, is)
		return fmt.Sprintf("%x %v", sum, is)
	}
	one, other := run(), run()
	if one != other && !proof.MostAgree(one, other, run) {
		_, one, _ := simulate(t, history, true)
		_, two, _ := simulate(t, history, true)
		t.Fatalf("two runs differ: %s\n%s", strings.Join(history, "; "), firstDifference(one, two))
	}
	if err == nil {
		return
	}
	history = proof.Shrink(history, proof.Shrinking(t, time.Minute), func(h []string) bool { _, _, err := simulate(t, h, false); return err != nil })
	_, lines, err := simulate(t, history, true)
	t.Fatalf("%v\n%s\n%v\n%s", err, strings.Join(lines, "\n"), err, proof.ReplayCase("TestSimulatedHistories", strings.Join(history, "; ")))
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

// randomHistory returns a history of some 5 to 50 steps.
func randomHistory(r *rand.Rand) (history []string) {
	g := &simGenerator{Rand: r}
	history = append(history, fmt.Sprintf("seed %d", r.IntN(1000)))
	if r.IntN(3) == 0 {
		history = append(history, "machine "+g.pick("old", "few", "coarse", "noxattrs"))
	}
	if r.IntN(2) == 0 {
		history = append(history, "set jobs=4")
	}
	if r.IntN(4) == 0 {
		history = append(history, "set backup="+g.pick("../backup", ".tidemark/backup"))
	}
	if r.IntN(4) == 0 {
		history = append(history, "parts "+g.pick("0", "2", "8"))
	}
	if r.IntN(3) == 0 {
		g.links = true
		history = append(history, "set hard-links")
	}
	if r.IntN(8) == 0 {
		history = append(history, "set sparse")
	}
	for _, n := range simNames {
		if r.IntN(2) == 0 {
			history = append(history, g.pick("write", "mkdir", "mkdir")+" "+n)
		}
	}
	history = append(history, "publish", "pass")
	for range 2 + r.IntN(14) {
		for range r.IntN(4) {
			history = append(history, g.change())
		}
		if r.IntN(3) > 0 {
			history = append(history, "publish")
		}
		history = append(history, g.around()...)
		if r.IntN(2) == 0 {
			history = append(history, "pass")
		}
	}
	return history
}

// simGenerator chooses steps.
type simGenerator struct {
	*rand.Rand
	links bool // files get several names
}

func (g *simGenerator) pick(list ...string) string { return list[g.IntN(len(list))] }

func (g *simGenerator) name() string { return g.pick(simNames...) }

// change is a step of the source.
func (g *simGenerator) change() string {
	if g.links && g.IntN(6) == 0 {
		return "hardlink " + g.name() + " " + g.name()
	}
	switch n := g.IntN(100); {
	case n < 1:
		return "hole " + g.name()
	case n < 26:
		return g.pick("write", "rewrite", "old", "replace", "more", "unheard") + " " + g.name()
	case n < 38:
		return "rm " + g.name()
	case n < 48:
		return "mkdir " + g.name()
	case n < 56:
		return g.pick("mv", "swap") + " " + g.name() + " " + g.name()
	case n < 60:
		return g.pick("link", "chmod") + " " + g.name()
	case n < 64:
		return g.pick("deny", "allow") + " " + g.name()
	case n < 68:
		return g.pick("mount", "unmount") + " " + g.name()
	case n < 70:
		return g.pick("exclude f", "exclude g", "exclude d", "exclude e", "trust")
	case n < 94:
		return "publish"
	case n < 96:
		return g.pick("stop", "start", "lose")
	case n < 97:
		return g.pick("filling", "source-clock -20m", "source-clock -7m", "source-clock -20s", "source-clock 15m")
	}
	return g.pick("snapshot", "restore", "restore")
}

// busy changes one directory at each of some calls of the next pass, so that it is hot if
// it is listed then.
func (g *simGenerator) busy() (steps []string) {
	first := 40 + g.IntN(200)
	name := g.pick("f", "a/f", "a/g", "a/d/h", "b/f")
	for i := range 12 + g.IntN(40) {
		steps = append(steps, fmt.Sprintf("at %d %s %s", first+i, g.pick("write", "rm", "replace", "mkdir"), name))
	}
	return append(steps, fmt.Sprintf("at %d publish", first+g.IntN(60)))
}

// around is a step of all others, or a pass.
func (g *simGenerator) around() []string {
	switch g.IntN(20) {
	case 0:
		return g.busy()
	case 1, 2:
		return g.followed()
	}
	return []string{g.one()}
}

// followed is a mirror that keeps running while the source publishes one change after the other,
// some of them in the midst of a pass: it gets parts of listings.
func (g *simGenerator) followed() (steps []string) {
	call := 1500
	for range 2 + g.IntN(9) {
		soon, n := "", 0
		for range 1 + g.IntN(4) {
			for range 1 + g.IntN(2) {
				steps = append(steps, fmt.Sprintf("at %d %s%s", call, soon, g.change()))
			}
			steps = append(steps, fmt.Sprintf("at %d %spublish", call, soon))
			n += 1 + g.IntN(1+g.IntN(80))
			soon = fmt.Sprintf("soon %d ", n)
		}
		call++
	}
	return append(steps, "run 2m")
}

// one is such a step.
func (g *simGenerator) one() string {
	call := func() int { return 1 + g.IntN(1+g.IntN(400)) }
	switch n := g.IntN(100); {
	case n < 30:
		return fmt.Sprintf("at %d %s", call(), g.change())
	case n < 42:
		return fmt.Sprintf("%s %d", g.pick("break", "kill", "kill", "cut", "cut"), call())
	case n < 48:
		return fmt.Sprintf("fail %d", 1+g.IntN(6))
	case n < 50:
		n := 1 + g.IntN(6)
		return fmt.Sprintf("cache %d %d %d", 1+g.IntN(4), n, n+g.IntN(6))
	case n < 52:
		return fmt.Sprintf("errno %s %d", g.pick("ENOSPC", "EIO", "EACCES", "EMFILE", "EROFS"), call())
	case n < 54:
		n := call()
		return fmt.Sprintf("errno %s %d %d", g.pick("ENOSPC", "EIO", "EROFS"), n, n+g.IntN(300))
	case n < 58:
		return "wait " + g.pick("3s", "15s", "2m", "11m", "200h")
	case n < 60:
		return "clock " + g.pick("-1h", "1h", "-30s")
	case n < 66:
		return "set " + g.pick("no-delete", "no-links", "sums", "adopt", "filter=g", "filter=e", "filter=a/d", "max-delete=2", "max-delete=50%",
			"hard-links", "sparse", "max-size=8", "max-size=0", "min-size=9", "min-size=0", "max-age=8760h", "max-age=0s", "durability=none", "durability=file", "durability=batch", "commit=1", "walk=5m", "backup=../backup", "backup=.tidemark/backup", "backup=")
	case n < 70:
		return g.pick("local-write", "local-mkdir", "local-rm") + " " + g.name()
	case n < 71:
		return "local-strip " + g.name()
	case n < 72:
		return "local-mv " + g.name() + " " + g.name()
	case n < 74:
		return "local-forget"
	case n < 75:
		return g.pick("tree", "nameless", "release")
	case n < 80:
		return "run " + g.pick("5s", "2m", "2m", "2m", "12m")
	}
	return "pass"
}
