package published

import (
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// The mount points that are passed over are counted, and each is named once, as far as
// there is room. A count is kept only if somebody asks for it.
func TestMountsPassedOver(t *testing.T) {
	for _, counted := range []bool{true, false} {
		var log strings.Builder
		var count atomic.Int64
		m := &mounts{log: slog.New(slog.NewTextHandler(&log, nil))}
		if counted {
			m.count = &count
		}
		for n := range 150 {
			m.pass(strconv.Itoa(n))
			m.pass("0")
			if counted {
				require.Equal(t, int64(min(n+1, 100)), count.Load())
			}
		}
		require.Equal(t, 100, strings.Count(log.String(), "another file system"))
		require.Equal(t, 1, strings.Count(log.String(), `path="\"0\""`))
	}
}
