package cli

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A size is not negative, and what is shown of a round one is read as the same.
func FuzzSize(f *testing.F) {
	for _, text := range []string{"64M", "1.5GiB", "0", "12", "1e3", "64mb", "16EiB", "-1", "NaN", "1EB", "888P"} { // P and E were powers of 1000
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var s, again Size
		if s.Set(text) != nil {
			return
		}
		require.GreaterOrEqual(t, s, Size(0))
		require.NoError(t, again.Set(s.String()), "%q of %q", s.String(), text)
		require.InEpsilon(t, float64(s)+1, float64(again)+1, 0.06, "%q of %q", s.String(), text)
	})
}

// A time is not negative, and is read as it is shown.
func FuzzDuration(f *testing.F) { // nand and the sum beyond 292 years were negative
	for _, text := range []string{"500ms", "24h", "7d", "1d12h", "0.5d", "nand", "infd", "36500d2562047h", "-1d", "1d-5h", "0x1p3d", "36500d257h7h"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var d, again Duration
		if d.Set(text) != nil {
			return
		}
		require.GreaterOrEqual(t, time.Duration(d), time.Duration(0), "%q", text)
		require.NoError(t, again.Set(d.String()))
		require.Equal(t, d, again, "%q of %q", d.String(), text)
	})
}
