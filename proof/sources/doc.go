// Package sources kills the sources of a mirror that has several, at random, with the real programs:
// the serve of the tree, another serve of it, that of a copy, the mirror that keeps this copy, the watch,
// and the mirror itself, which is started again with the sources in another order, or with fewer.
//
// All the while files of the tree are written, each with a number that only rises. In the copy no number
// may ever fall, and no stamp of a root that is complete. In the end the copy is equal to the tree.
//
//	PROOF_SEED=7 go test -count=1 -run '^TestSourcesThatDie$' ./proof/sources
//
// The tests stand in these files:
//
//	sources_test.go  TestSourcesThatDie: what is killed, and what must hold in the end
//	eye_test.go      what is read of the copy all the while
//	cast_test.go     the programs
package sources
