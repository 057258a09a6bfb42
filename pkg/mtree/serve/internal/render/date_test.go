package render

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"tidemark/pkg/mtree"
)

// Dates are what package time makes of them, in every year.
func TestDates(t *testing.T) {
	check := func(t require.TestingT, sec int64) {
		s := mtree.Unix(sec, 999_999_999)
		want := time.Unix(sec, 0).UTC()
		require.Equal(t, want.Format(pageDate), string(appendPageDate(nil, s)))
		require.Equal(t, want.Format(http.TimeFormat), string(AppendHTTPDate(nil, s)))
	}
	for _, sec := range []int64{0, -1, -62167219200, -62167219201, 253402300799, 253402300800, 951782399, 951782400, 951868800, 4107542399, 1 << 40, -1 << 40} {
		check(t, sec)
	}
	rapid.Check(t, func(t *rapid.T) { check(t, rapid.Int64Range(-63e9, 254e9).Draw(t, "sec")) })
}
