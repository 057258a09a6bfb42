package wire_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/wire"
)

// A long poll is held at most min(wait, 45 s); what is not a time asks for no wait.
func TestWaitIsAtMost45Seconds(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"0": 0, "0.5": time.Second / 2, "44.9": 44900 * time.Millisecond, "45": 45 * time.Second,
		"46": 45 * time.Second, "1e300": 45 * time.Second, "Inf": 45 * time.Second,
	} {
		got, ok := wire.ParseQuery("txt&wait=" + value).Wait()
		require.True(t, ok, value)
		require.Equal(t, want, got, value)
	}
	for _, value := range []string{"", "-1", "NaN", "soon", "1s"} {
		_, ok := wire.ParseQuery("txt&wait=" + value).Wait()
		require.False(t, ok, value)
	}
}

// In a query the first of a key that is given twice counts, only %XX is decoded, and
// unknown keys are kept.
func TestQueries(t *testing.T) {
	query := wire.ParseQuery("txt&since=1.5&since=2&after=a+b%2fc%zz&x=%41=&&=y")
	require.Equal(t, wire.Query{"txt": "", "since": "1.5", "after": "a+b%2fc%zz", "x": "A=", "": ""}, query)
}
