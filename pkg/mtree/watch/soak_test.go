//go:build filesystems && soak

package watch_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/proof"
)

// soakers is how many trees are under churn at once.
const soakers = 4

// TestSoak: ordeals on every file system with every backend, as long as PROOF_FOR
// says. Each is made from one seed, which is printed as it begins; PROOF_SEED
// replays that one, again and again.
func TestSoak(t *testing.T) {
	var places []string
	for _, fs := range fileSystems {
		places = append(places, fs.make(t))
	}
	busy := make([]sync.Mutex, len(places)) // others there would overrun a short queue for ever
	until := time.Now().Add(cmp.Or(proof.Budget(t), 10*time.Minute))
	var all sync.WaitGroup
	var runs, rounds atomic.Int64
	n := soakers
	if _, one := proof.Seed(t); one {
		n = 1 // they would wait for one another
	}
	for range n {
		all.Go(func() {
			for time.Now().Before(until) && !t.Failed() {
				seed := churnSeed(t)
				i, o := drawn(seed)
				if !busy[i].TryLock() {
					runtime.Gosched()
					continue
				}
				o.place = places[i]
				if !t.Run(fmt.Sprintf("%s/%s/%d", fileSystems[i].name, o.backend, seed), func(t *testing.T) { o.run(t) }) {
					t.Log(proof.ReplaySeed(t.Name(), seed))
				}
				busy[i].Unlock()
				rounds.Add(int64(o.rounds))
				runs.Add(1)
			}
		})
	}
	all.Wait()
	proof.Count("trees under churn", int(runs.Load()))
	proof.Count("rounds of churn", int(rounds.Load()))
	require.NotZero(t, runs.Load())
}

// drawn is the ordeal of a seed, and which file system it is for.
func drawn(seed uint64) (at int, o ordeal) {
	random := rand.New(rand.NewPCG(seed, 7))
	at = random.IntN(len(fileSystems))
	offered := append(fileSystems[at].backends(), "none")
	o = ordeal{backend: offered[random.IntN(len(offered))], seed: seed, rounds: 5 + random.IntN(20), fates: allFates}
	if fileSystems[at].granule > time.Millisecond {
		o.rounds = 3 // each takes seconds
	}
	return at, o
}
