package serve_test

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/serve"
)

// found returns the paths in the text answer to a search, and whether there is more.
func (s *site) found(dir, query string) (paths []string, more bool) {
	s.Helper()
	a := s.get(dir + "?txt&find=" + query)
	require.Equal(s, 200, a.StatusCode, a.body)
	require.Equal(s, "no-store", a.Header.Get("Cache-Control"))
	lines := strings.Split(strings.TrimSuffix(a.body, "\n"), "\n")
	end := lines[len(lines)-1]
	for _, line := range lines[:len(lines)-1] {
		if line == "#more" {
			more = true
			continue
		}
		name, _, _ := strings.Cut(line, "\t")
		_, name, _ = strings.Cut(name, " ")
		paths = append(paths, name)
	}
	require.Equal(s, fmt.Sprintf("#end %d", len(paths)), end)
	require.Equal(s, more, a.Header.Get("Tidemark-More") == "1")
	return paths, more
}

// ?find=: a word anywhere in a name, or a glob as everywhere; higher directories first; from the directory asked.
func TestFind(t *testing.T) {
	s := publishWatched(t, serve.Config{Exclude: []string{"*.bak", "/closed/"}}, map[string]string{
		"Report.txt": "1", "a/report-2.txt": "22", "a/b/c/reports/x.jpg": "", "a/b/y.JPG": "", "a b+c": "", "a/l": "-> ../Report.txt", "a/d": "-> b",
		".report": "", ".git/report": "", "report.bak": "", "closed/report": "", "100%/<b>&report": "",
	})
	for query, want := range map[string][]string{
		"report":         {"Report.txt", "100%25/%3Cb%3E&report", "a/report-2.txt", "a/b/c/reports/"},
		"REPORT-2":       {"a/report-2.txt"},
		"*.jpg":          {"a/b/c/reports/x.jpg"},
		"*.[jJ][pP][gG]": {"a/b/y.JPG", "a/b/c/reports/x.jpg"},
		"reports/":       {"a/b/c/reports/"},
		"/a/*":           {"a/b/", "a/d", "a/l", "a/report-2.txt"},
		"/a/**/*.jpg":    {"a/b/c/reports/x.jpg"},
		"b/*.JPG":        {"a/b/y.JPG"},
		"{y,x}.*":        {"a/b/y.JPG", "a/b/c/reports/x.jpg"},
		"%20b":           {"a%20b+c"},
		"b%2Bc":          {"a%20b+c"},
		"b+c":            {"a%20b+c"},
		"nothing":        nil,
		"bak":            nil, // what is not published is not found
		"closed":         nil,
		"git":            nil,
	} {
		paths, more := s.found("/", query)
		require.Equal(t, want, paths, query)
		require.False(t, more)
	}
	paths, _ := s.found("/", strings.Repeat(",", 40)) // no work
	require.Empty(t, paths)
	paths, _ = s.found("/a/b/", "*.jpg")
	require.Equal(t, []string{"c/reports/x.jpg"}, paths, "paths are from the directory asked")
	paths, _ = s.found("/a/b/", "/*.JPG")
	require.Equal(t, []string{"y.JPG"}, paths, "a leading slash is that directory")
	// Browsers send a blank as a plus and a plus as %2B.
	paths, _ = s.found("/", "a+b%2Bc&form=1")
	require.Equal(t, []string{"a%20b+c"}, paths)

	page := s.get("/?html&find=" + url.QueryEscape("<b>") + "&form=1").body
	require.Contains(t, page, `value="&lt;b&gt;"`)
	require.Contains(t, page, "<title>&lt;b&gt; in /</title>")
	require.Contains(t, page, `<a href="100%25/%3Cb%3E%26report">100%/&lt;b&gt;&amp;report</a>`)
	require.Contains(t, page, `<a href="./">./</a>`, "the way back")
	require.Contains(t, page, "1 found, 0 bytes")
	require.NotContains(t, page, "data-tag")
	require.Contains(t, s.get("/?json&find=x.jpg").body, `"href":"a/b/c/reports/x.jpg"`)
	require.Contains(t, s.get("/?json&find=/a/l").body, `"type":"file"`, "symlinks are followed, as in listings")

	for _, bad := range []string{"", "[", "a**b", "/", "{a", strings.Repeat("a", 1025), "{a,b}{a,b}{a,b}{a,b}", "{" + strings.Repeat(",", 33) + "}"} {
		require.Equal(t, 400, s.get("/?find="+url.PathEscape(bad)).StatusCode, bad)
	}
	require.Equal(t, 404, s.get("/missing/?find=x").StatusCode)
	require.Equal(t, 404, s.get("/closed/?find=report").StatusCode)
	require.Equal(t, 200, s.do(http.MethodHead, "/?find=x", nil).StatusCode)
}

// A search works where no stamp prunes.
func TestFindUnwatched(t *testing.T) {
	s := publish(t, serve.Config{}, map[string]string{"a/x": "", "b/x": ""})
	paths, _ := s.found("/", "x")
	require.Equal(t, []string{"a/x", "b/x"}, paths)
}

// bound serves the tree anew, with these bounds of searches.
func (s *site) bound(found, read, pending, seconds int) {
	s.Helper()
	h, err := serve.New(s.cfg)
	require.NoError(s, err)
	s.Cleanup(func() { _ = h.Close() })
	h.SetFindBounds(found, read, pending, seconds)
	s.h = h
	s.listen(h)
}

// Work and output are bounded, and an answer that is not all says so.
func TestFindBounds(t *testing.T) {
	files := map[string]string{}
	for i := range 30 {
		files[fmt.Sprintf("d%02d/f", i)] = ""
	}
	s := publishWatched(t, serve.Config{}, files)
	all, more := s.found("/", "f")
	require.Len(t, all, 30)
	require.False(t, more)
	for name, bound := range map[string][4]int{"found": {29, 1 << 20, 1 << 20, 1000}, "read": {1000, 45, 1 << 20, 1000}, "pending": {1000, 1 << 20, 20, 1000}, "time": {1000, 1 << 20, 1 << 20, 0}} {
		s.bound(bound[0], bound[1], bound[2], bound[3])
		some, more := s.found("/", "f")
		require.Less(t, len(some), 30, name)
		require.True(t, more, name)
		require.Contains(t, s.get("/?html&find=f").body, `id="more"`, name)
	}
	s.bound(30, 61, 30, 1000)
	all, more = s.found("/", "f")
	require.Len(t, all, 30)
	require.False(t, more, "what is exactly at the bounds is all")
	require.NotContains(t, s.get("/?html&find=f").body, `id="more"`)
}

// A search for names below a directory that is named looked at the whole tree.
func TestASearchGoesWhereItsNamesLead(t *testing.T) {
	files := map[string]string{"d/e/f1": "", "d/e/sub/f2": "", "d/e-not/f": "", "e/f": ""}
	for i := range 30 {
		files[fmt.Sprintf("o%02d/f", i)] = ""
	}
	s := publishWatched(t, serve.Config{}, files)
	s.bound(1000, 40, 1<<20, 1000)
	for query, want := range map[string][]string{"/d/e/f*": {"d/e/f1"}, "/d/e/**/f*": {"d/e/f1", "d/e/sub/f2"}, "/d/e/": {"d/e/"}, "/e/f": {"e/f"}} {
		some, more := s.found("/", url.QueryEscape(query))
		require.Equal(t, want, some, query)
		require.False(t, more, query)
	}
	_, more := s.found("/", url.QueryEscape("/?/f"))
	require.True(t, more, "everything is looked at")
}

// In one large directory the time ends a search, too: a GLOB of a client may cost much for each name.
func TestFindInALargeDirectory(t *testing.T) {
	files := map[string]string{}
	for i := range 2000 {
		files[fmt.Sprintf("f%04d", i)] = ""
	}
	s := publishWatched(t, serve.Config{Root: inMemory(t)}, files)
	s.bound(10_000, 1<<20, 1<<20, 0)
	some, more := s.found("/", "f")
	require.Len(t, some, 1023)
	require.True(t, more)
}

// The page: directories first, each kind in its order; the exact bytes stay, in the cell that programs read.
func TestPageOrder(t *testing.T) {
	for _, names := range [][]string{{"a", "b/", "c", "d/", "e"}, {"a/", "b", "c/", "d/"}, {"a", "b"}, {"a/", "b/"}, {"z/", "a"}, {}} {
		files := map[string]string{}
		for _, name := range names {
			files[name] = ""
		}
		s := publishWatched(t, serve.Config{}, files)
		s.settle()
		var dirs, others []string
		for _, name := range names {
			if strings.HasSuffix(name, "/") {
				dirs = append(dirs, name)
			} else {
				others = append(others, name)
			}
		}
		require.Equal(t, append(dirs, others...), hrefs(s.get("/?html").body))
		require.True(t, slices.IsSortedFunc(namesOf(s.get("/?txt").body), func(a, b string) int {
			return strings.Compare(strings.TrimSuffix(a, "/"), strings.TrimSuffix(b, "/"))
		}), "only pages have another order")
	}
}

// hrefs returns where the rows of a page lead.
func hrefs(page string) (all []string) {
	for _, m := range regexp.MustCompile(`<tr[^>]*><td class="n"><a href="([^"]*)">`).FindAllStringSubmatch(page, -1) {
		all = append(all, m[1])
	}
	return all
}

// namesOf returns the names in a text listing.
func namesOf(text string) (all []string) {
	lines := strings.Split(text, "\n")
	for _, line := range lines[1:] {
		if _, name, ok := strings.Cut(line, " "); ok && !strings.HasPrefix(line, "#") {
			name, _, _ = strings.Cut(name, "\t")
			all = append(all, name)
		}
	}
	return all
}

// The page shows the README of its directory as text, whatever is in it; one that is no text, or that is not
// published, is not shown.
func TestReadme(t *testing.T) {
	long := strings.Repeat("é", 40<<10)
	s := publishWatched(t, serve.Config{Exclude: []string{"/hidden/README"}}, map[string]string{
		"README": "plain", "readme.MD": "# first\n\t<script>alert(1)</script>\r\nlast \u202e\x1b[31m",
		"binary/README": "a\x00b", "long/README.txt": long, "hidden/README": "secret", "none/READMEs": "x", "link/README": "-> ../README", "dir/README/": "",
	})
	page := s.get("/?html").body
	require.Contains(t, page, `<section id="readme"><h2>readme.MD</h2><div># first`+"\n    &lt;script&gt;alert(1)&lt;/script&gt;\nlast \uFFFD\uFFFD[31m</div>")
	require.Equal(t, 1, strings.Count(page, "<script>"))
	for _, dir := range []string{"binary", "hidden", "none", "link", "dir"} {
		require.NotContains(t, s.get("/"+dir+"/?html").body, `id="readme"`, dir)
	}
	page = s.get("/long/?html").body
	require.Contains(t, page, strings.Repeat("é", 32<<10)+"\n…</div>")
	require.NotContains(t, page, strings.Repeat("é", 32<<10+1))
	require.NotContains(t, s.get("/?html&find=plain").body, `id="readme"`)
	require.NotContains(t, s.get("/?txt").body, "first")
	tag := s.get("/?html").Header.Get("ETag")
	s.write("readme.MD", "other")
	s.stamp("", machine.Now())
	again := s.get("/?html", "If-None-Match", tag)
	require.Equal(t, 200, again.StatusCode)
	require.Contains(t, again.body, "<div>other</div>")
}

// Pictures are shown where that is asked for, and only there may a page load any.
func TestPreview(t *testing.T) {
	s := publishWatched(t, serve.Config{}, map[string]string{"d/a b.png": "x", "d/t.txt": "x", "d/\"><img onerror=x>.gif": "", "e/f": ""})
	plain := s.get("/d/?html")
	require.NotContains(t, plain.body, "<img")
	require.NotContains(t, plain.Header.Get("Content-Security-Policy"), "img-src")
	require.Contains(t, plain.body, `name="preview"`)
	require.NotContains(t, s.get("/e/?html").body, `name="preview"`, "there is no picture")
	shown := s.get("/d/?preview=1")
	require.Contains(t, shown.Header.Get("Content-Security-Policy"), "; img-src 'self'")
	require.Contains(t, shown.body, `<a href="a%20b.png"><img loading="lazy" alt="" src="a%20b.png">a b.png</a>`)
	require.Contains(t, shown.body, `<a href="t.txt">t.txt</a>`)
	require.Equal(t, 2, strings.Count(shown.body, "<img "))
	require.NotContains(t, shown.body, "<img onerror")
	require.Contains(t, shown.body, `data-format="preview"`)
	require.Equal(t, 304, s.get("/d/?preview=1", "If-None-Match", shown.Header.Get("ETag")).StatusCode)
	require.Equal(t, 200, s.get("/d/?html", "If-None-Match", shown.Header.Get("ETag")).StatusCode)
	require.Equal(t, 200, s.get("/d/?preview=1", "If-None-Match", plain.Header.Get("ETag")).StatusCode)
}

// A browser that has the page of a serve without --tar gets the page of one with it, though the directory did not
// change. Mirrors see no difference.
func TestPageOfOtherOptions(t *testing.T) {
	root := t.TempDir()
	s := publishWatched(t, serve.Config{Root: root}, map[string]string{"a": "1"})
	s.settle()
	page, text := s.get("/?html").Header.Get("ETag"), s.get("/?txt").Header.Get("ETag")
	require.NotContains(t, s.get("/?html").body, "?tar")
	s.cfg.Tar = true
	s.start()
	again := s.get("/?html", "If-None-Match", page)
	require.Equal(t, 200, again.StatusCode)
	require.Contains(t, again.body, `name="tar"`)
	require.Contains(t, again.body, "curl -s URL?tar | tar x")
	require.Equal(t, 304, s.get("/?txt", "If-None-Match", text).StatusCode)
	a := s.get("/?tar=1")
	require.Equal(t, "attachment; filename*=UTF-8''tree.tar", a.Header.Get("Content-Disposition"))
	require.NoError(t, os.Mkdir(root+"/d \"", 0o755))
	require.Equal(t, "attachment; filename*=UTF-8''d%20%22.tar", s.get("/d%20%22/?tar").Header.Get("Content-Disposition"))
}
