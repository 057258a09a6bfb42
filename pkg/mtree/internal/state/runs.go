package state

import (
	"crypto/rand"
	"encoding/hex"
	"slices"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/wire"
)

// BeginRun ends the latest run with the floor that it left and begins another.
func (t *Tree) BeginRun(floor mtree.Stamp) {
	t.Runs = slices.Clone(t.Runs)
	if n := len(t.Runs); n > 0 && t.Runs[n-1].Floor == nil {
		t.Runs[n-1].Floor = &floor
	}
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails, see crypto/rand
	t.Runs = append(t.Runs, wire.Run{ID: hex.EncodeToString(id[:])})
	t.Runs = t.Runs[max(len(t.Runs)-wire.MaxRuns, 0):]
}
