package mirror

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"tidemark/internal/proof"
)

// simBegin is the tree and the copy that small sequences begin with.
var simBegin = []string{
	"mkdir a", "mkdir a/d", "write a/d/h", "write g", "mkdir b", "old a/f", "old b/f", "publish", "pass", "wait 1m", "snapshot",
}

// simOps are the operations of small sequences.
var simOps = []string{
	"write a/f", "rewrite a/f", "old a/f", "rm a/f", "mv a/f g", "mv a/f a/d/h", "mv a/d d", "swap a/d a/f", "swap a/f g", "rm a/d", "mkdir a/e",
	"replace g", "chmod a/f", "publish", "swap a b", "restore",
}

// smallSequences returns all sequences of one, two and three operations.
func smallSequences() (all [][]string) {
	before := [][]string{nil}
	for range 3 {
		var longer [][]string
		for _, ops := range before {
			for _, op := range simOps {
				longer = append(longer, append(slices.Clone(ops), op))
			}
		}
		all, before = append(all, longer...), longer
	}
	return all
}

// TestSimulatedSmallSequences runs all sequences of one, two and three operations, with a
// pass at each place: before the last operation, or under way during all of them, so that
// they happen one after the other at calls of the pass. Most bugs need no more.
//
// There are too many for each run: in CI it takes a few, always the same, and in make soak
// one after the other in a random order, until its time is over.
func TestSimulatedSmallSequences(t *testing.T) {
	const few = 12
	all, begun, budget := smallSequences(), time.Now(), proof.Budget(t)
	order := rand.New(rand.NewPCG(1, 3)).Perm(len(all))[:few]
	if budget > 0 {
		order = rand.Perm(len(all))
	}
	sequences, histories := 0, 0
	for _, i := range order {
		if budget > 0 && time.Since(begun) > budget {
			break
		}
		for _, history := range smallHistories(all[i], rand.New(rand.NewPCG(uint64(i), 3))) {
			simulateOnce(t, history)
			histories++
		}
		sequences++
	}
	proof.Count("small histories of mirror", histories)
	proof.Count(fmt.Sprintf("small sequences of mirror, of %d", len(all)), sequences)
}

// simPassCalls is about how many calls a pass makes.
const simPassCalls = 420

// smallHistories returns the operations with a pass at each place.
func smallHistories(ops []string, r *rand.Rand) (all [][]string) {
	for i := range ops { // a pass between them
		h := slices.Clone(simBegin)
		h = append(append(append(h, ops[:i]...), "publish", "pass"), ops[i:]...)
		all = append(all, h)
	}
	offset := r.IntN(30)
	for call := 1 + offset; call < simPassCalls; call += 30 { // a pass meanwhile
		h := append(slices.Clone(simBegin), "write a/d/h", "write g", "publish")
		for i, op := range ops {
			h = append(h, fmt.Sprintf("at %d %s", call+i*(1+r.IntN(20)), op))
		}
		h = append(h, fmt.Sprintf("at %d publish", call+60), "pass")
		all = append(all, h)
	}
	for _, how := range []string{"kill", "cut", "break"} { // one that does not end
		h := append(slices.Clone(simBegin), ops...)
		all = append(all, append(h, "publish", fmt.Sprintf("%s %d", how, 1+r.IntN(simPassCalls))))
	}
	return all
}

// simulateOnce is simulateHistory without the second run.
func simulateOnce(t *testing.T, history []string) {
	t.Helper()
	if _, _, err := simulate(t, history, false); err != nil {
		t.Logf("failed: %s", strings.Join(history, "; "))
		simulateHistory(t, history)
	}
}
