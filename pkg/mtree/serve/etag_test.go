package serve_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/serve"
	"tidemark/pkg/mtree/wire"
)

// The headers of a listing, and of its 304.
func TestListingHeaders(t *testing.T) {
	s := publishWatched(t, serve.Config{}, map[string]string{"a": "1"})
	stamp := mtree.FromTime(past).String()
	a := s.get("/?txt")
	tag := a.Header.Get("ETag")
	require.Regexp(t, `^W/"`+stamp+`-txt-[0-9a-f]{6}"$`, tag)
	want := map[string]string{
		"Last-Modified":    "Sat, 03 Feb 2024 04:05:06 GMT",
		"ETag":             tag,
		"Tidemark-Stamp":   stamp,
		"Tidemark-Tree":    treeID,
		"Tidemark-Epoch":   "7",
		"Tidemark-State":   "watched",
		"Accept-Ranges":    "none",
		"Vary":             "Accept-Encoding",
		"Cache-Control":    "public, max-age=0, s-maxage=1, stale-while-revalidate=0",
		"Tidemark-Version": "1",

		"X-Content-Type-Options": "nosniff",
	}
	again := s.get("/?txt", "If-None-Match", tag)
	require.Equal(t, 304, again.StatusCode)
	for key, value := range want {
		require.Equal(t, value, a.Header.Get(key), key)
		require.Equal(t, value, again.Header.Get(key), "304: "+key)
	}
	require.Regexp(t, `^\d+\.\d{9}$`, a.Header.Get("Tidemark-Now"))
	require.Contains(t, a.Header.Get("Content-Security-Policy"), "default-src 'none'")
	negotiated := s.get("/")
	require.Equal(t, "private, max-age=0", negotiated.Header.Get("Cache-Control"))
	for _, field := range []string{"Accept-Encoding", "Accept", "User-Agent"} {
		require.Contains(t, negotiated.Header.Get("Vary"), field)
	}
}

// HEAD and 304 never read the directory and carry no Content-Length; GET has one.
func TestHeadReadsNothing(t *testing.T) {
	s := publishWatched(t, serve.Config{Stats: &serve.Stats{}}, map[string]string{"a": "1"})
	reads := &s.cfg.Stats.Listings
	head := s.do(http.MethodHead, "/?txt", nil)
	require.Equal(t, 200, head.StatusCode)
	require.Equal(t, int64(-1), head.ContentLength)
	require.Equal(t, 304, s.get("/?txt", "If-None-Match", head.Header.Get("ETag")).StatusCode)
	require.Empty(t, s.do(http.MethodHead, "/?json", nil).Header.Get("ETag"), "not known yet whether it has symlinks")
	require.Zero(t, reads.Load())
	for _, target := range []string{"/?txt", "/?json"} {
		get := s.get(target)
		require.Equal(t, int64(len(get.body)), get.ContentLength)
		read := reads.Load()
		head := s.do(http.MethodHead, target, nil)
		for _, key := range []string{"ETag", "Last-Modified", "Content-Type", "Vary", "Cache-Control", "Tidemark-Stamp"} {
			require.NotEmpty(t, head.Header.Get(key), key)
			require.Equal(t, get.Header.Get(key), head.Header.Get(key), key)
		}
		require.Equal(t, 304, s.get(target, "If-None-Match", head.Header.Get("ETag")).StatusCode)
		require.Equal(t, 304, s.get(target, "If-Modified-Since", head.Header.Get("Last-Modified")).StatusCode)
		require.Equal(t, read, reads.Load())
	}
	require.EqualValues(t, 2, reads.Load())
}

// The first conditional request for a page after a start finds out that there
// are no symlinks, and is answered by the stamp already.
func TestPageIsConfirmedAfterARestart(t *testing.T) {
	for _, state := range []wire.State{wire.Watched, wire.Auditing} { // with the cache and without
		root := t.TempDir()
		watched(t, root, state)
		for _, header := range [][2]string{{"If-None-Match", "ETag"}, {"If-Modified-Since", "Last-Modified"}} {
			s := &site{T: t, root: root, cfg: serve.Config{Root: root, Stats: &serve.Stats{}}}
			s.write("a", "1")
			s.stamp("", mtree.FromTime(past))
			s.start()
			value := s.get("/?html").Header.Get(header[1])
			s.start()
			a := s.get("/?html", header[0], value)
			require.Equal(t, 304, a.StatusCode)
			require.Empty(t, a.Header.Get("Content-Type"))
			require.EqualValues(t, 2, s.cfg.Stats.Listings.Load())
		}
	}
}

// The fingerprint in the ETag: tree id, epoch and every option that alters a listing; in a
// copy also the source's fingerprint with which it is complete. Not the version of the
// program: each upgrade of serve made every mirror walk its whole tree.
func TestTagFollowsOptions(t *testing.T) {
	base := publishWatched(t, serve.Config{}, map[string]string{"a": "1"})
	seen := map[string]string{}
	for name, cfg := range map[string]serve.Config{
		"none": {}, "hidden": {Hidden: true}, "owner": {Owner: true}, "exclude": {Exclude: []string{"*.o"}},
		"mounts": {CrossMounts: true},
	} {
		cfg.Root = base.root
		s := &site{T: t, root: cfg.Root, cfg: cfg}
		s.start()
		tag := s.get("/?txt").Header.Get("ETag")
		require.Empty(t, seen[tag], name)
		seen[tag] = name
		require.Equal(t, tag, s.get("/?txt").Header.Get("ETag"))
	}
	later := &site{T: t, root: base.root, cfg: serve.Config{Root: base.root, Version: "2"}}
	later.start()
	require.Equal(t, "none", seen[later.get("/?txt").Header.Get("ETag")])
	before := base.get("/?txt").Header.Get("ETag")
	base.alterTree(func(tree *state.Tree) { tree.Epoch++ })
	require.Eventually(t, func() bool { return base.get("/?txt").Header.Get("Tidemark-Epoch") == "8" }, 5*time.Second, 10*time.Millisecond)
	require.Equal(t, 200, base.get("/?txt", "If-None-Match", before).StatusCode)
}

// If-None-Match: lists, *, weak comparison, codings; it wins over the date.
func TestIfNoneMatch(t *testing.T) {
	s := publishWatched(t, serve.Config{}, map[string]string{"a": "1"})
	a := s.get("/?txt")
	tag, date := a.Header.Get("ETag"), a.Header.Get("Last-Modified")
	inner := strings.Trim(tag, `W/"`)
	tag = `"` + inner + `"` // as a cache that makes it strong
	for tags, status := range map[string]int{
		tag: 304, "W/" + tag: 304, "*": 304, `"x", ` + tag: 304, `"x",W/"y" , W/` + tag: 304,
		`"` + inner + `-gzip"`: 304, `W/"` + inner + `-gzip-gzip"`: 304, `"` + inner + `;gzip"`: 304,
		`"x"`: 200, inner: 200, `"` + inner: 200, `"` + inner + `-hot"`: 200, `"`: 200,
		strings.Replace(tag, "-txt-", "-json-", 1): 200,
	} {
		require.Equal(t, status, s.get("/?txt", "If-None-Match", tags).StatusCode, tags)
	}
	require.Equal(t, 200, s.get("/?txt", "If-None-Match", `"x"`, "If-Modified-Since", date).StatusCode)
}

// If-Modified-Since on a directory: 304 on exact equality only.
func TestIfModifiedSince(t *testing.T) {
	s := publishWatched(t, serve.Config{}, map[string]string{"a": "1"})
	for date, status := range map[string]int{
		"Sat, 03 Feb 2024 04:05:06 GMT": 304,
		"Sat, 03 Feb 2024 04:05:07 GMT": 200,
		"Sat, 03 Feb 2024 04:05:05 GMT": 200,
		"yesterday":                     200,
	} {
		require.Equal(t, status, s.get("/?txt", "If-Modified-Since", date).StatusCode, date)
		want := status
		if date == "Sat, 03 Feb 2024 04:05:07 GMT" {
			want = 200 // as nginx: equality, not order
		}
		require.Equal(t, want, s.get("/a", "If-Modified-Since", date).StatusCode, "file "+date)
	}
}

// Last-Modified of a directory is held back: never a second that can still
// change; and while it is, no date gives a 304.
func TestHeldBackDate(t *testing.T) {
	now := mtree.Unix(1_700_000_000, 500_000_000)
	s := publishWatched(t, serve.Config{Now: func() mtree.Stamp { return now }}, map[string]string{"a": "1"})
	for _, test := range []struct {
		mtime mtree.Stamp
		sec   int64
		held  bool
	}{
		{mtree.Unix(1_699_999_998, 999_999_999), 1_699_999_998, false},
		{mtree.Unix(1_699_999_999, 0), 1_699_999_999, false},
		{mtree.Unix(1_700_000_000, 0), 1_699_999_999, true},
		{mtree.Unix(1_800_000_000, 0), 1_699_999_999, true},
	} {
		s.stamp("", test.mtime)
		a := s.get("/?txt")
		date := time.Unix(test.sec, 0).UTC().Format(http.TimeFormat)
		require.Equal(t, date, a.Header.Get("Last-Modified"))
		status := 304
		if test.held {
			status = 200
		}
		require.Equal(t, status, s.get("/?txt", "If-Modified-Since", date).StatusCode, test.mtime)
	}
	now = mtree.Unix(1_700_000_000, 10_000_000) // the clock's own lag counts
	s.stamp("", mtree.Unix(1_699_999_999, 0))
	require.Equal(t, time.Unix(1_699_999_998, 0).UTC().Format(http.TimeFormat), s.get("/?txt").Header.Get("Last-Modified"))
}

// A directory may get two stamps of one second long after it: a copy always, a source where a batch took
// long. Its date was the same, so whoever had the first kept it: wget -m, and caches that go by dates.
func TestADateOfASecondWithTwoStamps(t *testing.T) {
	sec, _ := machine.Now().Unix()
	for state, times := range map[wire.State][2]mtree.Stamp{
		wire.Mirrored: {mtree.Unix(1_700_000_000, 2), mtree.Unix(1_700_000_000, 8)},
		wire.Watched:  {mtree.Unix(sec-10, 2), mtree.Unix(sec-10, 8)},
	} {
		t.Run(string(state), func(t *testing.T) {
			root := t.TempDir()
			watched(t, root, state)
			s := &site{T: t, root: root, cfg: serve.Config{Root: root}}
			s.start()
			stampAs := func(stamp mtree.Stamp) {
				dir, err := disk.OpenRoot(root)
				require.NoError(t, err)
				defer dir.Close()
				require.NoError(t, dir.SetTime(stamp))
				require.NoError(t, records.Set(dir, records.Record{Stamp: stamp, Now: machine.Now()}))
			}
			stampAs(times[0])
			first := s.get("/?txt")
			require.Equal(t, times[0].String(), first.Header.Get("Tidemark-Stamp"))
			require.NotContains(t, first.Header.Get("ETag"), "hot")
			date := first.Header.Get("Last-Modified")
			stampAs(times[1])
			for _, target := range []string{"/?txt", "/?html", "/?html"} { // the first page finds that there are no symlinks
				require.Equal(t, date, s.get(target).Header.Get("Last-Modified"))
				require.Equal(t, 200, s.get(target, "If-Modified-Since", date).StatusCode, target)
			}
			require.Equal(t, 200, s.get("/?txt", "If-None-Match", first.Header.Get("ETag")).StatusCode)
			require.Equal(t, 304, s.get("/?txt", "If-None-Match", s.get("/?txt").Header.Get("ETag")).StatusCode)
		})
	}
}

// A stamp that was given within its own second is the last one of it: its date proves it, as soon as it
// is not held back.
func TestADateOfAStampOfItsSecond(t *testing.T) {
	s := publishWatched(t, serve.Config{}, map[string]string{"a": "1"})
	require.Eventually(t, func() bool { // both times in one second
		stamp := machine.Now()
		s.stamp("", stamp)
		info, err := os.Stat(s.root)
		require.NoError(t, err)
		sec, _ := stamp.Unix()
		return info.Sys().(*syscall.Stat_t).Ctim.Sec == sec
	}, longest, time.Millisecond)
	date := s.list("/").Stamp.Time().UTC().Format(http.TimeFormat)
	require.Eventually(t, func() bool { return s.get("/?txt").Header.Get("Last-Modified") == date }, longest, 50*time.Millisecond)
	require.Equal(t, 304, s.get("/?txt", "If-Modified-Since", date).StatusCode)
}

// Where stamps prove nothing the ETag is a hash of the body and the date is
// ignored: else an unwatched tree would answer 304 for ever.
func TestUnwatchedNeverStale(t *testing.T) {
	for _, format := range []string{"txt", "json", "html"} {
		s := publish(t, serve.Config{Stats: &serve.Stats{}}, map[string]string{"a": "1", "l": "-> a"})
		a := s.get("/?" + format)
		require.Equal(t, "unwatched", a.Header.Get("Tidemark-State"))
		require.Empty(t, a.Header.Get("Tidemark-Tree"))
		tag, date := a.Header.Get("ETag"), a.Header.Get("Last-Modified")
		require.NotContains(t, tag, a.Header.Get("Tidemark-Stamp"))
		require.Equal(t, 304, s.get("/?"+format, "If-None-Match", tag).StatusCode)
		require.Equal(t, 200, s.get("/?"+format, "If-Modified-Since", date).StatusCode)
		require.Empty(t, s.do(http.MethodHead, "/?"+format, nil).Header.Get("ETag"))
		// A change in place, and the directory's mtime says nothing of it.
		require.NoError(t, os.WriteFile(s.path("a"), []byte("22"), 0o644))
		b := s.get("/?"+format, "If-None-Match", tag)
		require.Equal(t, 200, b.StatusCode)
		require.Equal(t, date, b.Header.Get("Last-Modified"))
		require.NotEqual(t, tag, b.Header.Get("ETag"))
	}
}

// In every state but those in which stamps prune, the hash decides.
func TestStatesDecideValidators(t *testing.T) {
	for state, prunes := range map[wire.State]bool{
		wire.Watched: true, wire.Auditing: true, wire.Degraded: false, wire.Mirrored: true, wire.Filling: false,
	} {
		root := t.TempDir()
		watched(t, root, state)
		s := &site{T: t, root: root, cfg: serve.Config{Root: root}}
		s.start()
		a := s.get("/?txt")
		require.Equal(t, string(state), a.Header.Get("Tidemark-State"))
		stamped := strings.Contains(a.Header.Get("ETag"), a.Header.Get("Tidemark-Stamp"))
		require.Equal(t, prunes, stamped, state)
	}
}

// A watcher that stops is noticed, and stamps go on to prune by the checkpoint.
func TestStateChangesAreSeen(t *testing.T) {
	root := t.TempDir()
	release := watched(t, root, wire.Watched)
	s := &site{T: t, root: root, cfg: serve.Config{Root: root}}
	s.start()
	require.Equal(t, "watched", s.get("/?txt").Header.Get("Tidemark-State"))
	require.False(t, s.h.NeverWatched())
	release()
	require.Eventually(t, func() bool { return s.get("/?txt").Header.Get("Tidemark-State") == "audited" }, 5*time.Second, 10*time.Millisecond)
}

// A copy's directory that is unfinished is hot: a weak tag that no 304 ever
// confirms.
func TestUnfinishedIsHot(t *testing.T) {
	root := t.TempDir()
	require.NoError(t, os.Mkdir(root+"/d", 0o755))
	watched(t, root, wire.Mirrored)
	s := &site{T: t, root: root, cfg: serve.Config{Root: root}}
	s.start()
	a := s.get("/d/?txt")
	require.Regexp(t, `^W/".*-txt-[0-9a-f]{6}-hot"$`, a.Header.Get("ETag"))
	require.True(t, s.list("/d/").Hot)
	require.Equal(t, 200, s.get("/d/?txt", "If-None-Match", a.Header.Get("ETag")).StatusCode)
	require.Equal(t, 200, s.get("/d/?txt", "If-Modified-Since", a.Header.Get("Last-Modified")).StatusCode)
	require.Equal(t, a.Header.Get("ETag"), s.do(http.MethodHead, "/d/?txt", nil).Header.Get("ETag"))

	dir, err := disk.OpenRoot(root + "/d")
	require.NoError(t, err)
	defer dir.Close()
	info, err := dir.Self()
	require.NoError(t, err)
	if err := records.Set(dir, records.Record{Stamp: info.MTime, Now: info.MTime}); err == nil {
		b := s.get("/d/?txt", "If-None-Match", a.Header.Get("ETag"))
		require.Equal(t, 200, b.StatusCode, "what was hot is not what is complete")
		require.Regexp(t, `^W/"[0-9.]*-txt-[0-9a-f]{6}"$`, b.Header.Get("ETag"))
		require.Equal(t, 304, s.get("/d/?txt", "If-None-Match", b.Header.Get("ETag")).StatusCode)
	} else {
		t.Fatal("the file system of the temporary directory keeps no user xattrs: ", err)
	}
}

// What a symlink leads to changes without this directory's stamp: formats that
// follow links have a hash as their tag then.
func TestLinksAreNoStampMatter(t *testing.T) {
	s := publishWatched(t, serve.Config{}, map[string]string{"a/l": "-> ../b/f", "b/f": "1"})
	s.settle()
	for _, format := range []string{"json", "html"} {
		before := s.get("/a/?" + format)
		require.Equal(t, 304, s.get("/a/?"+format, "If-None-Match", before.Header.Get("ETag")).StatusCode)
		require.NoError(t, os.WriteFile(s.path("b/f"), []byte(strings.Repeat("x", len(before.body))), 0o644))
		after := s.get("/a/?"+format, "If-None-Match", before.Header.Get("ETag"))
		require.Equal(t, 200, after.StatusCode)
		require.NotEqual(t, before.body, after.body)
		// No stamp and no date confirms it either, and HEAD does not read.
		stamp := "\"" + strings.Replace(strings.Trim(s.get("/a/?txt").Header.Get("ETag"), "\""), "-txt-", "-"+format+"-", 1) + "\""
		require.Equal(t, 200, s.get("/a/?"+format, "If-None-Match", stamp).StatusCode)
		require.Equal(t, 200, s.get("/a/?"+format, "If-Modified-Since", after.Header.Get("Last-Modified")).StatusCode)
		require.Empty(t, s.do(http.MethodHead, "/a/?"+format, nil).Header.Get("ETag"))
		require.Equal(t, 200, s.get("/a/?wait=40&"+format, "If-None-Match", stamp).StatusCode)
		require.Equal(t, 200, s.get("/a/?wait=40&"+format, "If-None-Match", before.Header.Get("ETag")).StatusCode)
		require.Equal(t, 304, s.get("/a/?wait=0.01&"+format, "If-None-Match", after.Header.Get("ETag")).StatusCode)
	}
	require.Contains(t, s.get("/a/?txt").Header.Get("ETag"), mtree.FromTime(past).String())
}

// The cache answers while the stamp stands, and not a moment longer.
func TestCache(t *testing.T) {
	s := publishWatched(t, serve.Config{Stats: &serve.Stats{}}, map[string]string{"d/a": "1"})
	stats := s.cfg.Stats
	first := s.get("/d/?txt")
	second := s.get("/d/?txt")
	require.Equal(t, first.body, second.body, "a cached listing keeps its now")
	require.Equal(t, first.Header.Get("ETag"), second.Header.Get("ETag"))
	require.EqualValues(t, 1, stats.Listings.Load())
	require.EqualValues(t, 1, stats.Cached.Load())
	require.Positive(t, stats.CacheBytes.Load())
	s.write("d/b", "2")
	s.stamp("d", mtree.FromTime(past)) // the same mtime again: the ctime shows it
	require.Len(t, s.list("/d/").Entries, 2)
	s.stamp("d", mtree.FromTime(past).Add(1))
	require.Len(t, s.list("/d/").Entries, 2)
	require.EqualValues(t, 3, stats.Listings.Load())
}

// A client that wants no answer out of a cache gets a listing that was read now: the one in memory
// may be from before that of another server, so that it proves nothing there.
func TestCacheIsPassedBy(t *testing.T) {
	s := publishWatched(t, serve.Config{}, map[string]string{"d/a": "1"})
	first := s.list("/d/").Now
	require.Equal(t, first, s.list("/d/").Now)
	l, err := mtree.ParseListing([]byte(s.get("/d/?txt", "Cache-Control", "no-cache").body))
	require.NoError(t, err)
	require.True(t, l.Now.After(first))
	require.Equal(t, l.Now, s.list("/d/").Now)
}

// Another hard link moves a file's ctime and no stamp. The listing in the cache named the
// old ctime until the next stamp, so that no new copy could be completed.
func TestACachedListingThatNamesAnOldFile(t *testing.T) {
	s := publishWatched(t, serve.Config{}, map[string]string{"d/a": "1"})
	ctime := func() mtree.Stamp { return s.list("/d/").Entries[0].CTime }
	listed := ctime()
	require.Eventually(t, func() bool { // the ctime moves on by ticks
		require.NoError(t, os.Link(s.path("d/a"), filepath.Join(t.TempDir(), "link")))
		info, err := os.Stat(s.path("d/a"))
		require.NoError(t, err)
		return mtree.FromTime(time.Unix(info.Sys().(*syscall.Stat_t).Ctim.Unix())) != listed
	}, 5*time.Second, 5*time.Millisecond)
	require.Equal(t, listed, ctime(), "from the cache")
	tag := wire.FileTag{MTime: mtree.FromTime(past), Size: 1, CTime: listed}
	require.Equal(t, 412, s.get("/d/a", "If-Match", tag.String()).StatusCode)
	require.True(t, ctime().After(listed))
}

// Nothing is cached where no watcher is at work.
func TestNoCacheUnwatched(t *testing.T) {
	s := publish(t, serve.Config{Stats: &serve.Stats{}}, map[string]string{"a": "1"})
	_, _ = s.get("/?txt"), s.get("/?txt")
	require.EqualValues(t, 2, s.cfg.Stats.Listings.Load())
	require.Zero(t, s.cfg.Stats.CacheBytes.Load())
}

// Without a live watcher nothing is answered from memory: a change in place has
// no stamp then.
func TestNoCacheWithoutWatcher(t *testing.T) {
	root := t.TempDir()
	release := watched(t, root, wire.Watched)
	s := &site{T: t, root: root, cfg: serve.Config{Root: root}}
	s.start()
	s.write("a", "1")
	s.stamp("", mtree.FromTime(past))
	require.EqualValues(t, 1, s.list("/").Entries[0].Size)
	release()
	require.Eventually(t, func() bool { return s.get("/?txt").Header.Get("Tidemark-State") == "audited" }, 5*time.Second, 10*time.Millisecond)
	for size := range int64(3) {
		s.write("a", strings.Repeat("x", int(size)))
		require.Equal(t, size, s.list("/").Entries[0].Size)
	}
}

// The cache is bounded in bytes.
func TestCacheIsBounded(t *testing.T) {
	files := map[string]string{}
	for d := range 50 {
		for f := range 20 {
			files["d"+string(rune('A'+d))+"/f"+string(rune('a'+f))] = ""
		}
	}
	s := publishWatched(t, serve.Config{Root: inMemory(t), CacheBytes: 20_000, Stats: &serve.Stats{}}, files)
	for d := range 50 {
		s.list("/d" + string(rune('A'+d)) + "/")
		require.LessOrEqual(t, s.cfg.Stats.CacheBytes.Load(), int64(20_000))
	}
	require.Greater(t, s.cfg.Stats.CacheBytes.Load(), int64(10_000))
	none := publishWatched(t, serve.Config{CacheBytes: -1, Stats: &serve.Stats{}}, map[string]string{"a": ""})
	_, _ = none.list("/"), none.list("/")
	require.Zero(t, none.cfg.Stats.CacheBytes.Load())
	require.EqualValues(t, 2, none.cfg.Stats.Listings.Load())
}

// Those who ask for one listing at once share a reading, without a cache too.
func TestReadingsAreShared(t *testing.T) {
	const clients = 9
	var calls atomic.Int64
	hold := make(chan struct{})
	s := publishWatched(t, serve.Config{CacheBytes: -1, Stats: &serve.Stats{}, Now: func() mtree.Stamp {
		if calls.Add(1) == 3 { // New reads the root; the first request's second look at the clock: it reads
			<-hold
		}
		return machine.Now()
	}}, map[string]string{"a": ""})
	var all sync.WaitGroup
	for range clients {
		before := s.cfg.Stats.Requests.Load()
		all.Go(func() {
			r := httptest.NewRecorder()
			s.h.ServeHTTP(r, httptest.NewRequest(http.MethodGet, "/?txt", nil))
			assert.Contains(t, r.Body.String(), "#end 1\n")
		})
		require.Eventually(t, func() bool { return s.cfg.Stats.Requests.Load() > before && calls.Load() > 2 }, 10*time.Second, time.Millisecond)
	}
	close(hold)
	all.Wait()
	require.Less(t, s.cfg.Stats.Listings.Load(), int64(clients))
}

// HEAD with a query that asks for something else than a listing has the headers of that
// answer, and hashes and packs nothing.
func TestHeadOfQueries(t *testing.T) {
	s := publishWatched(t, serve.Config{Tar: true, Stats: &serve.Stats{}}, map[string]string{"a": "1"})
	for _, target := range []string{"/?status", "/?txt&since=0", "/?txt&since=99999999999", "/?tar", "/?sums", "/?json&recent=2", "/?recent=0", "/?txt&wait=0.01"} {
		head := s.do(http.MethodHead, target, nil)
		require.Zero(t, s.cfg.Stats.Sums.Load()+s.cfg.Stats.Bulk.Load(), target)
		get := s.get(target)
		s.cfg.Stats.Sums.Store(0)
		require.Equal(t, get.StatusCode, head.StatusCode, target)
		require.Empty(t, head.body)
		for _, key := range []string{"Content-Type", "Cache-Control", "ETag", "Accept-Ranges", "Tidemark-Stamp"} {
			require.Equal(t, get.Header.Get(key), head.Header.Get(key), "%s: %s", target, key)
		}
	}
}
