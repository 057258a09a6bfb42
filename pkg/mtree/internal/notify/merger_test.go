package notify

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each name stands once, however many there are. An arrival is kept, whatever happens to the
// name later.
func TestMergedOnce(t *testing.T) {
	for _, n := range []int{1, searched - 1, searched, searched + 1, 1000} {
		var m merger
		for round := range 3 {
			for i := range n {
				m.add(fmt.Append(nil, i), round == 1 && i%2 == 0)
			}
		}
		require.Len(t, m.Entries, n)
		for i, e := range m.Entries {
			require.Equal(t, Entry{Name: fmt.Sprint(i), Arrived: i%2 == 0}, e)
		}
	}
}
