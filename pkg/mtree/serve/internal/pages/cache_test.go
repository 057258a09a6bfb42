package pages

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A file that was written through a mapping, and its directory not, was listed as it had been for as
// long as its directory stood still: a mirror that listed everything anew did not see it.
func TestAPageIsKeptForAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache, key, p := NewCache(1<<20, new(atomic.Int64)), Key{Path: "d"}, &Page{Key: Key{Path: "d"}}
		cache.Put(key, Time{}, p)
		<-time.After(keepFor)
		require.Same(t, p, cache.Get(key, Time{}))
		<-time.After(time.Second)
		require.Nil(t, cache.Get(key, Time{}))
		cache.Put(key, Time{}, p)
		require.Same(t, p, cache.Get(key, Time{}))
	})
}
