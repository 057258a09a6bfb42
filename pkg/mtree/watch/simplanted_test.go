package watch_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/journal"
)

// TestSimulatedPartsPlanted plants one mistake after the other in the reader or in the journal: histories
// of TestSimulatedParts must find each. So a rule that is left out would be noticed.
func TestSimulatedPartsPlanted(t *testing.T) {
	tryOpenat2(t)
	for _, c := range []struct {
		name    string
		planted planted
		kinds   map[string]int // of which there are more
		from    uint64         // the first seed: one that found it lies behind it
	}{
		{"journal after the stamps", planted{after: true}, map[string]int{"in a batch": 600}, 215},
		{"tail before s0", planted{tailFirst: true}, map[string]int{"in a batch": 600}, 110},
		{"a gap unnoticed", planted{ignoresGaps: true}, nil, 1},
		{"a child directory is not named", planted{noChildren: true}, nil, 1},
		{"what arrives is no **", planted{noArrivals: true}, nil, 1},
		{"what is found is no *", planted{noUnknown: true}, nil, 1},
		{"a record outside of FROM:TO", planted{anyRecord: true}, nil, 1},
		{"the lock is ignored", planted{ignoresLock: true}, map[string]int{"full for a moment": 200}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			kinds := maps.Clone(partsKinds)
			maps.Copy(kinds, c.kinds)
			for seed := c.from; seed < c.from+plantedRounds; seed++ {
				r := simulate(t, seed, partsHistory(seed, kinds), func(s *simulation) { s.reader.parts = newSimParts(seed, c.planted) })
				if r.problem != "" {
					t.Logf("seed %d: %s", seed, r.problem)
					return
				}
			}
			t.Fatalf("%d histories do not find it", plantedRounds)
		})
	}
}

const plantedRounds = 1000

// planted are mistakes of a reader by parts, or of a journal, each of which must be found.
type planted struct {
	after       bool // the journal is written after the stamps
	tailFirst   bool // the tail is read before s0
	ignoresGaps bool // a batch is missing, which goes unnoticed
	noChildren  bool // child directories that are stamped are not named
	noArrivals  bool // what arrived is no "**"
	noUnknown   bool // what was found, set or dropped is no "*"
	anyRecord   bool // a record outside FROM:TO is accepted
	ignoresLock bool // nobody looks at the lock
}

// plant makes the mistakes that are planted in a journal.
func (j *plain) plant() {
	if j.planted.ignoresGaps {
		j.batches = slices.DeleteFunc(j.batches, func(b journal.Batch) bool { return b.Number%3 == 2 })
	}
	if n := len(j.batches); j.planted.after && n > 0 && !j.top.After(j.batches[n-1].Floor) {
		j.batches = j.batches[:n-1]
	}
	for i := range j.batches {
		b := &j.batches[i]
		stamped := map[string]bool{}
		for _, l := range b.Lines {
			stamped[l.Path] = true
		}
		for k := range b.Lines {
			l := &b.Lines[k]
			if j.planted.noChildren {
				l.Names = slices.DeleteFunc(slices.Clone(l.Names), func(name string) bool {
					return stamped[mtree.JoinPath(l.Path, strings.TrimSuffix(name, "/"))]
				})
			}
			if j.planted.noUnknown && !l.Below {
				l.Unknown = false
			}
		}
		if j.planted.noArrivals {
			b.Lines = slices.DeleteFunc(b.Lines, func(l journal.Line) bool { return l.Below })
		}
	}
}
