package mirror

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/mirror/internal/source/sourcetest"
)

// partsBegin is the tree that a mirror follows by parts.
const partsBegin = "mkdir a; mkdir a/d; write a/f; write a/g; write a/d/h; write f; publish; wait 1m; pass; parts 100; "

// partsHistories returns histories of a mirror that follows by parts: two changes that are
// published one after the other, the second some calls after the first.
func partsHistories(first, second string) (all [][]string) {
	for n := range 400 {
		call := 1 + n%40
		text := fmt.Sprintf("seed %d; %sat 5000 %s; at 5000 publish; at 5000 soon %d %s; at 5000 soon %d publish; run 3m", n, partsBegin, first, call, second, call)
		all = append(all, strings.Split(text, "; "))
	}
	return all
}

// TestSimulatedMistakes shows that a mirror follows by parts what the source does, and that a
// source that makes a mistake with its journal is found out: the copy lacks something.
func TestSimulatedMistakes(t *testing.T) {
	for mistake, second := range map[sourcetest.Mistake]string{
		sourcetest.LateJournal:  "write a/g",
		sourcetest.EarlyTail:    "write a/g",
		sourcetest.NoChildren:   "write a/d/h",
		sourcetest.NamedFinding: "unheard a/g",
	} {
		t.Run(string(mistake), func(t *testing.T) {
			found := 0
			histories := partsHistories("write a/f", second)
			for i := 0; i < len(histories) && found == 0; i++ {
				_, _, err := simulate(t, histories[i], false)
				require.NoError(t, err, strings.Join(histories[i], "; "))
				if _, _, err := simulate(t, append([]string{"wrong " + string(mistake)}, histories[i]...), false); err != nil {
					found++
				}
			}
			require.Positive(t, found)
		})
	}
}
