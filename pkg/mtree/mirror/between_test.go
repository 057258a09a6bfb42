package mirror

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/testtree"
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/mirror/internal/source/remote"
	"tidemark/pkg/mtree/wire"
)

// What proxies, firewalls and other servers between serve and mirror answer.

// refuseAll answers everything but the root with a status that does not come from serve.
func refuseAll(status int) func(w http.ResponseWriter, r *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/" && r.Method == http.MethodGet {
			return false
		}
		w.WriteHeader(status)
		return true
	}
}

// A 403 of a firewall was taken for one of serve, so the directories that it refused were
// completed: --wait-for succeeded, the copy was empty, and nothing was fetched when the
// firewall let everything through again.
func TestAForbiddenThatIsNotOfServe(t *testing.T) {
	s, b := overHTTP(t, "a/f = one", "a/b/g = two", "top = three")
	b.server.interfere(refuseAll(http.StatusForbidden))
	require.Equal(t, exit.Failed, exit.Of(b.once()))
	require.Contains(t, b.out.String(), "skipped 0, failed 2")
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, WaitFor(ctx, b.config, stampOf(t, s.root)), context.DeadlineExceeded)
	b.server.interfere(nil)
	b.equal(s)
	b.requireIdle()

	s.change("a/f = changed", "a/b/new = x")
	s.remove("a/b/g")
	b.server.interfere(refuseAll(http.StatusForbidden))
	require.Equal(t, exit.Failed, exit.Of(b.once()))
	require.Equal(t, "two", b.read("a/b/g"), "unknown is not empty")
	b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		return !strings.HasSuffix(r.URL.Path, "/") && refuseAll(http.StatusForbidden)(w, r)
	})
	require.Equal(t, exit.Failed, exit.Of(b.once()))
	require.Equal(t, "one", b.read("a/f"))
	b.server.interfere(nil)
	b.equal(s)
	b.requireIdle()
}

// A 304 to a plain GET of a directory below the root emptied that directory in the copy.
// Neither a 304 nor a 206 answers a request that did not ask for it, whatever it carries.
func TestStatusesThatNobodyAskedFor(t *testing.T) {
	for _, status := range []int{http.StatusNotModified, http.StatusPartialContent, http.StatusNoContent, http.StatusResetContent} {
		for _, dressed := range []bool{true, false} {
			t.Run(fmt.Sprint(status, dressed), func(t *testing.T) {
				s, b := overHTTP(t, "b/g = one", "b/deep/x = two", "c/y = three")
				b.equal(s)
				s.change("b/deep/x = changed", "b/new = x")
				s.remove("c/y")
				only := ""
				b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
					if r.Method == http.MethodPost {
						w.WriteHeader(http.StatusMethodNotAllowed)
						return true
					}
					if r.Method != http.MethodGet || r.URL.Path != only {
						return false
					}
					body := ""
					if dressed {
						r.Header.Del("Accept-Encoding")
						answer := httptest.NewRecorder()
						b.server.handler.ServeHTTP(answer, r)
						if status == http.StatusPartialContent {
							body = answer.Body.String() // all of it
						}
						for key, values := range answer.Header() {
							w.Header()[key] = values
						}
						w.Header().Del("Content-Length")
					}
					w.WriteHeader(status)
					_, _ = io.WriteString(w, body)
					return true
				})
				for _, only = range []string{"/b/", "/b/deep/", "/c/", "/b/new", "/b/deep/x"} {
					s.publish("b/deep/x")
					s.publish("c")
					require.Equal(t, exit.Failed, exit.Of(b.once()), only)
					require.Equal(t, "one", b.read("b/g"))
					require.FileExists(t, b.path("b/deep/x"))
				}
				only = "/"
				require.Equal(t, exit.Unreachable, exit.Of(b.once()))
				only = ""
				b.equal(s)
				b.requireIdle()
			})
		}
	}
}

// tornServer lists one file of 4,065 bytes in one kind of listing, and sends what the test
// gives it over the bare connection.
func tornServer(t *testing.T, kind, listing string, send func(conn io.Writer, body string)) *bench {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPost, kind != "text/plain" && strings.Contains(r.URL.RawQuery, "txt"):
			w.WriteHeader(http.StatusNotFound)
		case r.URL.Path == "/":
			w.Header().Set("Content-Type", kind)
			_, _ = io.WriteString(w, listing)
		default:
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				send(conn, strings.Repeat("y", 4065))
				_ = conn.Close()
			}
		}
	}))
	t.Cleanup(server.Close)
	b := newBench(t, server.URL)
	b.config.Log = nil
	return b
}

// The beginning of an answer that broke off, without ETag and length, replaced the whole
// file. However an answer is framed, it fails if its length is not the listed one; if the
// listing only rounds the length, an answer without any length fails.
func TestTornAnswers(t *testing.T) {
	date := "Last-Modified: " + time.Unix(1_700_000_100, 0).UTC().Format(http.TimeFormat) + "\r\n"
	day := time.Unix(1_700_000_100, 0).UTC()
	page := `<html><head><title>Index of /</title></head><body><h1>Index of /</h1><pre><a href="f">f</a>  ` + day.Format("02-Jan-2006 15:04") + "  %s\n</pre></body></html>"
	listings := map[string][2]string{
		"text":  {"text/plain", "1700000100.000000000 ./\t-\n1700000100.000000000 f\t4065\tctime=1700000100.000000000\n#end 1\n"},
		"json":  {"application/json", `[{"name":"f","type":"file","mtime":"` + day.Format(http.TimeFormat) + `","size":4065}]`},
		"exact": {"text/html", fmt.Sprintf(page, "4065")},
		"round": {"text/html", fmt.Sprintf(page, "4.0K")},
	}
	frames := map[string]func(conn io.Writer, body string){
		"1.0": func(c io.Writer, body string) { fmt.Fprintf(c, "HTTP/1.0 200 OK\r\n%s\r\n%s", date, body) },
		"close": func(c io.Writer, body string) {
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nConnection: close\r\n%s\r\n%s", date, body)
		},
		"chunked": func(c io.Writer, body string) {
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n", date, len(body), body)
		},
		"length": func(c io.Writer, body string) {
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n%s\r\n%s", len(body), date, body)
		},
	}
	for kind, listing := range listings {
		for frame, send := range frames {
			t.Run(kind+" "+frame, func(t *testing.T) {
				size := 1000
				b := tornServer(t, listing[0], listing[1], func(c io.Writer, body string) { send(c, (body + body)[:size]) })
				testtree.Make(t, b.config.Dest, "f = old @1000000000.000000000")
				b.config.Adopt = true
				for _, durability := range []string{Batch, Each} {
					b.config.Durability = durability
					for _, size = range []int{0, 1000, 4064, 4066, 8000} {
						if kind == "round" && (size == 4064 || size == 4066) {
							continue // this one may be complete
						}
						require.Equal(t, exit.Failed, exit.Of(b.once()), "%d bytes", size)
						require.Equal(t, "old", b.read("f"), "%d bytes", size)
					}
				}
				size = 4065
				err := b.once()
				if kind == "round" && (frame == "1.0" || frame == "close") {
					require.Equal(t, exit.Failed, exit.Of(err), "nothing tells that it is whole")
					return
				}
				require.NoError(t, err)
				require.Equal(t, strings.Repeat("y", 4065), b.read("f"))
			})
		}
	}
}

// The beginning of a large file that came without its ETag was continued with bytes of the
// version that has the ETag. And if a proxy removes the ETags of ranges, such a file was
// never completed.
func TestPartsAreOfOneVersion(t *testing.T) {
	s, b := overHTTP(t, "big = "+strings.Repeat("a", 9<<20))
	strip := func(w http.ResponseWriter, r *http.Request, cut int) {
		answer := httptest.NewRecorder()
		b.server.handler.ServeHTTP(answer, r)
		for key, values := range answer.Header() {
			w.Header()[key] = values
		}
		w.Header().Del("ETag")
		w.WriteHeader(answer.Code)
		_, _ = (&cutWriter{w, cut}).Write(answer.Body.Bytes())
	}
	b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/big" || r.Method != http.MethodGet {
			return false
		}
		r.Header.Del("If-Match")
		strip(w, r, 1<<20)
		return true
	})
	require.Equal(t, exit.Failed, exit.Of(b.once()))
	left, err := os.ReadDir(b.path(".tidemark/tmp"))
	require.NoError(t, err)
	require.Empty(t, left, "which version it is of nobody said")

	b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/big" || r.Method != http.MethodGet {
			return false
		}
		if r.Header.Get("Range") != "" {
			w.WriteHeader(http.StatusInternalServerError)
			return true
		}
		b.server.handler.ServeHTTP(&cutWriter{w, 4 << 20}, r)
		return true
	})
	require.Equal(t, exit.Failed, exit.Of(b.once()))
	parts, err := filepath.Glob(b.path(".tidemark/tmp/part-*"))
	require.NoError(t, err)
	require.Len(t, parts, 1)
	b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Range") == "" {
			return false
		}
		strip(w, r, 9<<20)
		return true
	})
	b.equal(s)
}

// Behind a proxy that lets no POST through, a directory was never completed: sums were
// asked for by POST only.
func TestAProxyThatRefusesPost(t *testing.T) {
	for _, status := range []int{http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusNotImplemented, http.StatusRequestEntityTooLarge} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			s, b := overHTTP(t, "a/f = one", "a/same = two", "gone = x", "large = "+strings.Repeat("l", 100_000))
			b.equal(s)
			b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodPost {
					return false
				}
				w.WriteHeader(status)
				return true
			})
			s.forge("a/f", "ONE")
			s.publish("a/f")
			require.NoError(t, os.Rename(s.path("large"), s.path("a/large")))
			s.publish("a/large")
			s.change("a/new = x", "a/newer = y")
			s.remove("gone")
			b.equal(s)
			b.requireIdle()
			b.config.Out = io.Discard
			require.NoError(t, Verify(context.Background(), b.config, false))
			require.NoError(t, os.WriteFile(b.path("a/same"), []byte("TWO"), 0o644))
			old, err := os.Stat(s.path("a/same"))
			require.NoError(t, err)
			require.NoError(t, os.Chtimes(b.path("a/same"), old.ModTime(), old.ModTime()))
			require.Equal(t, exit.Failed, exit.Of(Verify(context.Background(), b.config, false)))
		})
	}
}

// If something else answered first, with an index page or a 404, mirror took serve for a
// server of another kind until mirror was restarted. Each answer says what kind of server
// it comes from, also when another one takes the place of serve.
func TestEachAnswerTellsTheKindOfServer(t *testing.T) {
	s := watched(t, "a/f = one", "top = two")
	b := s.benchOverHTTP()
	index := true
	b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if !index {
			return false
		}
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, `<html><head><title>Index of /</title></head><body><h1>Index of /</h1></body></html>`)
		return true
	})
	src, err := remote.Open(remote.Config{URL: b.config.Source})
	require.NoError(t, err)
	defer src.Close()
	a, err := src.Root(t.Context(), source.Poll{})
	require.NoError(t, err)
	require.True(t, a.OtherServer)
	index = false
	below, err := src.List(t.Context(), "a", mtree.Stamp{})
	require.NoError(t, err)
	require.Nil(t, below.Approx, "serve's own word counts in each answer")
	require.NotEmpty(t, below.Tree.ID)
	a, err = src.Root(t.Context(), source.Poll{})
	require.NoError(t, err)
	require.False(t, a.OtherServer)
	require.Equal(t, wire.Watched, a.State)
	b.server.requests()
	_, err = src.List(t.Context(), "a", mtree.Stamp{})
	require.NoError(t, err)
	require.Equal(t, []string{"GET /a/?txt"}, b.server.requests(), "what is below is asked for as serve is asked")
	index = true
	a, err = src.Root(t.Context(), source.Poll{})
	require.NoError(t, err)
	require.True(t, a.OtherServer)
}

// The same for a running mirror: it looks again before the next full walk.
func TestRunNoticesThatServeAnswers(t *testing.T) {
	s := watched(t, "a/f = one", "top = two")
	b := s.benchOverHTTP()
	b.config.serveLook = 10 * time.Millisecond
	b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, `<html><head><title>Index of /</title></head><body><h1>Index of /</h1></body></html>`)
		return true
	})
	b.start()
	require.True(t, assertEventually(func() bool { return b.stats.Passes.Load() > 0 }))
	b.server.interfere(nil)
	b.eventually(s)
	require.Equal(t, s.id.ID, b.published().Tree.ID)
}

// If a proxy removed the ids from a listing, the records had none afterwards: another
// directory under the same name in the next listing was then taken for the same one.
func TestALostDirectoryIDIsKept(t *testing.T) {
	s, b := overHTTP(t, "d/f = one @1000000000.000000000")
	b.equal(s)
	before, ok := b.record("d")
	require.True(t, ok)
	require.NotEmpty(t, before.ID)
	b.server.alter("/d/?txt", func(body string) string {
		self, rest, _ := strings.Cut(body, "\n")
		at := strings.Index(self, "\tid=")
		return self[:at] + self[at+len("\tid=")+16:] + "\n" + rest
	})
	s.change("d/g = x")
	b.equal(s)
	after, _ := b.record("d")
	require.Equal(t, before.ID, after.ID)
	b.server.interfere(nil)
	require.NoError(t, os.Rename(s.path("d"), s.path("away")))
	s.change("d/f = TWO @1000000000.000000000", "d/g = x")
	s.remove("away")
	at := mtree.Unix(1_000_000_000, 0).Time()
	require.NoError(t, os.Chtimes(s.path("d/f"), at, at))
	b.equal(s)
}

// --verify left out directories that a proxy hid with a 404, and files whose sums did not
// come, and reported that all was equal.
func TestVerifyPassesNothingOver(t *testing.T) {
	s, b := overHTTP(t, "a/f = one", "a/g = two", "b/h = x")
	b.equal(s)
	for path, status := range map[string]int{"/a/?txt": http.StatusNotFound, "/b/?txt": http.StatusForbidden, "/?sums&tags": http.StatusOK} {
		b.server.answer(path, status, "")
		out := &strings.Builder{}
		b.config.Out = out
		require.Error(t, Verify(t.Context(), b.config, false), path)
		if status == http.StatusOK { // the word of docs/operations.md, and not "differs": nothing is known
			require.Contains(t, out.String(), "no sum of \"a/f\"\nno sum of \"a/g\"\n")
			require.NotContains(t, out.String(), "differs \"a/")
		}
	}
	b.server.interfere(nil)
	require.NoError(t, Verify(t.Context(), b.config, false))
}

// --verify went down into directories that the copy does not have. A proxy that gave the
// root's listing for each directory of an unwatched tree had it go on for ever.
func TestVerifyEndsWhereTheCopyDoes(t *testing.T) {
	s, b := overHTTP(t, "a/f = one", "a/b/g = two")
	b.equal(s)
	require.NoError(t, os.RemoveAll(b.path("a")))
	asked := 0
	b.server.interfere(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/a/") {
			asked++
		}
		return false
	})
	out := &strings.Builder{}
	b.config.Out = out
	require.ErrorContains(t, Verify(t.Context(), b.config, false), "1 paths differ")
	require.Contains(t, out.String(), "missing \"a\"\n")
	require.Zero(t, asked)
}

// Behind a proxy that removes ETags, a file that was fetched with a GET of its own got
// its time to the second only, so its directory was never complete. No 304 could confirm
// the root either, so it was walked and the file fetched again and again without a pause.
func TestAProxyThatTakesETagsAway(t *testing.T) {
	s, b := overHTTP(t, "a/large = "+strings.Repeat("x", 2<<20), "a/small = y", "b/f = z")
	bad := ""
	b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if bad != "" && r.URL.Path == bad {
			w.WriteHeader(http.StatusInternalServerError)
			return true
		}
		answer := httptest.NewRecorder()
		b.server.handler.ServeHTTP(answer, r)
		for key, values := range answer.Header() {
			if key != "Etag" {
				w.Header()[key] = values
			}
		}
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
		return true
	})
	b.equal(s)
	b.requireIdle()
	s.change("a/large = "+strings.Repeat("z", 2<<20), "a/new = x")
	b.equal(s)
	b.config.Interval = 5 * time.Millisecond
	b.start()
	s.change("b/f = changed")
	b.eventually(s)
	passes := b.stats.Passes.Load()
	asked := b.stats.Requests.Load()
	require.True(t, assertEventually(func() bool { return b.stats.Requests.Load() > asked+20 }))
	require.LessOrEqual(t, b.stats.Passes.Load(), passes+1, "the root is asked for, and nothing is new")
}
