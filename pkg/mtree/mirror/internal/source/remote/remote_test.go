package remote

import (
	"math"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The fingerprint is found in whatever a proxy makes of an ETag.
func TestFingerprintOfAnETag(t *testing.T) {
	for tag, e := range map[string]string{
		`"1.000000005-txt-0a1b2c"`:            "0a1b2c",
		`W/"-7.000000005-txt-0a1b2c-gzip"`:    "0a1b2c",
		`W/"1.000000005-txt-0a1b2c-hot-zstd"`: "0a1b2c",
		`"h0123456789abcdef-txt-0a1b2c"`:      "0a1b2c",
		`"5f3-62b1"`:                          "",
		`"1.000000005-txt-0a1b2c3"`:           "",
		``:                                    "",
	} {
		a, err := head(&http.Response{Header: http.Header{"Etag": {tag}}})
		require.NoError(t, err)
		require.Equal(t, e, a.Fingerprint, "%s", tag)
	}
}

// By how much our clock is ahead of a server's. What is not known, or makes no sense, is never too
// little by more than it says.
func TestTheClockOfAServer(t *testing.T) {
	now := time.Date(2024, 2, 3, 4, 5, 6, 7e8, time.UTC)
	for name, c := range map[string]struct {
		date, age string
		want      time.Duration
	}{
		"the same":         {"Sat, 03 Feb 2024 04:05:06 GMT", "", 700 * time.Millisecond},
		"behind":           {"Sat, 03 Feb 2024 04:03:06 GMT", "", 2*time.Minute + 700*time.Millisecond},
		"ahead":            {"Sat, 03 Feb 2024 04:15:07 GMT", "", -10*time.Minute - 300*time.Millisecond},
		"from a cache":     {"Sat, 03 Feb 2024 04:03:06 GMT", "120", 1700 * time.Millisecond},
		"cached just now":  {"Sat, 03 Feb 2024 04:05:06 GMT", "0", 700 * time.Millisecond},
		"the age is wrong": {"Sat, 03 Feb 2024 04:05:06 GMT", "-5", 700 * time.Millisecond},
		"too large an age": {"Sat, 03 Feb 2024 04:05:06 GMT", "99999999999999", 700 * time.Millisecond},
		"no date":          {"", "120", 0},
		"no such date":     {"yesterday", "", 0},
		"long ago":         {"Sat, 03 Feb 0004 04:05:06 GMT", "", math.MaxInt64},
	} {
		h := http.Header{}
		h.Set("Date", c.date)
		h.Set("Age", c.age)
		require.Equal(t, c.want, skewOf(h, now), name)
	}
}
