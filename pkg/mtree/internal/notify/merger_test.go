package notify

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each name stands once, however many there are. An arrival or a rename is kept, whatever
// happens to the name later.
func TestMergedOnce(t *testing.T) {
	for _, n := range []int{1, searched - 1, searched, searched + 1, 1000} {
		var m merger
		for round := range 3 {
			for i := range n {
				m.add(fmt.Append(nil, i)).happened(i%4 == 0, round == 1 && i%2 == 0, round == 1 && i%8 < 2)
			}
		}
		require.Len(t, m.Entries, n)
		for i, e := range m.Entries {
			require.Equal(t, Entry{Name: fmt.Sprint(i), Arrived: i%4 == 0, Renamed: i%8 == 1}, e)
		}
	}
}
