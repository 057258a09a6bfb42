package pages

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
)

// A page that is made after the question is shared; one that is being made already only if
// the stamp proves it; and a failure makes a page for nobody.
func TestFlights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, proven := range []bool{false, true} {
			f := NewFlights()
			var made atomic.Int64
			hold := make(chan struct{})
			results := make(chan *Page, 9)
			var all sync.WaitGroup
			ask := func(at int64) {
				var shown Time
				if proven {
					shown.MTime = mtree.Unix(at, 0)
				}
				all.Go(func() {
					p, err := f.Do(FlightKey{}, shown, func() (*Page, error) {
						made.Add(1)
						<-hold
						return &Page{Size: made.Load()}, nil
					})
					require.NoError(t, err)
					results <- p
				})
			}
			ask(1)
			synctest.Wait()
			for range 4 {
				ask(1)
			}
			synctest.Wait()
			require.EqualValues(t, 1, made.Load())
			if proven { // a directory that changed meanwhile is read once more for all, after the first reading
				for later := range 4 {
					ask(int64(2 + later))
				}
				synctest.Wait()
				require.EqualValues(t, 1, made.Load())
			}
			close(hold)
			all.Wait()
			require.EqualValues(t, 2, made.Load(), "what came meanwhile may not be in the first")
			require.Empty(t, f.by)
		}
		f := NewFlights()
		wrong := errors.New("wrong")
		_, err := f.Do(FlightKey{}, Time{}, func() (*Page, error) { return nil, wrong })
		require.ErrorIs(t, err, wrong)
		require.Panics(t, func() { _, _ = f.Do(FlightKey{}, Time{}, func() (*Page, error) { panic("x") }) })
		require.Empty(t, f.by)
	})
}
