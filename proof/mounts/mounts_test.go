package mounts

import (
	"os"
	"testing"

	"tidemark/internal/proof"
)

func TestMain(m *testing.M) { os.Exit(proof.Main(m)) }

const (
	rests  = 20 // in a round
	atOnce = 5  // steps between two rests, at most
)

// TestMountsAtRandom: whatever comes and goes in the tree, its copy is equal after each rest.
func TestMountsAtRandom(t *testing.T) {
	proof.RoundsBeside(t, 3, 4, func(t *testing.T, seed uint64) {
		backend := []string{"inotify", "fanotify", "inotify"}[seed%3]
		w := newWorld(t, seed)
		w.begin(backend)
		for range rests {
			for range 1 + w.r.IntN(atOnce) {
				w.step()
			}
			w.rest()
			proof.Count("looks at trees with mounts, "+backend, 1)
		}
	})
}
