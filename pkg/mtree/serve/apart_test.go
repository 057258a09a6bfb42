package serve_test

import (
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/serve"
	"tidemark/pkg/mtree/wire"
)

// Directories of which watch says what their times do not show.

// tell writes .tidemark/stamps and unread, as watch does.
func (s *site) tell(stamps map[string]mtree.Stamp, unread ...string) {
	s.Helper()
	inode := func(path string) uint64 {
		info, err := os.Stat(s.path(path))
		require.NoError(s, err)
		return info.Sys().(*syscall.Stat_t).Ino
	}
	apart := state.Exceptions{Stamps: map[string]state.Refusal{}, Unread: map[string]state.Unread{}}
	for path, stamp := range stamps {
		apart.Stamps[path] = state.Refusal{Inode: inode(path), Stamp: stamp}
	}
	for _, path := range unread {
		path, opened := strings.CutPrefix(path, "+")
		apart.Unread[path] = state.Unread{Inode: inode(path), Opened: opened}
	}
	root, err := disk.OpenRoot(s.root)
	require.NoError(s, err)
	defer root.Close()
	m, err := state.OpenMarker(root, "")
	require.NoError(s, err)
	defer m.Close()
	number := time.Now().UnixNano()
	require.NoError(s, m.WriteStamps(apart.Stamps, number, false))
	require.NoError(s, m.WriteUnread(apart.Unread, number, false))
	s.alterStatus(func(status *state.Status) {
		if status.Stamps != len(stamps) || status.Unread != len(unread) {
			status.Exceptions++
		}
		status.Stamps, status.Unread = len(stamps), len(unread)
	})
}

// await waits until serve has read the status anew.
func (s *site) await(target string, status int) {
	s.Helper()
	require.Eventually(s, func() bool { return s.get(target).StatusCode == status }, 5*time.Second, time.Millisecond)
}

// The stamp of a directory that refuses its time is the one that watch notes, everywhere: in
// its listing and in that of its parent, in tags and 304s, since and recent, from the cache
// and while a request waits. It is noted before the parent is stamped, so it counts from
// the moment that the parent shows.
func TestStampsToldApart(t *testing.T) {
	s := publishWatched(t, serve.Config{}, map[string]string{"a/fixed/f": "1", "a/fixed/sub/g": "1", "a/beside/h": "1"})
	fixed := func() mtree.Stamp {
		for _, e := range s.list("/a/").Entries {
			if e.Name == "fixed" {
				return e.MTime
			}
		}
		return mtree.Stamp{}
	}
	shown := fixed()
	before := s.get("/a/fixed/?txt").Header.Get("ETag")
	top := s.list("/").Stamp
	for i := range 4 {
		stamp := top.Add(time.Duration(i+1) * time.Microsecond)
		s.tell(map[string]mtree.Stamp{"a/fixed": stamp})
		if i == 0 {
			require.Eventually(t, func() bool { return s.list("/a/fixed/").Stamp == stamp }, 5*time.Second, time.Millisecond)
		}
		s.stamp("a", stamp)
		s.stamp("", stamp)
		require.Equal(t, stamp, fixed(), "told before its parent was stamped")
		require.Equal(t, stamp, s.list("/a/fixed/").Stamp)
		a := s.get("/a/fixed/?txt", "If-None-Match", before)
		require.Equal(t, 200, a.StatusCode)
		require.Equal(t, stamp.String(), a.Header.Get("Tidemark-Stamp"))
		before = a.Header.Get("ETag")
		require.Equal(t, 304, s.get("/a/fixed/?txt", "If-None-Match", before).StatusCode)
		require.Contains(t, s.get("/?txt&since="+stamp.Add(-1).String()).body, " ./a/fixed/\t")
		require.NotContains(t, s.get("/?txt&since="+stamp.Add(-1).String()).body, "./a/fixed/sub/")
		require.Contains(t, s.get("/a/fixed/?txt&since="+stamp.Add(-1).String()).body, "#stamp "+stamp.String())
		require.Contains(t, s.get("/?txt&recent=9").body, "a/fixed/f")
	}

	// Another directory of that name shows its own time, and so does one that takes
	// its time again.
	require.NoError(t, os.Rename(s.path("a/fixed"), s.path("a/away")))
	require.NoError(t, os.Mkdir(s.path("a/fixed"), 0o755))
	s.stamp("a/fixed", shown)
	s.stamp("a", top.Add(time.Millisecond))
	require.Equal(t, shown, fixed())

	// In a copy it means nothing: a mirror keeps its stamps.
	require.NoError(t, os.Remove(s.path("a/fixed")))
	require.NoError(t, os.Rename(s.path("a/away"), s.path("a/fixed")))
	s.stamp("a/fixed", shown)
	s.alterTree(func(tree *state.Tree) { tree.Role = state.Copy })
	s.start()
	require.Equal(t, shown, fixed())
}

// A long poll of a directory that refuses its time heard nothing of its new stamps,
// whether it refused before the poll began or since.
func TestWaitForAStampToldApart(t *testing.T) {
	for _, known := range []bool{true, false} {
		s := publishWatched(t, serve.Config{Stats: new(serve.Stats)}, map[string]string{"a/fixed/f": "1"})
		top := s.list("/").Stamp
		if known {
			s.tell(map[string]mtree.Stamp{"a/fixed": top})
			require.Eventually(t, func() bool { return s.list("/a/fixed/").Stamp == top }, 5*time.Second, time.Millisecond)
		}
		// Twice: the first time the hub may also see that there are stamps told apart now.
		for round := range 2 {
			tag := s.get("/a/fixed/?txt").Header.Get("ETag")
			answers := make(chan answer, 1)
			go func() { answers <- s.get("/a/fixed/?txt&wait=40", "If-None-Match", tag) }()
			s.waiting(1)
			stamp := top.Add(time.Duration(round+1) * time.Second)
			s.tell(map[string]mtree.Stamp{"a/fixed": stamp})
			s.stamp("a", stamp)
			s.stamp("", stamp)
			select {
			case a := <-answers:
				require.Equal(t, 200, a.StatusCode)
				require.Equal(t, stamp.String(), a.Header.Get("Tidemark-Stamp"))
			case <-time.After(20 * time.Second):
				t.Fatal("not woken")
			}
			s.waiting(0)
		}
	}
}

// A directory that watch may not read was published all the same where serve might
// read it, as complete, and nobody heard what changed there. It is listed by its
// parent, and nothing of it is given by any way, until watch can read it.
func TestUnreadIsNotPublished(t *testing.T) {
	s := publishWatched(t, serve.Config{Tar: true}, map[string]string{
		"a/closed/f": "secret", "a/closed/sub/g": "secret", "a/open/h": "1", "file": "-> a/closed/f", "dir": "-> a/closed/sub",
	})
	ways := []string{
		"/a/closed/?txt", "/a/closed/", "/a/closed/f", "/a/closed/sub/g", "/a/closed/sub/?json", "/a/closed/?txt&since=0",
		"/a/closed/?recent=3", "/a/closed/?sums", "/a/closed/?tar", "/a/closed/sub/?sums", "/a/closed/?txt&wait=1",
		"/a/closed/?find=f", "/a/closed/?preview=1",
	}
	s.tell(nil, "a/closed")
	s.await("/a/closed/?txt", 403)
	for _, target := range ways {
		a := s.get(target)
		if strings.HasSuffix(target, "?tar") && a.StatusCode == 200 {
			require.NotContains(t, a.body, "secret")
			continue
		}
		require.Equal(t, 403, a.StatusCode, target)
		require.Equal(t, "1", a.Header.Get("Tidemark-Version"), target)
	}
	require.Contains(t, s.get("/a/?txt").body, " closed/")
	require.NotEqual(t, 200, s.get("/file").StatusCode)
	require.NotContains(t, s.get("/dir/").body, "secret")
	for _, target := range []string{"/?txt&since=0", "/?txt&recent=9", "/?txt&find=*"} {
		a := s.get(target)
		require.Contains(t, a.body, "open/", target)
		require.NotContains(t, a.body, "./a/closed/", target)
		require.NotContains(t, a.body, " a/closed/f\t", target)
	}
	require.Empty(t, s.do("POST", "/?sums", strings.NewReader("a/closed/f\na/closed/sub/g\n")).body)
	require.NotContains(t, s.do("POST", "/?tar", strings.NewReader("a/closed/f\na/closed/sub/g\n")).body, "secret")

	s.tell(nil, "+a/closed") // read again, and at once
	require.Equal(t, 200, s.get("/a/closed/f").StatusCode)
	require.Equal(t, 200, s.get("/a/closed/?txt").StatusCode)
	s.tell(nil, "a/closed")
	require.NoError(t, os.Rename(s.path("a/closed"), s.path("a/away")))
	require.NoError(t, os.Mkdir(s.path("a/closed"), 0o755))
	require.Equal(t, 200, s.get("/a/closed/?txt").StatusCode, "another directory of that name")
	require.NoError(t, os.Remove(s.path("a/closed")))
	require.NoError(t, os.Rename(s.path("a/away"), s.path("a/closed")))
	s.await("/a/closed/?txt", 403)
	s.alterStatus(func(status *state.Status) { status.State = wire.Unwatched })
	s.await("/a/closed/?txt", 200) // watch vouches for nothing, and no stamp prunes
}

// A damaged file proves nothing: no stamp prunes until watch has written it again.
func TestDamagedStamps(t *testing.T) {
	s := publishWatched(t, serve.Config{}, map[string]string{"a/fixed/f": "1"})
	s.tell(map[string]mtree.Stamp{"a/fixed": s.list("/").Stamp})
	whole, err := os.ReadFile(s.path(".tidemark/stamps"))
	require.NoError(t, err)
	for _, text := range []string{"", "tidemark stamps 1\n", string(whole[:len(whole)-1]), strings.Replace(string(whole), "a/fixed", "../a", 1), strings.Replace(string(whole), "#end 1", "#end 2", 1)} {
		require.NoError(t, os.WriteFile(s.path(".tidemark/stamps"), []byte(text), 0o644))
		require.Eventually(t, func() bool {
			a := s.get("/a/?txt")
			return a.StatusCode == 200 && a.Header.Get("Tidemark-State") == "unwatched"
		}, 5*time.Second, time.Millisecond, text)
	}
	require.NoError(t, os.WriteFile(s.path(".tidemark/stamps"), whole, 0o644))
	require.Eventually(t, func() bool { return s.get("/a/?txt").Header.Get("Tidemark-State") == "watched" }, 5*time.Second, time.Millisecond)
}

// No ctime tells when such a stamp was given: no date proves it.
func TestADateOfARefusedStamp(t *testing.T) {
	s := publishWatched(t, serve.Config{}, map[string]string{"d/a": "1"})
	s.tell(map[string]mtree.Stamp{"d": mtree.Unix(1_700_000_000, 2)})
	date := time.Unix(1_700_000_000, 0).UTC().Format(http.TimeFormat)
	require.Eventually(t, func() bool { return s.get("/d/?txt").Header.Get("Last-Modified") == date }, longest, time.Millisecond)
	s.tell(map[string]mtree.Stamp{"d": mtree.Unix(1_700_000_000, 8)})
	require.Eventually(t, func() bool { return s.get("/d/?txt").Header.Get("Tidemark-Stamp") == "1700000000.000000008" }, longest, time.Millisecond)
	require.Equal(t, 200, s.get("/d/?txt", "If-Modified-Since", date).StatusCode)
}
