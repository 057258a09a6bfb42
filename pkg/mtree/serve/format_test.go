package serve_test

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/serve"
)

// Which format: the query says it outright; otherwise Accept; with none or */*
// text for curl and the original client, HTML for everyone else.
func TestWhichFormat(t *testing.T) {
	s := publishWatched(t, serve.Config{}, map[string]string{"a": "1"})
	const plain, page, array = "text/plain; charset=utf-8", "text/html; charset=utf-8", "application/json"
	for _, test := range []struct{ target, accept, agent, want string }{
		{"/?txt", "text/html", "Mozilla/5.0", plain},
		{"/?json", "", "curl/8", array},
		{"/?html", "application/json", "curl/8", page},
		{"/?txt&unknown=1", "", "", plain},
		{"/?unknown", "", "", page},
		{"/", "", "curl/8.1", plain},
		{"/", "*/*", "curl/8.1", plain},
		{"/", "*/*", "Python-urllib/2.5", plain},
		{"/", "*/*", "Wget/1.21", page},
		{"/", "", "rclone/v1.60", page},
		{"/", "", "lftp/4.9", page},
		{"/", "text/*", "Debian APT", page},
		{"/", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "Mozilla/5.0", page},
		{"/", "application/json", "Mozilla/5.0", array},
		{"/", "application/json, text/html;q=0.5", "", array},
		{"/", "text/plain;q=0.4, text/html;q=0.5", "", page},
		{"/", "text/plain, */*;q=0.1", "", plain},
		{"/", "application/json;q=0", "", page},
		{"/", "application/*", "", array},
		{"/", "text/html;q=0, text/*", "curl/8.1", plain},
		{"/", "text/html;q=0.1, */*;q=0.5, text/plain", "", plain},
		{"/", "*/*;q=0.8", "curl/8.1", plain},
		{"/", "*/*, */*;q=0.1", "Wget/1.21", page},
	} {
		a := s.get(test.target, "Accept", test.accept, "User-Agent", test.agent)
		require.Equal(t, test.want, a.Header.Get("Content-Type"), "%+v", test)
	}
}

// Text: the original server's columns, then attributes, then the end mark.
func TestText(t *testing.T) {
	s := publishWatched(t, serve.Config{}, map[string]string{
		"a b": "12", "d/": "", "l": "-> a b", "\xff\n%": "", "好": "1", ".hidden": "", "big": strings.Repeat("x", 1000),
	})
	lines := strings.Split(s.get("/?txt").body, "\n")
	stamp := mtree.FromTime(past).String()
	require.Regexp(t, `^`+stamp+` \./\t-\tid=[0-9a-f]{16}\tnow=\d+\.\d{9}\thidden=1$`, lines[0])
	require.Regexp(t, `^`+stamp+` a%20b\t2\tmode=0644\tctime=\d+\.\d{9}$`, lines[1])
	require.Regexp(t, `^`+stamp+` big\t1000\tmode=0644`, lines[2])
	require.Regexp(t, `^`+stamp+` d/\t-\tmode=0755\tctime=\d+\.\d{9}$`, lines[3])
	require.Regexp(t, `^\d+\.\d{9} l\t-\tmode=0777\tctime=\d+\.\d{9}\tlink=a%20b$`, lines[4])
	require.Regexp(t, `^`+stamp+` 好\t1\t`, lines[5])
	require.Regexp(t, `^`+stamp+` %FF%0A%25\t0\t`, lines[6])
	require.Equal(t, []string{"#end 6", ""}, lines[7:])
	// The expression of the 2008 client reads plain names and finds no phantom.
	original := regexp.MustCompile(`(?m)^(\d+\.\d+) ([^\s]+)`)
	require.Len(t, original.FindAllString(strings.Join(lines[1:], "\n"), -1), 6)
}

// owner=UID:GID only if asked for at the server.
func TestOwner(t *testing.T) {
	files := map[string]string{"a": "1"}
	require.NotContains(t, publishWatched(t, serve.Config{}, files).get("/?txt").body, "owner=")
	want := fmt.Sprintf("\towner=%d:%d\n", os.Getuid(), os.Getgid())
	require.Contains(t, publishWatched(t, serve.Config{Owner: true}, files).get("/?txt").body, want)
}

// Stamps keep nanoseconds and times from before 1970 to 2446.
func TestTimesOfAllAges(t *testing.T) {
	s := publishWatched(t, serve.Config{}, map[string]string{"old": "", "far": ""})
	old, far := mtree.Unix(-2147483647, 5), mtree.Unix(15032385534, 999999999)
	dir, err := disk.OpenRoot(s.root)
	require.NoError(t, err)
	defer dir.Close()
	require.NoError(t, dir.SetEntryTime("old", old))
	require.NoError(t, dir.SetEntryTime("far", far))
	l := s.list("/")
	require.Equal(t, []mtree.Stamp{far, old}, []mtree.Stamp{l.Entries[0].MTime, l.Entries[1].MTime})
	require.Equal(t, 200, s.get("/?json").StatusCode)
	require.Equal(t, 200, s.get("/?html").StatusCode)
	require.Empty(t, s.get("/old").Header.Get("Last-Modified"))
}

// JSON: nginx's array and keys, and ours.
func TestJSON(t *testing.T) {
	s := publishWatched(t, serve.Config{}, map[string]string{
		"f:\"<&>\\\t": strings.Repeat("x", 12345), "d/x": "1", "l": "-> d/x", "up": "-> d", "gone": "-> nowhere", "out": "-> /etc", "\xff": "", "\xfe": "",
	})
	a := s.get("/?json")
	var rows []map[string]any
	require.NoError(t, json.Unmarshal([]byte(a.body), &rows), a.body)
	by := map[string]map[string]any{}
	for _, row := range rows {
		by[row["href"].(string)+"|"+row["name"].(string)] = row
	}
	stamp := mtree.FromTime(past).String()
	f := by["f%3A%22%3C%26%3E%5C%09|f:\"<&>\\\t"]
	require.Equal(t, "file", f["type"])
	require.Equal(t, "Sat, 03 Feb 2024 04:05:06 GMT", f["mtime"])
	require.Equal(t, 12345.0, f["size"])
	require.Equal(t, stamp, f["mtim"])
	require.Equal(t, "0644", f["mode"])
	require.Contains(t, f, "ctim")
	require.NotContains(t, f, "link")
	require.Equal(t, "directory", by["d/|d"]["type"])
	require.NotContains(t, by["d/|d"], "size")
	// Symlinks are followed, as nginx does.
	require.Equal(t, map[string]any{"type": "file", "size": 1.0, "link": "d/x"}, pick(by["l|l"], "type", "size", "link"))
	require.Equal(t, map[string]any{"type": "directory", "link": "d"}, pick(by["d/|up"], "type", "size", "link"))
	require.Equal(t, map[string]any{"type": "other", "link": "nowhere"}, pick(by["|gone"], "type", "size", "link"))
	require.Equal(t, map[string]any{"type": "other", "link": "/etc"}, pick(by["|out"], "type", "size", "link"))
	// Names that are no UTF-8 share a name; href tells them apart.
	require.Contains(t, by, "%FF|\uFFFD")
	require.Contains(t, by, "%FE|\uFFFD")
}

func pick(row map[string]any, keys ...string) map[string]any {
	out := map[string]any{}
	for _, key := range keys {
		if value, ok := row[key]; ok {
			out[key] = value
		}
	}
	return out
}

// HTML: one row and one href an entry on one line of at most 1000 bytes, hrefs
// relative and escaped, exact bytes, seconds in UTC, ../ first and then directories, nothing that
// wget would follow besides.
func TestHTML(t *testing.T) {
	s := publishWatched(t, serve.Config{}, map[string]string{
		"d/sub/":                           "",
		"d/a b;c:d?e#f%g&h~'\"<":           strings.Repeat("x", 12345),
		"d/" + strings.Repeat("é", 127):    "",
		"d/" + strings.Repeat("\xff", 255): "",
		"d/~x":                             "",
		"d/rtl\u202egpj.exe":               "",
	})
	s.settle()
	a := s.get("/d/?html")
	rows := regexp.MustCompile(`(?m)^<tr.*</tr>$`).FindAllString(a.body, -1)
	require.Equal(t, `<tr class="up"><td class="n"><a href="../">../</a></td><td class="m"></td><td class="s">-</td></tr>`, rows[0])
	require.Len(t, rows, 7)
	want := []string{
		`<tr class="d"><td class="n"><a href="sub/">sub</a>/</td><td class="m">2024-Feb-03 04:05:06</td><td class="s">-</td><td class="t">-</td></tr>`,
		`<tr><td class="n"><a href="a%20b%3Bc%3Ad%3Fe%23f%25g%26h~%27%22%3C">a b;c:d?e#f%g&amp;h~&#39;&#34;&lt;</a></td><td class="m">2024-Feb-03 04:05:06</td><td class="s">12345</td><td class="t">12.1 KiB</td></tr>`,
		`<tr><td class="n"><a href="rtl%E2%80%AEgpj.exe">rtl` + "\uFFFD" + `gpj.exe</a></td><td class="m">2024-Feb-03 04:05:06</td><td class="s">0</td><td class="t">0 bytes</td></tr>`,
		`<tr><td class="n"><a href="~x">~x</a></td><td class="m">2024-Feb-03 04:05:06</td><td class="s">0</td><td class="t">0 bytes</td></tr>`,
	}
	require.Equal(t, want, rows[1:5])
	for _, row := range rows {
		require.LessOrEqual(t, len(row), 1000)
		require.Equal(t, 1, strings.Count(row, "<a href="))
	}
	page, _, _ := strings.Cut(a.body, "<script>")
	require.NotRegexp(t, `href="[^"]*\?`, page)
	for _, bad := range []string{"<link", "<base", "robots"} {
		require.NotContains(t, page, bad)
	}
	require.Contains(t, page, "curl -s URL?txt")
	require.Contains(t, page, "wget -m")
	require.Contains(t, page, "tidemark-mirror URL COPY")
	require.NotContains(t, s.get("/?html").body, `href="../"`, "nothing is above the root")
}

// The page runs its own script and nothing else, whatever a file is called.
func TestHTMLPolicy(t *testing.T) {
	s := publishWatched(t, serve.Config{}, map[string]string{"\"><script>alert(1)<": "1", "\"><script>alert(2)</x": "1"})
	for _, target := range []string{"/?html", "/%22%3E%3Cscript%3Ealert(2)%3C/?html"} {
		a := s.get(target)
		require.Equal(t, 1, strings.Count(a.body, "<script>"), target)
		policy := a.Header.Get("Content-Security-Policy")
		require.Contains(t, policy, "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
		require.Regexp(t, `style-src 'sha256-[A-Za-z0-9+/]{43}='; script-src 'sha256-[A-Za-z0-9+/]{43}='`, policy)
		require.NotContains(t, policy, "unsafe")
	}
}

// A symlink to a directory is shown with the directory's own URL, and a request for the
// symlink is answered with that: no client that goes down goes in circles.
func TestSymlinkToDirectory(t *testing.T) {
	s := publishWatched(t, serve.Config{}, map[string]string{
		"a/b/x": "1", "cur": "-> a/b", "a/self": "-> .", "a/up": "-> ..", "c/over": "-> ../a/b",
	})
	require.Contains(t, s.get("/?html").body, `<tr class="l"><td class="n"><a href="a/b/">cur</a>/`)
	require.Contains(t, s.get("/c/?html").body, `<a href="../a/b/">over</a>`)
	require.Contains(t, s.get("/a/?html").body, `<a href="./">self</a>`)
	for target, location := range map[string]string{
		"/cur": "a/b/", "/cur/": "../a/b/", "/cur/?txt": "../a/b/?txt", "/c/over": "../a/b/", "/c/over/": "../../a/b/",
		"/a/self/self/": "../../", "/a/up": "../",
	} {
		a := s.get(target)
		require.Equal(t, 302, a.StatusCode, target)
		require.Equal(t, location, a.Header.Get("Location"), target)
	}
	require.Equal(t, "1", s.get("/cur/x").body)
	require.Equal(t, 404, s.get("//cur/").StatusCode, "what is relative to such a URL is not to the path")
}

// What is behind symlinks is sent with the URL that it has without them. So a mirror does not
// take it for a file that it listed there before a symlink took the place.
func TestFilesBehindSymlinks(t *testing.T) {
	s := publishWatched(t, serve.Config{}, map[string]string{
		"a/b/x y": "1", "cur": "-> a/b", "l": "-> m", "m": "-> cur/x y", "a/up": "-> ../l", "a/b/same": "-> x y",
	})
	tag := s.get("/a/b/x%20y").Header.Get("ETag")
	for target, at := range map[string]string{
		"/cur/x%20y": "../a/b/x%20y", "/l": "a/b/x%20y", "/a/up": "b/x%20y", "/a/b/same": "./x%20y",
		"/a/b/x%20y": "", "//a/b/same": "",
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			a := s.do(method, target, nil)
			require.Equal(t, 200, a.StatusCode, target)
			require.Equal(t, tag, a.Header.Get("ETag"), target)
			require.Equal(t, at, a.Header.Get("Content-Location"), target)
		}
		require.Equal(t, at, s.get(target, "Range", "bytes=0-0").Header.Get("Content-Location"), target)
		require.Equal(t, at, s.get(target, "If-None-Match", tag).Header.Get("Content-Location"), target)
		require.Empty(t, s.get(target, "If-Match", `"x"`).Header.Get("Content-Location"), target)
	}
}

// Gzip for listings, never for files; q=0 means no.
func TestCoding(t *testing.T) {
	s := publishWatched(t, serve.Config{}, map[string]string{"a.txt": strings.Repeat("text ", 1000)})
	plain := s.get("/?json")
	for accept, want := range map[string]string{
		"": "", "gzip": "gzip", "br, gzip;q=0.5": "gzip", "*": "gzip", "gzip;q=0": "", "identity": "", "*, gzip;q=0": "",
	} {
		a := s.get("/?json", "Accept-Encoding", accept)
		require.Equal(t, want, a.Header.Get("Content-Encoding"), accept)
		require.Equal(t, fmt.Sprint(len(a.body)), a.Header.Get("Content-Length"))
		if want == "" {
			require.Equal(t, plain.body, a.body)
			continue
		}
		z, err := gzip.NewReader(strings.NewReader(a.body))
		require.NoError(t, err)
		text, err := io.ReadAll(z)
		require.NoError(t, err)
		require.Equal(t, plain.body, string(text))
		require.NotEqual(t, plain.Header.Get("ETag"), a.Header.Get("ETag"))
	}
	file := s.get("/a.txt", "Accept-Encoding", "gzip")
	require.Empty(t, file.Header.Get("Content-Encoding"))
	require.Len(t, file.body, 5000)
}

// GET has a length up to 8 MiB, beyond that chunks.
func TestLongListing(t *testing.T) {
	s := publishWatched(t, serve.Config{Root: inMemory(t)}, nil)
	for i := range 11_000 {
		require.NoError(t, os.Symlink("x", s.path(strings.Repeat("\xff", 250)+fmt.Sprint(i))))
	}
	a := s.get("/?txt")
	require.Greater(t, len(a.body), 8<<20)
	require.Equal(t, int64(-1), a.ContentLength)
	l, err := mtree.ParseListing([]byte(a.body))
	require.NoError(t, err)
	require.Len(t, l.Entries, 11_000)
	z := s.get("/?txt", "Accept-Encoding", "gzip")
	require.Equal(t, "gzip", z.Header.Get("Content-Encoding"))
	require.Equal(t, 304, s.get("/?txt", "If-None-Match", z.Header.Get("ETag")).StatusCode)
	_, rows, _ := strings.Cut(a.body, "\n") // the first line has the time of its reading
	for _, packed := range []string{z.body, s.get("/?txt&since=0", "Accept-Encoding", "gzip").body} {
		unzip, err := gzip.NewReader(strings.NewReader(packed))
		require.NoError(t, err)
		plain, err := io.ReadAll(unzip)
		require.NoError(t, err)
		_, got, _ := strings.Cut(string(plain), "\n")
		got, _, _ = strings.Cut(got, "#stamp ")
		require.True(t, rows == got)
	}
}

// HTML: also the row of a symlink that leads far away has at most 1000 bytes; it
// names the link, which is answered by the way there.
func TestFarAwayIsNamedByTheLink(t *testing.T) {
	far := strings.Repeat(strings.Repeat("\xff", 200)+"/", 4) + "end"
	s := publishWatched(t, serve.Config{}, map[string]string{far + "/x": "1", "l\xff": "-> " + far})
	for row := range strings.Lines(s.get("/?html").body) {
		if strings.HasPrefix(row, "<tr") {
			require.LessOrEqual(t, len(row), 1000)
		}
	}
	require.Contains(t, s.get("/?html").body, `<tr class="l"><td class="n"><a href="l%FF/">l`+"\uFFFD"+`</a>/</td>`)
	require.Contains(t, s.get("/?json").body, `"href":"l%FF/"`)
	a := s.get("/l%FF/?txt")
	require.Equal(t, 302, a.StatusCode)
	require.Equal(t, "../"+strings.Repeat(strings.Repeat("%FF", 200)+"/", 4)+"end/?txt", a.Header.Get("Location"))
}

// HTML: the page says how much is in the directory, whatever the sizes add up to.
func TestAmounts(t *testing.T) {
	s := publishWatched(t, serve.Config{Root: inMemory(t)}, nil)
	for _, test := range []struct {
		size int64
		want string
	}{
		{0, "1 entry, 0 bytes<"}, {1, "1 entry, 1 byte<"}, {1023, "1 entry, 1023 bytes<"}, {1024, "1 entry, 1.0 KiB<"}, {1 << 20, "1 entry, 1.0 MiB<"},
		{5 << 40, "1 entry, 5.0 TiB<"}, {1<<63 - 1<<12, "1 entry, 8.0 EiB<"},
	} {
		require.NoError(t, os.WriteFile(s.path("a"), nil, 0o644))
		require.NoError(t, os.Truncate(s.path("a"), test.size))
		require.NoError(t, os.Chtimes(s.path(""), past, past))
		require.Contains(t, s.get("/?html").body, test.want)
	}
	require.NoError(t, os.WriteFile(s.path("b"), nil, 0o644))
	require.NoError(t, os.Truncate(s.path("b"), 1<<63-1<<12))
	require.Contains(t, s.get("/?html").body, "2 entries, 16.0 EiB<")
}
