package remote

import (
	"net/http"
	"testing"

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
