package mirror

import (
	"context"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/testtree"
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/mirror/internal/pass"
)

// overHTTP makes a watched tree, its server and a bench for a copy.
func overHTTP(t *testing.T, lines ...string) (*tree, *bench) {
	s := watched(t, lines...)
	return s, s.benchOverHTTP()
}

// benchOverHTTP returns a bench whose source is the tree as serve publishes it.
func (s *tree) benchOverHTTP() *bench {
	b := newBench(s.t, "")
	b.server = serveTree(s.t, s.root)
	b.config.Source = b.server.URL
	return b
}

// forge writes other bytes and puts the mtime back, as "cp -p" of a file of equal size and time
// does. Only the ctime shows it.
func (s *tree) forge(path, text string) {
	s.t.Helper()
	info, err := os.Stat(s.path(path))
	require.NoError(s.t, err)
	require.Equal(s.t, info.Size(), int64(len(text)))
	require.NoError(s.t, os.WriteFile(s.path(path), []byte(text), 0o644))
	require.NoError(s.t, os.Chtimes(s.path(path), time.Time{}, info.ModTime()))
}

// Stamps are compared by !=: an earlier one also means a change.
func TestAnEarlierStampIsNews(t *testing.T) {
	s, b := overHTTP(t, "a/b = one")
	b.equal(s)
	testtree.Make(t, s.root, "a/b = two", "a/ @1000000000.5", "./ @1000000000.7")
	b.equal(s)
	b.requireIdle()
}

// The ctime rule: sums find other bytes under equal size and mtime, and a file that was only
// touched is not fetched.
func TestEqualSizeAndTimeOtherBytes(t *testing.T) {
	eachSource(t, func(t *testing.T, s *tree, b *bench) {
		b.equal(s)
		s.forge("a/f", "two")
		require.NoError(t, os.Chmod(s.path("a/g"), 0o640))
		s.publish("a/f")
		b.equal(s)
		require.Contains(t, b.out.String(), "fetched 1 files")
		require.Equal(t, "two", b.read("a/f"))
		b.requireIdle()
	}, "a/f = one @1000000000", "a/g = same @1000000000")
}

// The ctime rule compares with the time at which the directory itself was last completed. That
// time survives a pass that did not end.
func TestCTimeRuleSurvivesAnInterruptedPass(t *testing.T) {
	s, b := overHTTP(t, "a/f = one @1000000000", "a/other = x")
	b.equal(s)
	s.forge("a/f", "two")
	s.change("a/other = changed")
	// The pass dies after it began to change the directory, an hour later by the
	// server's clock. If that time were remembered, the change would look old.
	b.server.alter("/a/?txt", func(body string) string {
		listing, err := mtree.ParseListing([]byte(body))
		require.NoError(t, err)
		listing.Now = listing.Now.Add(time.Hour)
		return string(mtree.FormatListing(listing))
	})
	later := b.server.meddle
	b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusInternalServerError)
			return true
		}
		return later(w, r)
	})
	require.Error(t, b.once())
	require.Equal(t, "changed", b.read("a/other"))
	require.Equal(t, "one", b.read("a/f"))
	b.server.interfere(nil)
	b.equal(s)
	require.Equal(t, "two", b.read("a/f"))
}

// The record of a directory that a killed pass filled says since when its files are known.
func TestCTimeRuleHoldsInADirectoryNeverCompleted(t *testing.T) {
	s, b := overHTTP(t, "a/f = one @1000000000", "a/g/h = x")
	b.server.answer("/a/g/?txt", http.StatusInternalServerError, "")
	require.Error(t, b.once())
	require.Equal(t, "one", b.read("a/f"))
	b.server.interfere(nil)
	s.forge("a/f", "two")
	s.publish("a/f")
	b.equal(s)
	require.Equal(t, "two", b.read("a/f"))
}

// mv current old; mv next current: all names, sizes and times are equal, and the bytes are not.
// The id of the directory shows it.
func TestAnotherDirectoryUnderTheName(t *testing.T) {
	eachSource(t, func(t *testing.T, s *tree, b *bench) {
		same := func(dirs ...string) {
			for _, dir := range dirs {
				testtree.Make(t, s.root, dir+"/sub/ @1000000000", dir+"/ @1000000000")
			}
		}
		same("current", "next")
		b.equal(s)
		require.NoError(t, os.Rename(s.path("current"), s.path("old")))
		require.NoError(t, os.Rename(s.path("next"), s.path("current")))
		same("current", "old")
		s.publish("current") // not what is below, as watch would: the id must do
		b.equal(s)
		require.Equal(t, "2", b.read("current/sub/f"))
		b.requireIdle()
	}, "current/sub/f = 1 @1000000000", "next/sub/f = 2 @1000000000")
}

// A file that changes between listing and fetch is stored with its own times, and its directory
// is incomplete.
func TestAFileThatChangesAfterItWasListed(t *testing.T) {
	s, b := overHTTP(t, "a/f = one", "b/g = x")
	changed := false
	b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/a/f" && !changed {
			changed = true
			testtree.Make(t, s.root, "a/f = longer")
		}
		return false
	})
	p := b.pass()
	require.False(t, p.Complete)
	require.EqualValues(t, 1, p.Moved)
	require.Equal(t, "longer", b.read("a/f"))
	record, ok := b.record("a")
	require.True(t, ok)
	require.True(t, isUnfinished(record))
	s.publish("a/f")
	b.equal(s)
	b.requireIdle()
}

// So with a file that takes the place of a directory: its directory was complete, with what was
// listed.
func TestAFileInPlaceOfADirectoryThatChangesAfterItWasListed(t *testing.T) {
	s, b := overHTTP(t, "a/f/x = x", "b/g = x")
	b.equal(s)
	require.NoError(t, os.RemoveAll(s.path("a/f")))
	s.change("a/f = one")
	b.server.interfere(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/a/f" {
			testtree.Make(t, s.root, "a/f = longer")
		}
		return false
	})
	p := b.pass()
	require.False(t, p.Complete)
	require.EqualValues(t, 1, p.Moved+p.Unsettled)
	require.Equal(t, "longer", b.read("a/f"))
	b.server.interfere(nil)
	s.publish("a/f")
	b.equal(s)
	b.requireIdle()
}

// A file whose mode changes while it is sent is cut off each time it is requested by its tag,
// for the ctime is part of the tag. The pass ends nevertheless, and has the file. When the mode
// no longer changes, the copy is complete.
func TestAFileWhoseModeChangesWhileItIsSent(t *testing.T) {
	s, b := overHTTP(t, "a/f = one", "b/g = x")
	content := strings.Repeat("0123456789abcdef", 20<<10) // more than what serve sends from memory
	require.NoError(t, os.WriteFile(s.path("a/f"), []byte(content), 0o644))
	var cut atomic.Int64
	b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/a/f" || r.Method != http.MethodGet {
			return false
		}
		defer func() {
			if err := recover(); err != nil {
				cut.Add(1)
				panic(err)
			}
		}()
		b.server.present().ServeHTTP(&onWrite{w, func() {
			info, err := os.Stat(s.path("a/f"))
			require.NoError(t, err)
			require.NoError(t, os.Chmod(s.path("a/f"), info.Mode()^0o011))
		}}, r)
		return true
	})
	p := b.pass()
	require.NotZero(t, cut.Load(), "by its tag it is cut off")
	require.EqualValues(t, 0, p.Failed)
	require.Equal(t, content, b.read("a/f"))
	b.server.interfere(nil)
	s.publish("a/f")
	b.equal(s)
	b.requireIdle()
}

// onWrite calls a function ahead of each write.
type onWrite struct {
	http.ResponseWriter
	before func()
}

func (w *onWrite) Write(p []byte) (int, error) {
	w.before()
	return w.ResponseWriter.Write(p)
}

// A file that changes each time it is read is kept as it was read, and counted. Its directory
// stays incomplete, and the directories beside it do not.
func TestALiveLogIsKeptAsRead(t *testing.T) {
	s, b := overHTTP(t, "a/log = line", "a/z = x", "b/g = x")
	b.server.interfere(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/a/log" || r.Method == http.MethodPost {
			f, err := os.OpenFile(s.path("a/log"), os.O_APPEND|os.O_WRONLY, 0)
			require.NoError(t, err)
			_, err = f.WriteString("line")
			require.NoError(t, err)
			require.NoError(t, f.Close())
		}
		return false
	})
	p := b.pass()
	require.EqualValues(t, 1, p.Unsettled)
	require.EqualValues(t, 0, p.Failed)
	require.True(t, strings.HasPrefix(b.read("a/log"), "lineline"))
	require.Equal(t, "x", b.read("a/z"))
	record, _ := b.record("b")
	require.False(t, isUnfinished(record), "siblings are complete")
	record, _ = b.record("a")
	require.True(t, isUnfinished(record), "it is looked at again")
	b.server.interfere(nil)
	s.publish("a/log")
	b.equal(s)
}

// pass runs one pass, as Once does, and returns it.
func (b *bench) pass() *pass.Result {
	b.t.Helper()
	m, err := open(b.config)
	require.NoError(b.t, err)
	defer m.close()
	p, err := m.once(context.Background())
	require.NoError(b.t, err)
	return p
}

// A cache may answer with a listing of a child that is older than the one of its parent. Mirror
// asks once more past the cache; if that does not help, the parent is incomplete.
func TestAnOlderChildUnderANewerParent(t *testing.T) {
	s, b := overHTTP(t, "a/b/f = one", "a/g = x")
	var stale string
	b.server.alter("/a/b/?txt", func(body string) string { stale = body; return body })
	b.equal(s)
	s.change("a/b/f = changed")
	asked := 0
	b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if keyOf(r) != "/a/b/?txt" || r.Header.Get("Cache-Control") == "no-cache" {
			return false
		}
		asked++
		w.Header().Set("Tidemark-Tree", s.id.ID)
		w.Header().Set("Tidemark-Epoch", "1")
		_, _ = w.Write([]byte(stale))
		return true
	})
	b.equal(s)
	require.Equal(t, 1, asked)

	b.server.interfere(nil)
	resp, err := http.Get(b.server.URL + "/a/b/?txt")
	require.NoError(t, err)
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	stale = string(text) // all of it equals the copy
	s.change("a/b/f = changed again")
	b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if keyOf(r) != "/a/b/?txt" {
			return false
		}
		w.Header().Set("Tidemark-Tree", s.id.ID)
		w.Header().Set("Tidemark-Epoch", "1")
		_, _ = w.Write([]byte(stale))
		return true
	})
	require.False(t, b.pass().Complete)
	b.server.interfere(nil)
	b.equal(s)
}

// After a hot listing nothing is completed and nothing deleted.
func TestAHotListing(t *testing.T) {
	s, b := overHTTP(t, "a/f = one", "a/gone = x")
	b.equal(s)
	s.change("a/new = two")
	s.remove("a/gone")
	b.server.alter("/a/?txt", func(body string) string { return strings.Replace(body, "\t-", "\t-\thot=1", 1) })
	p := b.pass()
	require.False(t, p.Complete)
	require.EqualValues(t, 0, p.Deleted)
	require.Equal(t, "two", b.read("a/new"))
	require.Equal(t, "x", b.read("a/gone"))
	b.server.interfere(nil)
	b.equal(s)
}

// A hot entry that seemed equal to the copy's was taken for one that matches its time. serve
// lists none, but another server of the protocol may.
func TestAHotEntry(t *testing.T) {
	s, b := overHTTP(t, "a/equal = one", "a/f = one")
	b.equal(s)
	s.change("a/f = two")
	b.server.alter("/a/?txt", func(body string) string {
		hot := strings.Replace(body, " equal\t3", " equal\t3\thot=1", 1)
		require.NotEqual(t, body, hot)
		return hot
	})
	require.False(t, b.pass().Complete)
	require.Equal(t, "two", b.read("a/f"))
	b.server.interfere(nil)
	b.equal(s)
}

// The recent files of a busy directory are summed once their ctime is old, and not again after
// that.
func TestSettledFilesAreNotSummedAgain(t *testing.T) {
	s, b := overHTTP(t, "a/f = one @1000000000", "a/g = x")
	var ahead time.Duration // of the source's clock
	b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if keyOf(r) != "/a/?txt" {
			return false
		}
		answer := httptest.NewRecorder()
		b.server.present().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/a/?txt", nil))
		listing, err := mtree.ParseListing(answer.Body.Bytes())
		require.NoError(t, err)
		listing.Now = listing.Now.Add(ahead)
		maps.Copy(w.Header(), answer.Header())
		w.Header().Del("Content-Length")
		_, _ = w.Write(mtree.FormatListing(listing))
		return true
	})
	m, err := open(b.config)
	require.NoError(t, err)
	defer m.close()
	sums := func() (n int) {
		b.server.requests()
		p, err := m.once(t.Context())
		require.NoError(t, err)
		require.True(t, p.Complete)
		for _, asked := range b.server.requests() {
			if strings.HasSuffix(asked, "?sums&tags") {
				n++
			}
		}
		return n
	}
	require.Equal(t, 0, sums())
	s.change("a/g = young")
	require.Equal(t, 1, sums(), "f is as young as the listing")
	s.change("a/g = still young")
	require.Equal(t, 1, sums(), "and a write of it may go on")
	ahead = time.Minute
	s.change("a/g = old by now")
	require.Equal(t, 1, sums())
	ahead = 0
	s.change("a/g = by another clock")
	require.Equal(t, 1, sums(), "the source's clock went back: no ctime proves anything")
	for _, text := range []string{"1", "2"} {
		s.change("a/g = " + text)
		require.Equal(t, 0, sums(), "the bytes of f were seen when it was old")
	}
}

// A directory that serve answers with 403 is skipped, and stops no other from completing: when it
// becomes readable the stamp moves.
func TestDeniedIsSkipped(t *testing.T) {
	s, b := overHTTP(t, "a/f = one", "a/secret = x", "locked/f = x")
	b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/a/secret" || r.URL.Path == "/locked/" {
			w.Header().Set("Tidemark-Version", "1")
			w.WriteHeader(http.StatusForbidden)
			return true
		}
		if r.URL.RawQuery == "tar" {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return true
		}
		return false
	})
	require.NoError(t, b.once())
	require.Contains(t, b.out.String(), "skipped 2, failed 0")
	b.requireIdle()
	b.requireStatus("incomplete: 0\n", "not copied: 2\n", "not readable at the source: 1 directories")
	s.change("b/f = another")
	require.NoError(t, b.once())
	b.requireStatus("incomplete: 0\n", "not copied: 2\n", "not readable at the source: 1 directories")
	b.server.interfere(nil)
	s.publish("a/secret")
	s.publish("locked/f")
	b.equal(s)
	b.requireStatus("incomplete: 0\n", "not copied: 0\n")
	require.NotContains(t, b.printStatus(), "not readable")
}

// requireStatus requires that --status says all of it.
func (b *bench) requireStatus(says ...string) {
	b.t.Helper()
	for _, text := range says {
		require.Contains(b.t, b.printStatus(), text)
	}
}

// A serve with other rights answered for a moment, in the middle of a pass, and refused what those of
// before and after may read: the pass completed the directory without it, and no stamp moved
// when it could be read again.
func TestOtherRightsInMidPass(t *testing.T) {
	for _, path := range []string{"/a/f", "/a/b/"} {
		s, b := overHTTP(t, "a/f = one", "a/b/g = one")
		b.equal(s)
		s.change("a/f = two", "a/b/g = two")
		b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
			refused := r.URL.Path == path
			if refused {
				w.Header().Set("Tidemark-Version", "1")
				w.Header().Set("Tidemark-Options", "c0ffee")
				w.WriteHeader(http.StatusForbidden)
			}
			return refused
		})
		require.Error(t, b.once(), path)
		b.server.interfere(nil)
		b.equal(s)
	}
}

// A directory that always fails does not stop those beside it, but nothing above it is complete.
func TestAFailingDirectoryIsContained(t *testing.T) {
	s, b := overHTTP(t, "a/b/f = one", "c/g = x", "gone = x")
	b.equal(s)
	s.change("a/b/f = two", "c/g = y", "c/h/i = z")
	s.remove("gone")
	b.server.answer("/a/b/?txt", http.StatusInternalServerError, "")
	err := b.once()
	require.Equal(t, exit.Failed, exit.Of(err))
	require.Contains(t, b.out.String(), "deleted 0, held 0, skipped 0, failed 1")
	require.Equal(t, "y", b.read("c/g"))
	require.Equal(t, "x", b.read("gone"), "below the root something is unknown: nothing in the root is deleted")
	record, _ := b.record("")
	require.True(t, isUnfinished(record))
	b.server.interfere(nil)
	b.equal(s)
	b.requireIdle()
}

// One full walk is due when the epoch changes, and it survives a kill.
func TestAnotherEpochComparesEverything(t *testing.T) {
	s, b := overHTTP(t, "a/b/f = one", "c/g = x")
	b.equal(s)
	require.NoError(t, os.WriteFile(s.path("a/b/f"), []byte("changed, stamps say nothing"), 0o644))
	s.epoch(2)
	b.server.restart(s.root) // epochs are read once a second
	b.config.Source = b.server.URL
	b.server.answer("/a/b/?txt", http.StatusInternalServerError, "")
	require.Error(t, b.once())
	b.server.interfere(nil)
	b.equal(s)
	require.Contains(t, b.out.String(), "fetched 1 files")
	require.EqualValues(t, 2, b.published().Tree.Epoch)
	b.requireIdle()
}

// A directory that could not be listed while everything was compared is not trusted later, and
// neither is anything below it.
func TestADirectoryDeniedDuringAFullWalk(t *testing.T) {
	s, b := overHTTP(t, "a/b/f = one", "c/g = x")
	b.equal(s)
	require.NoError(t, os.WriteFile(s.path("a/b/f"), []byte("changed, stamps say nothing"), 0o644))
	s.epoch(2)
	b.server.restart(s.root)
	b.config.Source = b.server.URL
	b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/a/" {
			return false
		}
		w.Header().Set("Tidemark-Version", "1")
		w.WriteHeader(http.StatusForbidden)
		return true
	})
	require.NoError(t, b.once())
	b.server.interfere(nil)
	s.publish("a") // it was made readable
	b.equal(s)
}

// If the directories above kept their times, a copy of this copy would not look at what an
// incomplete pass changed.
func TestIncompleteDirectoriesGetAFreshTime(t *testing.T) {
	s, b := overHTTP(t, "a/b/f = one", "c/g = x")
	b.equal(s)
	before := stampOf(t, b.path(""))
	s.change("c/g = y", "a/b/f = two")
	b.server.answer("/a/b/?txt", http.StatusInternalServerError, "")
	require.Error(t, b.once())
	require.NotEqual(t, before, stampOf(t, b.path("")))
	after := stampOf(t, b.path(""))
	require.Error(t, b.once())
	require.Equal(t, after, stampOf(t, b.path("")), "nothing changed since")
}

func stampOf(t *testing.T, path string) mtree.Stamp {
	d, err := disk.OpenRoot(path)
	require.NoError(t, err)
	defer d.Close()
	info, err := d.Self()
	require.NoError(t, err)
	return info.MTime
}

// A copy is a valid source.
func TestACopyOfACopy(t *testing.T) {
	s, b := overHTTP(t, "a/b/f = one", "link -> a", "c/g = x @1.5")
	b.equal(s)
	second := newBench(t, b.config.Dest)
	require.NoError(t, second.once())
	second.same(s)
	second.requireIdle()
	s.change("a/b/f = two")
	b.equal(s)
	second.equal(s)
	require.Contains(t, second.out.String(), "listed 3 directories")
}

// A copy of a tree without watch has the stamps of that tree, which prove nothing. Copies of the
// copy compare everything, too, until watch runs.
func TestACopyOfACopyOfAnUnwatchedTree(t *testing.T) {
	for name, address := range map[string]func(root string) string{
		"directory": func(root string) string { return root },
		"http":      func(root string) string { return serveTree(t, root).URL },
	} {
		t.Run(name, func(t *testing.T) {
			s := newTree(t, "a/b/f = one", "c = x")
			b := newBench(t, address(s.root))
			b.equal(s)
			second := newBench(t, address(b.config.Dest))
			second.equal(s)
			third := newBench(t, address(second.config.Dest))
			third.equal(s)
			require.Contains(t, third.printStatus(), "state: unwatched\n")
			require.NoError(t, os.WriteFile(s.path("a/b/f"), []byte("changed, and no directory shows it"), 0o644))
			b.equal(s)
			second.equal(s)
			third.equal(s)
		})
	}
}

// So is a copy whose file system keeps no extended attributes: its log counts.
func TestACopyOfACopyWithoutXattrs(t *testing.T) {
	s, b := overHTTP(t, "a/b/f = one", "c/g = x")
	b.equal(s)
	root, err := disk.OpenRoot(b.config.Dest)
	require.NoError(t, err)
	defer root.Close()
	m, err := state.OpenMarker(root, "")
	require.NoError(t, err)
	defer m.Close()
	log, err := records.OpenLog(m)
	require.NoError(t, err)
	for _, dir := range []string{"", "a", "a/b", "c"} {
		record, ok := b.record(dir)
		require.True(t, ok)
		require.NoError(t, log.Set(dir, record))
		require.NoError(t, syscall.Removexattr(b.path(dir), "user.tidemark"))
	}
	require.NoError(t, log.Close())
	second := newBench(t, b.config.Dest)
	require.NoError(t, second.once())
	second.same(s)
	second.requireIdle()
}

// The epoch alone makes a full walk due.
func TestAnotherEpochOfADirectory(t *testing.T) {
	s := watched(t, "a/b/f = one", "c/g = x")
	b := newBench(t, s.root)
	b.equal(s)
	require.NoError(t, os.WriteFile(s.path("a/b/f"), []byte("changed, stamps say nothing"), 0o644))
	b.requireIdle()
	s.epoch(2)
	b.equal(s)
	b.requireIdle()
}
