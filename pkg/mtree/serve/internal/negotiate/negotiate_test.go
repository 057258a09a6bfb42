package negotiate_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/serve/internal/negotiate"
	"tidemark/pkg/mtree/serve/internal/render"
	"tidemark/pkg/mtree/wire"
)

func request(headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

// A program that refused pages (text/html;q=0), or would rather have JSON, got a page all the same for ?status and for
// refusals, and one that wrote it in capitals got none.
func TestTakesPages(t *testing.T) {
	for accept, want := range map[string]bool{
		"":                                  false,
		"*/*":                               false,
		"text/*":                            false,
		"text/html":                         true,
		"TEXT/HTML":                         true,
		"text/htmlx":                        false,
		"text/html;q=0":                     false,
		"text/html;q=0, */*":                false,
		"text/html;q=0.1":                   true,
		"application/json, text/html":       true,
		"application/json, text/html;q=0.5": false,
		"text/plain, text/html;q=0.9":       false,
		"text/html;q=0.9, application/xml;q=0.8, */*": true,
	} {
		require.Equal(t, want, negotiate.TakesPages(request("Accept", accept)), accept)
	}
	require.True(t, negotiate.TakesPages(request("Accept", "image/png", "Accept", "text/html")))
}

// The query decides about the format, then Accept, then the client's name.
func TestFormat(t *testing.T) {
	for _, test := range []struct {
		query    string
		headers  []string
		want     render.Format
		explicit bool
	}{
		{"json&txt", []string{"Accept", "text/html"}, render.Text, true},
		{"json", nil, render.JSON, true},
		{"", nil, render.HTML, false},
		{"", []string{"User-Agent", "curl/8"}, render.Text, false},
		{"", []string{"User-Agent", "curl/8", "Accept", "*/*"}, render.Text, false},
		{"", []string{"Accept", "text/plain, text/html;q=0.9"}, render.Text, false},
		{"", []string{"Accept", "application/json", "Accept", "text/html;q=0.5"}, render.JSON, false},
		{"", []string{"Accept", "image/png"}, render.HTML, false},
	} {
		got, explicit := negotiate.Format(request(test.headers...), wire.ParseQuery(test.query))
		require.Equal(t, test.want, got, "%+v", test)
		require.Equal(t, test.explicit, explicit, "%+v", test)
	}
}

func TestCoding(t *testing.T) {
	for field, want := range map[string]render.Coding{
		"": render.Identity, "gzip": render.Gzip, "br, GZIP;q=0.1": render.Gzip, "gzip;q=0": render.Identity, "gzip;q=2": render.Identity,
		"*": render.Gzip, "gzip;q=0, *": render.Identity, "br": render.Identity,
	} {
		require.Equal(t, want, negotiate.Coding(request("Accept-Encoding", field)), field)
	}
}

// Whatever Range says, the ranges to send lie within the file and do not overlap more than
// the file is long.
func TestRangesAreWithinTheFile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		header := rapid.OneOf(rapid.StringMatching(`bytes=([0-9]{0,3}-[0-9]{0,3},?){0,5}`), rapid.String()).Draw(t, "range")
		size := rapid.Int64Range(0, 300).Draw(t, "size")
		spans, err := negotiate.Ranges(request("Range", header), `"x"`, size)
		if err != nil {
			require.ErrorIs(t, err, negotiate.ErrUnsatisfiable)
			return
		}
		var sum int64
		for _, s := range spans {
			require.GreaterOrEqual(t, s.Start, int64(0))
			require.Positive(t, s.Length)
			require.LessOrEqual(t, s.Start+s.Length, size)
			sum += s.Length
		}
		require.LessOrEqual(t, sum, size)
	})
}

// What is not a list of tags matches nothing.
func TestAnyTag(t *testing.T) {
	for field, want := range map[string]bool{
		`"a"`: true, `W/"a"`: true, `"b", "a"`: true, `"a-gzip"`: true, `*`: true, `a`: false, `"a`: false, ``: false, `"b"`: false, `, ,"a"`: true,
	} {
		require.Equal(t, want, negotiate.NoneMatch(field, "a"), field)
	}
	rapid.Check(t, func(t *rapid.T) {
		negotiate.NoneMatch(rapid.String().Draw(t, "field"), "a") // comes to an end
	})
}

// No date proves more than it can: none names a second that can still
// change, and a date that clients misread is none.
func TestDates(t *testing.T) {
	now := mtree.Unix(1000, 10_000_000)
	for stamp, want := range map[int64]int64{900: 900, 998: 998, 999: 998, 1000: 998, 2000: 998} {
		date, early := negotiate.Date(mtree.Unix(stamp, 5), now)
		require.Equal(t, want, date, stamp)
		require.Equal(t, stamp != want, early, stamp)
	}
	require.Empty(t, negotiate.HTTPDate(-1))
	require.Empty(t, negotiate.HTTPDate(253402300800))
	text := negotiate.HTTPDate(1_700_000_000)
	require.Equal(t, time.Unix(1_700_000_000, 0).UTC().Format(http.TimeFormat), text)
	require.True(t, negotiate.SameDate(text, 1_700_000_000))
	require.False(t, negotiate.SameDate(text, 1_700_000_001))
	require.False(t, negotiate.SameDate("", 0))
}
