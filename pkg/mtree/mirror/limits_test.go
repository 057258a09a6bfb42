package mirror

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/fastpath/fastpathtest"
)

// uncopied returns how many entries --status would count as not copied.
func (b *bench) uncopied() int64 {
	b.t.Helper()
	var out bytes.Buffer
	require.NoError(b.t, PrintStatus(&out, b.config.Dest, ""))
	for line := range strings.Lines(out.String()) {
		var n int64
		if _, err := fmt.Sscanf(line, "not copied: %d", &n); err == nil {
			return n
		}
	}
	return 0
}

// names returns the names of the copy's root, each with its size.
func (b *bench) names() string {
	b.t.Helper()
	entries, err := os.ReadDir(b.config.Dest)
	require.NoError(b.t, err)
	var all []string
	for _, e := range entries {
		info, err := e.Info()
		require.NoError(b.t, err)
		if e.Name() != ".tidemark" {
			all = append(all, fmt.Sprintf("%s:%d", e.Name(), info.Size()))
		}
	}
	return strings.Join(all, " ")
}

// age sets the mtime of a file of the source to that long ago, and publishes it.
func (s *tree) age(name string, ago time.Duration) {
	s.t.Helper()
	at := time.Now().Add(-ago)
	require.NoError(s.t, os.Chtimes(s.path(name), at, at))
	s.publish(name)
}

// A limit decides about fetching alone. What the copy has stays until the source has that name no
// more: without a change, and with one by which it is beyond the limit. Other limits reach the whole
// copy, and so does leaving them out.
func TestLimitsOfACopy(t *testing.T) {
	for _, kind := range []string{"HTTP", "local"} {
		t.Run(kind, func(t *testing.T) {
			s, b := overHTTP(t, "small = 1", "fits = 55555", "grows = 55555", "big = "+strings.Repeat("x", 20))
			if kind == "local" {
				b.config.Source, b.server = s.root, nil
			}
			b.config.MinSize, b.config.MaxSize = 2, 10
			require.NoError(t, b.once())
			require.Contains(t, b.out.String(), "fetched 2 files (10 bytes), deleted 0, held 0, skipped 2, failed 0")
			require.Equal(t, "fits:5 grows:5", b.names())
			require.Zero(t, b.uncopied(), "what was never there is left out on purpose")
			b.requireIdle()

			s.change("grows = "+strings.Repeat("g", 11), "fits = 666666", "later = "+strings.Repeat("x", 20))
			require.NoError(t, b.once())
			require.Equal(t, "fits:6 grows:5", b.names(), "the old version stays")
			require.Equal(t, int64(1), b.uncopied(), "and is counted")
			b.requireIdle()
			s.change("fits = 1")
			require.NoError(t, b.once())
			require.Equal(t, "fits:6 grows:5", b.names())
			require.Equal(t, int64(2), b.uncopied())
			require.NoError(t, Verify(t.Context(), Config{Dest: b.config.Dest, Log: b.config.Log, Out: &b.out}, false))
			require.Contains(t, b.out.String(), "older version, left out by --min-size, --max-size or --max-age: \"fits\"\n")

			s.change("grows = 22") // within the limits again
			s.remove("fits")
			require.NoError(t, b.once())
			require.Equal(t, "grows:2", b.names(), "what the source has no more goes")
			require.Zero(t, b.uncopied())
			b.requireIdle()

			b.config.MaxSize = 0
			require.NoError(t, b.once())
			require.Equal(t, "big:20 grows:2 later:20", b.names())
			b.requireIdle()
			b.config.MaxSize = 10
			require.NoError(t, b.once())
			require.Equal(t, "big:20 grows:2 later:20", b.names(), "a limit deletes nothing")
			require.Zero(t, b.uncopied(), "it is as at the source")
			b.requireIdle()
			require.NoError(t, os.Chmod(s.path("big"), 0o600))
			s.publish("big")
			require.NoError(t, b.once())
			info, err := os.Stat(b.path("big"))
			require.NoError(t, err)
			require.Equal(t, os.FileMode(0o600), info.Mode(), "its mode is kept")
			s.forge("big", strings.Repeat("y", 20))
			s.publish("big")
			require.NoError(t, b.once())
			require.Equal(t, strings.Repeat("y", 20), b.read("big"), "size and time say that it is the source's: so must the bytes")
			b.config.MinSize, b.config.MaxSize = 0, 0
			b.equal(s)
			b.requireIdle()
		})
	}
}

// What had the name of a file that is left out has gone at the source. It goes behind the guards.
func TestWhatHadTheNameOfAFileThatIsLeftOut(t *testing.T) {
	s, b := overHTTP(t, "d/f = x", "d/g = x", "l -> d/f", "keep = x")
	b.config.MaxSize = 10
	b.equal(s)
	for _, name := range []string{"d", "l"} {
		require.NoError(t, os.RemoveAll(s.path(name)))
	}
	s.change("d = "+strings.Repeat("x", 20), "l = "+strings.Repeat("x", 20))
	b.config.MaxDelete = "1"
	require.Equal(t, exit.Held, exit.Of(b.once()))
	require.FileExists(t, b.path("d/f"))
	var out bytes.Buffer
	require.NoError(t, Release(t.Context(), Config{Dest: b.config.Dest, Log: b.config.Log, Out: &out}))
	require.NoError(t, b.once())
	require.Equal(t, "keep:1", b.names())
	b.requireIdle()
	require.NoError(t, os.Remove(s.path("d")))
	s.change("d/f = x")
	require.NoError(t, b.once())
	require.NoError(t, os.RemoveAll(s.path("d")))
	s.change("d = " + strings.Repeat("x", 20))
	b.config.NoDelete = true
	require.NoError(t, b.once())
	require.FileExists(t, b.path("d/f"))
}

// A source of which all that is listed is left out deletes no last entry.
func TestARootOfWhichAllIsLeftOut(t *testing.T) {
	s, b := overHTTP(t, "f = x", "g = x")
	b.config.MaxSize = 10
	b.equal(s)
	s.remove("f")
	s.remove("g")
	s.change("big = " + strings.Repeat("x", 20))
	require.Equal(t, exit.Held, exit.Of(b.once()))
	require.Equal(t, "f:1 g:1", b.names())
}

// Nothing moves a stamp when a file grows too old. It stays, whatever else is looked at, it is not
// fetched again when it is lost, and it goes with its name.
func TestFilesThatGrowTooOld(t *testing.T) {
	s, b := overHTTP(t, "d/f = x", "d/old = x", "d/g = x")
	s.age("d/old", 2*time.Hour)
	const limit = time.Hour
	s.age("d/f", limit-time.Second)
	s.age("d/g", limit-time.Second)
	b.config.MaxAge = limit
	require.NoError(t, b.once())
	require.FileExists(t, b.path("d/f"))
	require.NoFileExists(t, b.path("d/old"))
	info, err := os.Stat(b.path("d/f"))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return time.Since(info.ModTime()) > limit }, 5*time.Second, time.Millisecond)
	b.requireIdle()
	for _, name := range []string{"d/new", "d/newer"} {
		s.change(name + " = y")
		require.NoError(t, b.once())
		require.Contains(t, b.out.String(), "fetched 1 files (1 bytes), deleted 0,")
		b.requireIdle()
	}
	again, err := os.Stat(b.path("d/f"))
	require.NoError(t, err)
	require.True(t, os.SameFile(info, again))
	b.config.MaxSize = 100 // a full walk
	require.NoError(t, b.once())
	require.Contains(t, b.out.String(), "fetched 0 files (0 bytes), deleted 0,")
	require.FileExists(t, b.path("d/f"))
	require.Zero(t, b.uncopied())

	require.NoError(t, os.Remove(b.path("d/g")))
	s.change("d/f = changed")
	require.NoError(t, b.once())
	require.Equal(t, "changed", b.read("d/f"), "it is young again")
	require.NoFileExists(t, b.path("d/g"))
	s.age("d/f", 3*time.Hour)
	require.NoError(t, b.once())
	require.Equal(t, int64(1), b.uncopied(), "its time is another, and too old")
	s.remove("d/f")
	require.NoError(t, b.once())
	require.NoFileExists(t, b.path("d/f"))
	b.config.MaxAge = 0
	b.equal(s)
	b.requireIdle()
}

// The mtimes are of the source's clock, and so is the age. By a wrong clock of the copy's machine a file
// would have been too old, and stayed away until the next full walk.
func TestTheAgeOfAFileIsByTheSourcesClock(t *testing.T) {
	s, b := overHTTP(t, "f = x")
	b.config.MaxAge = time.Hour
	b.config.Now = func() mtree.Stamp { return mtree.FromTime(time.Now().AddDate(1, 0, 0)) }
	b.equal(s)
}

// A mirror that keeps running goes by parts, and by the limits in them.
func TestLimitsByParts(t *testing.T) {
	s, b := overHTTP(t, "d/fits = 1", "d/grows = 1")
	b.config.MaxSize = 10
	b.start()
	b.eventually(s)
	s.change("d/grows = "+strings.Repeat("x", 20), "d/big = "+strings.Repeat("x", 20))
	s.change("d/fits = 22")
	require.Eventually(t, func() bool { text, _ := os.ReadFile(b.path("d/fits")); return string(text) == "22" }, 10*time.Second, time.Millisecond)
	require.Eventually(t, func() bool { return b.uncopied() == 1 }, 10*time.Second, 10*time.Millisecond)
	require.NoFileExists(t, b.path("d/big"))
	require.Equal(t, "1", b.read("d/grows"))
	s.remove("d/big")
	s.change("d/grows = 22")
	b.eventually(s)
	require.Eventually(t, func() bool { return b.uncopied() == 0 }, 10*time.Second, 10*time.Millisecond)
}

// A file that grows beyond a limit after it was listed is not fetched either.
func TestAFileThatGrowsBeforeItIsFetched(t *testing.T) {
	s, b := overHTTP(t, "f = x", "g = x")
	b.config.MaxSize = 10
	grown := false
	b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if !grown && !strings.HasSuffix(keyOf(r), "?txt") {
			grown = true
			s.change("f = " + strings.Repeat("x", 20))
		}
		return false
	})
	require.NoError(t, b.once())
	require.True(t, grown)
	require.Equal(t, "g:1", b.names())
	b.requireIdle()
}

// --verify goes by the limits of the copy: with --repair it would fetch what they leave out.
func TestLimitsOfACopyAreRecalled(t *testing.T) {
	s, b := overHTTP(t, "fits = 1", "big = "+strings.Repeat("x", 20), "empty =", "old = 1")
	s.age("old", 2*time.Hour)
	b.config.MinSize, b.config.MaxSize, b.config.MaxAge = 1, 10, time.Hour
	require.NoError(t, b.once())
	require.NoError(t, os.WriteFile(b.path("fits"), []byte("2"), 0o644))
	info, err := os.Stat(s.path("fits"))
	require.NoError(t, err)
	require.NoError(t, os.Chtimes(b.path("fits"), time.Time{}, info.ModTime()))
	for _, repair := range []bool{false, true} {
		b.out.Reset()
		err := Verify(t.Context(), Config{Dest: b.config.Dest, Log: b.config.Log, Out: &b.out}, repair)
		require.Equal(t, repair, err == nil)
		require.Contains(t, b.out.String(), ", 1 differ\n")
	}
	require.Equal(t, "fits:1", b.names())
	require.Equal(t, "1", b.read("fits"))
	b.requireIdle()
}

// Limits that no file meets are refused before anything is made.
func TestLimitsThatAreRefused(t *testing.T) {
	_, b := overHTTP(t, "f = x")
	b.config.MinSize, b.config.MaxSize = 2, 1
	require.Equal(t, exit.Usage, exit.Of(b.once()))
	require.NoDirExists(t, b.config.Dest)
}

// rough is a server whose listing rounds sizes, or gives none, and that says the length of a file or not.
type rough struct {
	*fastpathtest.Server
	listed  string // the size in the listing
	size    int
	date    time.Time
	chunked bool
	sent    int
	mu      *sync.Mutex // guards it all: an answer that is broken off ends later
}

func (s *rough) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	size, date, listed := s.size, s.date, s.listed
	s.mu.Unlock()
	if r.URL.Path == "/" {
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprintf(w, "<html><head><title>Index of /</title></head><body><pre>\n<a href=\"f\">f</a> %s %s\n</pre></body></html>\n",
			date.UTC().Format("2006-01-02 15:04"), listed)
		return
	}
	w.Header().Set("Last-Modified", date.UTC().Format(http.TimeFormat))
	if !s.chunked {
		w.Header().Set("Content-Length", fmt.Sprint(size))
	}
	if r.Method == http.MethodHead {
		return
	}
	for left := size; left > 0; left -= 1000 {
		n, err := w.Write(bytes.Repeat([]byte("x"), min(left, 1000)))
		s.mu.Lock()
		s.sent += n
		s.mu.Unlock()
		if err != nil {
			return
		}
		_ = http.NewResponseController(w).Flush()
	}
}

// Another server's listing may leave open whether a file is within the limits. Then the answer decides,
// each time, and nothing fails.
func TestWhatOnlyTheAnswerTells(t *testing.T) {
	hour := time.Now().Add(-time.Hour)
	for name, c := range map[string]struct {
		server rough
		change func(c *Config)
		want   string
		asks   bool
	}{
		"too large for sure":       {rough{listed: "20K", size: 20 << 10, date: hour}, func(c *Config) { c.MaxSize = 10 << 10 }, "", false},
		"too small for sure":       {rough{listed: "20K", size: 20 << 10, date: hour}, func(c *Config) { c.MinSize = 30 << 10 }, "", false},
		"too old for sure":         {rough{listed: "20K", size: 20 << 10, date: hour.AddDate(0, 0, -2)}, func(c *Config) { c.MaxAge = 24 * time.Hour }, "", false},
		"just too large":           {rough{listed: "20K", size: 20<<10 + 1, date: hour}, func(c *Config) { c.MaxSize = 20 << 10 }, "", true},
		"just not too large":       {rough{listed: "20K", size: 20 << 10, date: hour}, func(c *Config) { c.MaxSize = 20 << 10 }, "f:20480", true},
		"just too small":           {rough{listed: "20K", size: 20<<10 - 1, date: hour}, func(c *Config) { c.MinSize = 20 << 10 }, "", true},
		"just too old":             {rough{listed: "20K", size: 20 << 10, date: hour}, func(c *Config) { c.MaxAge = 50 * time.Minute }, "", true},
		"no size":                  {rough{listed: "-", size: 30 << 10, date: hour}, func(c *Config) { c.MaxSize = 20 << 10 }, "", true},
		"no length, too large":     {rough{listed: "-", size: 40 << 20, date: hour, chunked: true}, func(c *Config) { c.MaxSize = 20 << 10 }, "", true},
		"no length, too small":     {rough{listed: "-", size: 10, date: hour, chunked: true}, func(c *Config) { c.MinSize = 20 }, "", true},
		"no length, neither":       {rough{listed: "-", size: 20, date: hour, chunked: true}, func(c *Config) { c.MinSize, c.MaxSize = 20, 20 }, "f:20", true},
		"a limit that is far away": {rough{listed: "-", size: 20, date: hour, chunked: true}, func(c *Config) { c.MaxAge = 240 * time.Hour }, "f:20", true},
	} {
		t.Run(name, func(t *testing.T) {
			s := c.server
			s.mu = &sync.Mutex{}
			s.Server = fastpathtest.NewServer(t, &s)
			t.Cleanup(s.Close)
			b := newBench(t, s.URL)
			c.change(&b.config)
			for range 2 {
				require.NoError(t, b.once())
				require.Equal(t, c.want, b.names())
				if c.want == "" {
					require.Contains(t, b.out.String(), "skipped 1, failed 0")
				}
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			require.Equal(t, c.asks, s.sent > 0)
			require.Less(t, s.sent, 30<<20, "it is not read to its end")
			if c.want != "" { // it grows beyond the limit: what the copy has stays, and is counted
				if s.size, s.date = 90<<20, time.Now(); s.listed != "-" {
					s.listed = "90M"
				}
				if b.config.MaxSize > 0 {
					s.mu.Unlock()
					defer s.mu.Lock()
					require.NoError(t, b.once())
					require.Equal(t, c.want, b.names())
					require.Equal(t, int64(1), b.uncopied())
				}
			}
		})
	}
}
