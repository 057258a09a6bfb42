package webpage

import (
	"bytes"
	"encoding/xml"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What comes from a tree or another machine cannot become markup, and a page runs and loads nothing.
func TestPageEscapes(t *testing.T) {
	p := New("p", `<p title="{{.}}">{{.}}</p><a href="{{.}}">x</a>`)
	var out bytes.Buffer
	require.NoError(t, p.Write(&out, Frame{Title: `</title><script>alert(1)</script>`, Refresh: 5}, `"><script>alert(2)</script>`))
	require.NotContains(t, out.String(), "<script")
	require.Contains(t, out.String(), `<meta http-equiv="refresh" content="5">`)
	require.Contains(t, out.String(), "<style>"+Style, "the style is what the policy allows, to the letter")
	out.Reset()
	require.NoError(t, p.Write(&out, Frame{}, "javascript:alert(3)"))
	require.NotContains(t, out.String(), `href="javascript:`)
	require.NotContains(t, out.String(), "http-equiv")
	require.Contains(t, Policy(), "default-src 'none'")
	require.NotContains(t, Policy(), "unsafe")
	require.NotContains(t, Policy(), "script-src")
	require.Error(t, New("q", `{{.Missing}}`).Write(&out, Frame{}, 1))
}

// A browser's page of a refusal had the bytes of the path that was asked for, escape sequences too.
func TestPagesHaveNothingThatATerminalObeys(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, New("p", "<b>{{.}}</b>\n\t<i>{{number 12345}}</i>").Write(&out, Frame{Title: "\a"}, "/\x1b[31m\u009b\u202e\xff\u00e9"))
	require.Contains(t, out.String(), "<b>/\ufffd[31m\ufffd\ufffd\ufffd\u00e9</b>\n\t<i>12\u202f345</i>")
	require.NotContains(t, out.String(), "\a")
	require.Contains(t, out.String(), "<style>"+Style)
}

func TestWords(t *testing.T) {
	for n, want := range map[int64]string{-5: "0 bytes", 0: "0 bytes", 1: "1 byte", 1023: "1023 bytes", 1536: "1.5 KiB", 5 << 30: "5.0 GiB", math.MaxInt64: "8.0 EiB"} {
		require.Equal(t, want, Bytes(n))
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1 000", 1234567: "1 234 567", -1234: "-1 234"} {
		require.Equal(t, want, strings.ReplaceAll(Number(n), "\u202f", " "))
	}
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 250 * time.Millisecond: "250ms", time.Microsecond: "1ms", 2500 * time.Millisecond: "2.5s", 8 * time.Second: "8s", 9996 * time.Millisecond: "10s", 59600 * time.Millisecond: "1m",
		310 * time.Second: "5m 10s", time.Hour: "1h", 65 * time.Minute: "1h 5m", 76 * time.Hour: "3d 4h",
	} {
		require.Equal(t, want, Span(d), d)
	}
	now := time.Unix(1000, 0)
	require.Equal(t, "10s ago", Ago(now, time.Unix(990, 0)))
	require.Equal(t, "in 10s", Ago(now, time.Unix(1010, 0)))
	require.Equal(t, []string{"1 file", "2 files", "0 files"}, []string{Noun(1, "file", "files"), Noun(2, "file", "files"), Noun(0, "file", "files")})
}

// known returns the values of a series that are known, by their place.
func known(s *Series, now time.Time) map[int]float64 {
	out := map[int]float64{}
	for i, v := range s.Values(now) {
		if !math.IsNaN(v) {
			out[i] = v
		}
	}
	return out
}

func at(sec int64) time.Time { return time.Unix(sec, 0) }

func TestSeriesAdds(t *testing.T) {
	s := NewSeries(10*time.Second, 4)
	require.Empty(t, known(s, at(1000)))
	s.Add(at(1000), 1)
	s.Add(at(1009), 2)
	s.Add(at(1010), 4)
	require.Equal(t, map[int]float64{2: 3, 3: 4}, known(s, at(1019)))
	s.Add(at(1000), 1)
	require.Equal(t, map[int]float64{1: 4, 2: 4}, known(s, at(1020)), "an interval that is not the last")
	s.Add(at(1040), 8)
	require.Equal(t, map[int]float64{0: 4, 3: 8}, known(s, at(1040)), "nothing is known of what was between")
	s.Add(at(900), 16)
	require.Equal(t, map[int]float64{0: 4, 3: 8}, known(s, at(1040)), "too long ago")
	require.Equal(t, map[int]float64{0: 8}, known(s, at(1070)))
	require.Empty(t, known(s, at(1080)))
	s.Add(at(9000), 1)
	require.Equal(t, map[int]float64{3: 1}, known(s, at(9000)), "after a long time nothing old comes back")
}

// What gets older until it is told anew has in each interval the age that it had at most.
func TestSeriesRamps(t *testing.T) {
	s := NewSeries(10*time.Second, 5)
	s.Ramp(at(1000), at(1000), at(1025))
	require.Equal(t, map[int]float64{2: 10, 3: 20, 4: 25}, known(s, at(1025)))
	s.Ramp(at(1025), at(1025), at(1031))
	require.Equal(t, map[int]float64{1: 10, 2: 20, 3: 25, 4: 6}, known(s, at(1031)), "the highest of an interval stays")
	copied := s.Clone()
	copied.Ramp(at(1031), at(1031), at(1049))
	require.Equal(t, map[int]float64{0: 20, 1: 25, 2: 9, 3: 18}, known(copied, at(1050)))
	require.Equal(t, map[int]float64{1: 10, 2: 20, 3: 25, 4: 6}, known(s, at(1031)), "a clone is apart")
	s.Ramp(at(1040), at(1031), at(1035))
	require.Equal(t, 6.0, known(s, at(1031))[4], "ahead of the clock is no age")
	s.Ramp(at(1000), at(1040), at(1040))
	require.Equal(t, 6.0, known(s, at(1031))[4], "a ramp without a length")
	edge := NewSeries(10*time.Second, 5)
	edge.Ramp(at(1000), at(1000), at(1010))
	require.Equal(t, map[int]float64{3: 10}, known(edge, at(1010)), "an interval that begins at its end is not in it")
	long := NewSeries(time.Second, 10)
	long.Ramp(at(0), at(0), at(1_000_000_000))
	require.Len(t, known(long, at(999_999_999)), 10)
}

// A plot is well-formed, names what it shows, and has a gap where nothing is known.
func TestPlot(t *testing.T) {
	nan := math.NaN()
	p := Plot{Title: `<lag> & "age"`, Values: []float64{nan, 1, 3, nan, 0, nan}, Step: 10 * time.Minute, Unit: func(v float64) string { return Span(time.Duration(v * 1e9)) }}
	svg := string(p.SVG())
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		_, err := d.Token()
		if err == io.EOF {
			break
		}
		require.NoError(t, err, svg)
	}
	require.Equal(t, 2, strings.Count(svg, "<path "), "two runs of known values")
	require.Contains(t, svg, `aria-label="&lt;lag&gt; &amp; &#34;age&#34; of the last 1h: 3s at most"`)
	require.Contains(t, svg, ">5s<", "the top of the scale is a round number")
	require.Contains(t, svg, ">1h ago<")
	require.NotContains(t, svg, "NaN")
	require.NotContains(t, svg, "style=", "the policy would not allow it")
	none := Plot{Title: "lag", Values: []float64{nan}, Step: time.Second, Unit: p.Unit}
	require.Contains(t, string(none.SVG()), "nothing is known yet")
	require.NotContains(t, string((&Plot{Title: "none", Unit: p.Unit}).SVG()), "NaN")
	p.Tops = []float64{2, 60}
	require.Contains(t, string(p.SVG()), ">1m<")
	p.Values = []float64{61}
	require.Contains(t, string(p.SVG()), ">1m 40s<")
	for v, want := range map[float64]string{0.254: "0.25", 3: "3", 99.5: "99.5", 1500.4: "1\u202f500"} {
		require.Equal(t, want, Rounded(v))
	}
	for v, want := range map[float64]float64{0: 1, 0.3: 0.5, 1: 1, 1.1: 2, 4: 5, 7: 10, 45: 50, 500: 500, 501: 1000} {
		require.InDelta(t, want, ceiling(v), 1e-9)
	}
}
