package negotiate

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A weight is between 0 and 1, whatever a client sends, and the one that was sent. The
// order of the elements, blanks and empty elements do not matter.
func FuzzWeights(f *testing.F) {
	f.Add("gzip;q=0.5, *;q=0", "gzip", 500)
	f.Add("text/html,application/json;q=0.9;v=b3", "application/json", 1000)
	f.Add("a;q=NaN,a;q=0x1p-2,a;Q=+.5", "a", 0)
	f.Fuzz(func(t *testing.T, field, element string, thousandths int) {
		q, named := qualityOf(field, element)
		require.True(t, q >= 0 && q <= 1, "%v", q)
		require.True(t, named || q == 0)
		require.Equal(t, named, strings.Contains(strings.ToLower(field), strings.ToLower(element)) && named, "what is named is there")
		if strings.ContainsAny(element, ",;") || strings.TrimSpace(element) != element || element == "" || strings.Contains(strings.ToLower(field), strings.ToLower(element)) {
			return
		}
		thousandths = ((thousandths % 1001) + 1001) % 1001
		weight := float64(thousandths) / 1000
		text := element + " ; q=" + strconv.FormatFloat(weight, 'f', 3, 64)
		for _, all := range []string{text, field + "," + text, text + ", ," + field, ",," + strings.ToUpper(text)} {
			if _, again := qualityOf(all, element); strings.EqualFold(strings.ToUpper(element), element) && again {
				require.InDelta(t, weight, quality(all, element), 1e-9, "%q", all)
			}
		}
	})
}

// The ranges lie within the file, none is empty, and they are what the request says: with a
// single one, what net/http's file server sends.
func FuzzRanges(f *testing.F) {
	f.Add("bytes=0-4,7-,-3", int64(20))
	f.Add("bytes=-0", int64(3))
	f.Add("bytes=5-2", int64(9))
	f.Add("bytes= 1 - 2 ,,", int64(9))
	f.Add("bytes=0-9223372036854775807,9223372036854775807-", int64(math.MaxInt64))
	f.Add("bytes=-9223372036854775807", int64(math.MaxInt64))
	f.Fuzz(func(t *testing.T, header string, size int64) {
		if size < 0 {
			return
		}
		r := &http.Request{Method: http.MethodGet, Header: http.Header{"Range": {header}}}
		spans, err := Ranges(r, `"tag"`, size)
		if err != nil {
			require.ErrorIs(t, err, ErrUnsatisfiable)
			require.Empty(t, spans)
			return
		}
		var sum int64
		for _, s := range spans {
			require.True(t, s.Start >= 0 && s.Length > 0 && s.Start <= size-s.Length, "%+v of %d", s, size)
			sum += s.Length
			require.True(t, sum > 0 && sum <= size, "no more than the file")
			again, ok := parseRange("bytes="+strconv.FormatInt(s.Start, 10)+"-"+strconv.FormatInt(s.Start+s.Length-1, 10), size)
			require.True(t, ok)
			require.Equal(t, []Span{s}, again)
		}
		require.Less(t, len(spans), maxSpans+1)
	})
}

// FuzzTags: a list of tags has exactly the tags that are in it.
func FuzzTags(f *testing.F) {
	f.Add("a", "b\x00c", `W/"x", "y"`)
	f.Add("", "1-2-3", `"`)
	f.Fuzz(func(t *testing.T, one, two, wild string) {
		n := 0
		AnyTag(wild, func(tag string) bool { // ends, and yields tags
			n++
			require.True(t, strings.HasSuffix(tag, `"`) && strings.Count(tag, `"`) == 2, "%q", tag)
			return false
		})
		require.LessOrEqual(t, n, len(wild)/2)
		if strings.ContainsAny(one+two, `"`) || strings.HasPrefix(one+two, "*") {
			return
		}
		list := `W/"` + one + `" ,,` + "\t" + `"` + two + `"`
		var got []string
		require.False(t, AnyTag(list, func(tag string) bool { got = append(got, tag); return false }))
		require.Equal(t, []string{`W/"` + one + `"`, `"` + two + `"`}, got)
		require.True(t, strongMatch(list, `"`+two+`"`))
		require.Equal(t, one == two, strongMatch(list, `"`+one+`"`), "a weak tag never matches strongly")
		require.True(t, AnyTag(list+`, *`, func(string) bool { return false }))
	})
}

// A date is written and read as the same second, and no other text is that second unless
// net/http says so.
func FuzzDates(f *testing.F) {
	f.Add(int64(1_706_933_106), "Sat, 03 Feb 2024 04:05:06 GMT")
	f.Add(int64(0), "Thu Jan  1 00:00:00 1970")
	f.Add(int64(253402300799), "Saturday, 03-Feb-24 04:05:06 GMT")
	f.Fuzz(func(t *testing.T, sec int64, text string) {
		date := HTTPDate(sec)
		require.Equal(t, date != "", sec >= 0 && sec <= 253402300799)
		if date != "" {
			require.Equal(t, time.Unix(sec, 0).UTC().Format(http.TimeFormat), date)
			require.True(t, SameDate(date, sec))
			require.False(t, SameDate(date, sec+1))
		}
		if SameDate(text, sec) {
			at, err := http.ParseTime(text)
			require.NoError(t, err)
			require.Equal(t, sec, at.Unix())
		}
	})
}
