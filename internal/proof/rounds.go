package proof

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Rounds runs f as a subtest for each seed: from 1 to n, or new ones until the time in
// PROOF_FOR has passed, or the one in PROOF_SEED. It stops at the first round that
// fails, and logs the command that replays it.
func Rounds(t *testing.T, n int, f func(t *testing.T, seed uint64)) {
	t.Helper()
	for seed := range seeds(t, n) {
		if !t.Run(fmt.Sprint(seed), func(t *testing.T) { f(t, seed) }) {
			t.Log(ReplaySeed(t.Name(), seed))
			return
		}
	}
}

// RoundsBeside is Rounds with a few rounds at once, for rounds that wait most of the time.
func RoundsBeside(t *testing.T, n, beside int, f func(t *testing.T, seed uint64)) {
	t.Helper()
	var failed atomic.Bool
	var group sync.WaitGroup
	turns := make(chan struct{}, beside)
	for seed := range seeds(t, n) {
		turns <- struct{}{}
		if failed.Load() {
			break
		}
		group.Go(func() {
			defer func() { <-turns }()
			if !t.Run(fmt.Sprint(seed), func(t *testing.T) { f(t, seed) }) {
				failed.Store(true)
				t.Log(ReplaySeed(t.Name(), seed))
			}
		})
	}
	group.Wait()
}

// seeds yields the seeds of a test's rounds.
func seeds(t *testing.T, n int) func(yield func(uint64) bool) {
	t.Helper()
	if seed, ok := Seed(t); ok {
		return func(yield func(uint64) bool) { yield(seed) }
	}
	if budget := Budget(t); budget > 0 {
		end := time.Now().Add(budget)
		return func(yield func(uint64) bool) {
			for time.Now().Before(end) && yield(rand.Uint64()>>20) { // short enough to type
			}
		}
	}
	return func(yield func(uint64) bool) {
		for seed := range n {
			if !yield(uint64(seed) + 1) {
				return
			}
		}
	}
}
