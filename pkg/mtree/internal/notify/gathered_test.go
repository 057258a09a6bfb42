package notify

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each name stands once, however many there are, and an arrival is not
// forgotten for what happens to the name later.
func TestGatheredOnce(t *testing.T) {
	for _, n := range []int{1, searched - 1, searched, searched + 1, 1000} {
		var g gathered
		for round := range 3 {
			for i := range n {
				g.entry(fmt.Append(nil, i), round == 1 && i%2 == 0)
			}
		}
		require.Len(t, g.Entries, n)
		for i, e := range g.Entries {
			require.Equal(t, Entry{Name: fmt.Sprint(i), Arrived: i%2 == 0}, e)
		}
	}
}
