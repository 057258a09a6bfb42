package mirror

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/internal/fastpath/fastpathtest"
)

// zoned is a server that lists whole minutes in its own time zone, as Apache and nginx do
// if they are configured so.
type zoned struct {
	*fastpathtest.Server
	zone    time.Duration
	behind  time.Duration        // its clock, as its Date says
	undated string               // files with this suffix have no Last-Modified, as with lighttpd
	files   map[string]time.Time // all of one size
	asked   []string
}

func startZoned(t *testing.T, zone time.Duration) *zoned {
	z := &zoned{zone: zone, undated: ".odd", files: map[string]time.Time{}}
	z.Server = fastpathtest.NewServer(t, z)
	t.Cleanup(z.Close)
	return z
}

func (z *zoned) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Date", time.Now().Add(-z.behind).UTC().Format(http.TimeFormat))
	if r.URL.Path == "/" {
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprint(w, "<html><head><title>Index of /</title></head><body><pre>\n")
		for name, at := range z.files {
			_, _ = fmt.Fprintf(w, "<a href=\"%s\">%s</a> %s 10\n", name, name, at.UTC().Add(z.zone).Format("2006-01-02 15:04"))
		}
		_, _ = fmt.Fprint(w, "</pre></body></html>\n")
		return
	}
	name := strings.TrimPrefix(r.URL.Path, "/")
	at, is := z.files[name]
	if !is {
		http.NotFound(w, r)
		return
	}
	z.asked = append(z.asked, r.Method+" "+name)
	if strings.HasSuffix(name, z.undated) {
		at = time.Time{}
		_, _ = fmt.Fprintf(w, "%010d", z.files[name].Unix())
		return
	}
	http.ServeContent(w, r, "f.bin", at, strings.NewReader(fmt.Sprintf("%010d", at.Unix())))
}

// asks runs a pass and returns the requests that were not for listings.
func (z *zoned) asks(t *testing.T, b *bench) []string {
	t.Helper()
	z.asked = nil
	require.NoError(t, b.once())
	return z.asked
}

// A file that is rewritten every hour, or every quarter of an hour, with the same size is
// not taken for an old one that is listed in another zone, whatever the zone of the server
// is. For files that did not change there is one request a month, for a date.
func TestFilesRewrittenByTheClock(t *testing.T) {
	for _, zone := range []time.Duration{0, time.Hour, -9*time.Hour - 30*time.Minute} {
		z := startZoned(t, zone)
		at := time.Date(2024, 2, 3, 4, 0, 1, 0, time.UTC)
		for _, name := range []string{"hourly", "a", "b", "c", "d"} {
			z.files[name] = at
		}
		z.files["summer"] = at.AddDate(0, 5, 0)
		b := newBench(t, z.URL)
		require.Len(t, z.asks(t, b), 6)
		still := 0
		if zone != 0 {
			still = 2 // the dates of one file of each month
		}
		require.Len(t, z.asks(t, b), still)
		for hour := range 3 {
			z.files["hourly"] = at.Add(time.Duration(hour+1) * time.Hour)
			asked := z.asks(t, b)
			require.Contains(t, asked, "GET hourly", "zone %s, hour %d", zone, hour)
			require.LessOrEqual(t, len(asked), 4, "%q", asked) // two for the zone, HEAD and GET of the file
			require.Equal(t, fmt.Sprintf("%010d", z.files["hourly"].Unix()), b.read("hourly"))
			info, err := os.Stat(b.path("hourly"))
			require.NoError(t, err)
			require.True(t, info.ModTime().Equal(z.files["hourly"]))
		}
		require.Len(t, z.asks(t, b), still)
	}
}

// Files without a date get the time that is listed, without the offset of the zone once
// another file has shown it, and are not fetched again and again.
func TestFilesWithoutADate(t *testing.T) {
	for _, zone := range []time.Duration{0, time.Hour, 9 * time.Hour} {
		z := startZoned(t, zone)
		now := time.Now().Add(-5 * time.Minute).Truncate(time.Minute) // old enough
		z.files["a.odd"], z.files["b.odd"] = now, now.Add(-time.Hour)
		b := newBench(t, z.URL)
		require.Len(t, z.asks(t, b), 2)
		z.files["c"] = now.AddDate(0, 0, -1)
		for range 3 {
			z.asks(t, b)
		}
		require.LessOrEqual(t, len(z.asks(t, b)), 3, "%q: HEAD at most", z.asked)
		require.NotContains(t, strings.Join(z.asked, " "), "GET", "zone %s", zone)
		z.files["d.odd"] = now.Add(-2 * time.Hour)
		z.asks(t, b)
	}
}

// A file with a date in the future is not taken for one that was just written.
func TestAFutureDateIsNotYoung(t *testing.T) {
	z := startZoned(t, 0)
	z.files["later"] = time.Now().Add(24 * time.Hour)
	z.files["now"] = time.Now()
	b := newBench(t, z.URL)
	require.Len(t, z.asks(t, b), 2)
	require.NotContains(t, z.asks(t, b), "GET later")
}

// The clock of a server was two minutes behind ours. A file that was fetched some seconds after it
// was written was two minutes old by our clock: what was written into it within the minute that is
// listed, by its name and size, never came.
func TestAServerWithAnotherClock(t *testing.T) {
	for _, behind := range []time.Duration{2 * time.Minute, 2 * time.Hour, -30 * time.Minute, 0} {
		z := startZoned(t, 0)
		z.behind = behind
		at := time.Now().Add(-behind - 5*time.Second).Truncate(time.Second)
		z.files["f"], z.files["old"] = at, at.Add(-3*time.Hour)
		b := newBench(t, z.URL)
		require.Len(t, z.asks(t, b), 2)
		z.files["f"] = at.Add(time.Second)
		asked := z.asks(t, b)
		require.Contains(t, asked, "GET f", "behind by %s", behind)
		require.NotContains(t, asked, "GET old", "behind by %s", behind)
		require.Equal(t, fmt.Sprintf("%010d", at.Unix()+1), b.read("f"))
	}
}

// lighttpd sends neither date nor ETag with a file of a type that it does not know. Its sum was refused, and
// with it that of every file: no --verify went through, and a directory whose files are compared by
// their sums (after a power cut, or when its record was lost) was never complete again.
func TestSumsOfFilesWithoutADate(t *testing.T) {
	z := startZoned(t, time.Hour)
	at := time.Date(2024, 2, 3, 4, 5, 0, 0, time.UTC)
	z.files["a.odd"], z.files["b"] = at, at
	b := newBench(t, z.URL)
	require.NoError(t, b.once())
	require.NoError(t, Verify(t.Context(), b.config, false))
	is, err := os.Stat(b.path("a.odd"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(b.path("a.odd"), []byte("0123456789"), 0o644))
	require.NoError(t, os.Chtimes(b.path("a.odd"), is.ModTime(), is.ModTime()))
	require.ErrorContains(t, Verify(t.Context(), b.config, false), "1 paths differ")
	require.NoError(t, Verify(t.Context(), b.config, true))
	require.Equal(t, fmt.Sprintf("%010d", at.Unix()), b.read("a.odd"))
}
