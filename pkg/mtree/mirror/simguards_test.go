package mirror

import (
	"strings"
	"testing"
)

// TestSimulatedGuards has a history for each of some guards: without the guard it fails. They
// are marked where they stand.
func TestSimulatedGuards(t *testing.T) {
	for name, history := range map[string]string{
		// A snapshot was restored: files of the same size and time have other bytes.
		"rollback": "mkdir a; old a/f; publish; pass; snapshot; wait 1m; old a/f; publish; pass; restore; write a/g; publish; pass",
		// The same with directories that take each other's place.
		"exchanged": "mkdir a; mkdir b; old a/f; old b/f; publish; wait 1m; pass; swap a b; publish; pass",

		// Bytes that change under size and time, by a write that begins anew or goes on.
		"rewritten":       "write f; publish; pass; rewrite f; publish; pass",
		"goes on":         "write f; publish; pass; more f; publish; pass",
		"compared before": "write g; publish; at 5000 write f; at 5000 publish; at 5001 more f; at 5001 publish; run 2m",

		// What is below may not be listed, or is listed as it was before.
		"child failed":      "mkdir a; write a/f; publish; pass; write a/f; publish; fail 3; pass",
		"child of the past": "mkdir a; write a/f; publish; pass; write a/f; publish; cache 1 2; pass",
		"root of the past":  "write e; publish; pass; write f; publish; pass; write g; publish; cache 2 1; pass",
		"moved down":        "mkdir a; mkdir a/d; write a/f; publish; pass; mv a/f a/d/f; publish; fail 3; pass",
		"moved to the past": "mkdir a; mkdir a/d; write a/f; publish; pass; write a/d/h; publish; pass; mv a/f a/d/f; publish; cache 2 3; fail 4 99; pass",
		"filling":           "write f; write a; mkdir b; write b/f; write b/e; publish; pass; filling; publish; pass",
		"another tree":      "write f; publish; pass; tree; write g; publish; pass",
		"not on disk":       "seed 327; mkdir b; write b/e; pass; local-forget; cut 152",

		// --max-delete counts over passes, and holds until somebody releases.
		"limit":      "set max-delete=1; mkdir a; write a/f; write a/g; write f; publish; pass; rm a/f; publish; pass; rm a/g; publish; pass",
		"held stays": "set max-delete=1; mkdir a; write a/f; write a/g; write f; publish; pass; rm a/f; publish; pass; rm a/g; publish; pass; wait 11m; pass",
	} {
		t.Run(name, func(t *testing.T) { simulateHistory(t, strings.Split(history, "; ")) })
	}
}
