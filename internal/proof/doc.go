// Package proof is what the tests share that look for lost changes, wrong deletions and
// torn files: rounds that are made from seeds, counts of what was tried, and the three
// programs as processes.
//
//	func TestWorld(t *testing.T) {
//		proof.Rounds(t, 5, func(t *testing.T, seed uint64) {
//			world := rand.New(rand.NewPCG(seed, 1))
//			...
//			proof.Count("changes", n)
//		})
//	}
//
// By itself such a test makes a few rounds, always from the same seeds. In make soak it
// goes on for as long as PROOF_FOR says, each round from a new seed. A failure names its
// seed and the command that replays it.
//
// Its files stand in layers. Each uses what stands below it:
//
//	programs.go          watch, serve and mirror, built once
//	process.go           a program that runs
//	address.go           a free port
//	agree.go             simulations whose runs differ
//	rounds.go            rounds that are made from seeds
//	shrink.go            the smallest part of a history that still fails
//	environment.go       what the environment tells a test, and how a failure is replayed
//	count.go             what was tried
package proof
