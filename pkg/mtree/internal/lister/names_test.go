package lister

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/internal/disk"
)

// Names of all lengths and bytes, with much or nothing in common, are listed in the
// order of their bytes, and each with its own entry: by one goroutine and by several.
func TestNamesAreSorted(t *testing.T) {
	for _, count := range []int{0, 1, 2, 300, 4 * lookBlock} {
		top := t.TempDir()
		rng := rand.New(rand.NewPCG(1, uint64(count)))
		sizes := map[string]int64{}
		var want []string
		for i := range count {
			name := fmt.Sprintf("n%0*d%s", rng.IntN(12), rng.IntN(50), string([]byte{byte(1 + rng.IntN(46)), byte(128 + rng.IntN(127))})[:rng.IntN(3)])
			if i%5 == 0 {
				name = fmt.Sprintf("common-beginning-%d", rng.IntN(100*count))
			}
			if _, twice := sizes[name]; twice {
				continue
			}
			sizes[name] = int64(i % 7)
			want = append(want, name)
			require.NoError(t, os.WriteFile(top+"/"+name, make([]byte, i%7), 0o644))
		}
		slices.Sort(want)
		d, err := disk.OpenRoot(top)
		require.NoError(t, err)
		defer d.Close()
		l, err := (&Lister{}).Read(d, "")
		require.NoError(t, err)
		require.Len(t, l.Entries, len(want))
		for i, e := range l.Entries {
			require.Equal(t, want[i], e.Name)
			require.Equal(t, sizes[e.Name], e.Size)
		}
	}
}

// An error with one entry among many is an error of the listing, whichever goroutine
// gets it.
func TestOneErrorEndsTheListing(t *testing.T) {
	top := t.TempDir()
	for i := range 3 * lookBlock {
		require.NoError(t, os.WriteFile(fmt.Sprintf("%s/f%05d", top, i), nil, 0o644))
	}
	d, err := disk.OpenRoot(top)
	require.NoError(t, err)
	r, err := readNames(d, 0)
	require.NoError(t, err)
	require.NoError(t, d.Close())
	_, err = (&Lister{}).look(disk.NewDir(-1, ""), "", disk.Info{}, r)
	require.ErrorContains(t, err, "bad file descriptor")
}
