package sources

import (
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/proof"
)

// patience is how long a program may take to be ready, and to stop.
const patience = 20 * time.Second

// cast are the programs around a tree and its copy, by their names. Those that do not run are missing.
type cast struct {
	t     *testing.T
	dir   string
	args  map[string][]string
	alive map[string]*proof.Process
}

// newCast starts the programs: a watch and two serves of the tree, and a copy with its serve.
func newCast(t *testing.T, dir string, r *rand.Rand) *cast {
	tree, second := filepath.Join(dir, "tree"), filepath.Join(dir, "second")
	a, b, c := proof.FreeAddress(r.IntN), proof.FreeAddress(r.IntN), proof.FreeAddress(r.IntN)
	for _, address := range []string{a, b, c} {
		t.Cleanup(func() { proof.LeaveAddress(address) })
	}
	k := &cast{t: t, dir: dir, alive: map[string]*proof.Process{}, args: map[string][]string{
		"watch":   {"watch", tree},
		"serve-a": {"serve", "--listen", a, tree},
		"serve-b": {"serve", "--listen", b, tree},
		"second":  {"mirror", "http://" + a + "/", "http://" + b + "/", second},
		"serve-c": {"serve", "--listen", c, second},
	}}
	for _, name := range []string{"watch", "serve-a", "serve-b", "second", "serve-c"} {
		k.start(name)
	}
	t.Cleanup(k.end)
	return k
}

// sources are the URLs of the three serves.
func (k *cast) sources() []string {
	var all []string
	for _, name := range []string{"serve-a", "serve-c", "serve-b"} {
		all = append(all, "http://"+k.args[name][2]+"/")
	}
	return all
}

// mirror starts the mirror of the copy.
func (k *cast) mirror(sources []string) {
	k.args["mirror"] = append(append([]string{"mirror", "--log-level", "debug"}, sources...), filepath.Join(k.dir, "copy"))
	k.start("mirror")
}

// start starts a program that does not run.
func (k *cast) start(name string) {
	k.t.Helper()
	if k.alive[name] != nil {
		return
	}
	p, err := proof.Launch(proof.Command{Args: k.args[name], Log: filepath.Join(k.dir, name+".log")})
	require.NoError(k.t, err)
	require.NoError(k.t, p.WaitReady(patience))
	k.alive[name] = p
}

// kill kills a program if it runs.
func (k *cast) kill(name string) {
	if p := k.alive[name]; p != nil {
		require.True(k.t, p.Alive(), "%s ended by itself: %v\n%s", name, p.Err, p.Logged())
		p.Kill()
		delete(k.alive, name)
	}
}

// startAll starts what does not run.
func (k *cast) startAll() {
	for _, name := range []string{"watch", "serve-a", "serve-b", "second", "serve-c", "mirror"} {
		k.start(name)
	}
}

// end ends all programs.
func (k *cast) end() {
	for _, p := range k.alive {
		p.Kill()
	}
}

// shuffled returns some of the sources, at least two, in any order.
func shuffled(r *rand.Rand, sources []string) []string {
	some := slices.Clone(sources)
	r.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
	return some[:2+r.IntN(len(some)-1)]
}
