package serve_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/serve"
	"tidemark/pkg/mtree/wire"
)

// what browsers send
const acceptsPages = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

// A refusal is a page with a way up for browsers, and short text for everybody else.
func TestRefusalsArePages(t *testing.T) {
	s := publishWatched(t, serve.Config{}, map[string]string{"a/b/f": "1"})
	for target, want := range map[string]struct {
		status int
		ways   []string
	}{
		"/a/b/missing":              {404, []string{`<a href="../../">the root</a>`, `<a href="../">a</a>`, `<a href="./">b</a>`}},
		"/a/missing/":               {404, []string{`<a href="../../">the root</a>`, `<a href="../">a</a>`}},
		"/missing":                  {404, []string{`<a href="./">the root</a>`}},
		"/a//missing":               {404, []string{`<a href="./">the directory</a>`}},
		"/a/%00":                    {404, []string{`<a href="./">the directory</a>`}},
		"/?recent=0":                {400, []string{`<a href="./">the root</a>`}},
		"/a/?tar":                   {403, []string{`<a href="../">the root</a>`}},
		"/%3Cscript%3Ealert(1)/x/":  {404, []string{`&lt;script&gt;alert(1)`}},
		"/javascript:alert(1)/a/x/": {404, []string{`<a href="../">a</a>`}},
	} {
		page := s.get(target, "Accept", acceptsPages)
		require.Equal(t, want.status, page.StatusCode, target)
		require.Equal(t, "text/html; charset=utf-8", page.Header.Get("Content-Type"))
		require.Contains(t, page.Header.Get("Content-Security-Policy"), "default-src 'none'")
		require.Equal(t, "1", page.Header.Get("Tidemark-Version"))
		require.Equal(t, "Accept", page.Header.Get("Vary"))
		require.EqualValues(t, len(page.body), page.ContentLength)
		for _, way := range want.ways {
			require.Contains(t, page.body, way, target)
		}
		require.NotContains(t, page.body, "<script")
		require.NotContains(t, page.body, s.root, "no path of the host")
		for _, accept := range []string{"", "*/*", "text/plain", "application/json"} {
			text := s.get(target, "Accept", accept)
			require.Equal(t, want.status, text.StatusCode)
			require.Equal(t, "text/plain; charset=utf-8", text.Header.Get("Content-Type"), "%s %s", target, accept)
			require.Less(t, len(text.body), 200)
		}
	}
	require.Equal(t, 405, s.do(http.MethodPut, "/a", strings.NewReader("x"), "Accept", acceptsPages).StatusCode)
	require.Empty(t, s.do(http.MethodHead, "/missing", nil, "Accept", acceptsPages).body)
	require.Equal(t, "1", s.get("/a/b/f", "Accept", acceptsPages).body, "files come as they are")
	require.Equal(t, "no-cache", s.get("/missing", "Accept", acceptsPages).Header.Get("Cache-Control"))
}

// 401 says what to do, and still asks browsers for the token.
func TestUnauthorizedSaysWhatToDo(t *testing.T) {
	s := publishWatched(t, serve.Config{Tokens: []string{"secret"}}, map[string]string{"a/f": "1"})
	page := s.get("/a/f", "Accept", acceptsPages)
	require.Equal(t, 401, page.StatusCode)
	require.Equal(t, []string{`Basic realm="tidemark", charset="UTF-8"`, `Bearer realm="tidemark"`}, page.Header.Values("Www-Authenticate"))
	for _, want := range []string{"give the token as the password", "Authorization: Bearer TOKEN", "--token-file"} {
		require.Contains(t, page.body, want)
	}
	require.NotContains(t, page.body, "secret")
	text := s.get("/a/f")
	require.Equal(t, 401, text.StatusCode)
	for _, want := range []string{"401 a token is needed", "Bearer TOKEN", "curl -u :TOKEN", "--token-file"} {
		require.Contains(t, text.body, want)
	}
	require.Equal(t, 1, strings.Count(text.body, "\n"))
}

// The commands to copy were refused with 401 where a token is needed.
func TestCommandsSendAToken(t *testing.T) {
	s := publishWatched(t, serve.Config{Tokens: []string{"secret"}, Tar: true}, map[string]string{"a/f": "1"})
	page := s.get("/a/", "Accept", acceptsPages, "Authorization", "Bearer secret").body
	for _, want := range []string{
		"curl -s -u :TOKEN URL?txt<", "curl -s -u :TOKEN URL?tar | tar x<", "wget -m -np -nH --user=x --password=TOKEN URL<", "tidemark-mirror --token-file FILE URL COPY<",
	} {
		require.Contains(t, page, want)
	}
	require.NotContains(t, page, "secret")
}

// ?status is JSON for programs and a page for browsers.
func TestStatusPage(t *testing.T) {
	s := publishWatched(t, serve.Config{Version: "1.2<3>", MaxWaiters: 7}, map[string]string{"a": "1"})
	checkpoint := mtree.Unix(1700000000, 0)
	s.alterStatus(func(st *state.Status) {
		st.State, st.Checkpoint, st.Audit, st.Unread, st.Stamps = wire.Degraded, &checkpoint, &checkpoint, 3, 12345
		st.Error = "<script>alert(1)</script>"
		st.Counters = map[string]int64{"changes_total": 5, "audits_total": 2, "losses_total": 1}
		st.Entries = &state.Entries{Entries: wire.Entries{Files: 10, Directories: 1, Bytes: 5 << 20}}
	})
	for _, headers := range [][]string{{"Accept", acceptsPages}, {"User-Agent", "Mozilla/5.0", "Accept", "text/html"}} {
		page := s.get("/?status", headers...)
		require.Equal(t, 200, page.StatusCode)
		require.Equal(t, "text/html; charset=utf-8", page.Header.Get("Content-Type"))
		require.Equal(t, "no-store", page.Header.Get("Cache-Control"))
		for _, want := range []string{
			`<span class="word bad">degraded</span>`, "Mirrors look at the whole tree", "of 7 at most", "10 files, 1 directory, 5.0 MiB", "serve 1.2&lt;3&gt;",
			"&lt;script&gt;alert(1)", `<dd class="bad">3</dd>`, "12\u202f345", "2 since the watcher was started", "<svg", "Changes a minute of the last 1h",
		} {
			require.Contains(t, page.body, want)
		}
		require.NotContains(t, page.body, "<script")
		require.NotContains(t, page.body, s.root)
	}
	for _, headers := range [][]string{nil, {"Accept", "*/*"}, {"User-Agent", "Wget/1.21", "Accept", "*/*"}, {"Accept", "application/json"}} {
		require.Equal(t, "application/json", s.get("/?status", headers...).Header.Get("Content-Type"), headers)
	}
	require.Equal(t, "application/json", s.get("/?status&json", "Accept", acceptsPages).Header.Get("Content-Type"))
	require.Contains(t, s.get("/?status&html").body, "degraded")
	var report map[string]any
	require.NoError(t, json.Unmarshal([]byte(s.get("/?status").body), &report))
	require.Equal(t, "degraded", report["state"])
	require.Equal(t, 200, s.do(http.MethodHead, "/?status", nil, "Accept", acceptsPages).StatusCode)
}

// Where the root has gone the page says so, and does not fail.
func TestStatusPageOfACopy(t *testing.T) {
	s := &site{T: t, root: t.TempDir()}
	s.cfg = serve.Config{Root: s.root}
	s.write("a", "1")
	s.settle()
	watched(t, s.root, wire.Mirrored)
	s.alterTree(func(tree *state.Tree) {
		tree.Path, tree.Upstream = "/up & down", "http://user:word@origin.example:8077/x/"
	})
	s.start()
	page := s.get("/?status", "Accept", acceptsPages).body
	require.Contains(t, page, "/up &amp; down of the tree")
	require.Contains(t, page, "<li>origin.example:8077")
	require.NotContains(t, page, "word@")
	require.NotContains(t, page, "Changes a minute", "a mirror counts no changes")
}
