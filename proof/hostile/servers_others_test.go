package hostile

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"

	"tidemark/pkg/mtree/exit"
)

// page is an attack by another kind of server, which answers every directory with this. The
// copy must hold the names that are given, and no other.
func page(name, kind, text string, want ...string) server {
	s := server{name: name, empty: true, cure: []string{"--adopt"}, play: play{answer: func(_ *peer, w http.ResponseWriter, r *http.Request) bool {
		clear(w.Header())
		switch {
		case r.Method == http.MethodPost:
			w.WriteHeader(http.StatusMethodNotAllowed)
		case r.URL.Path == "/":
			w.Header().Set("Content-Type", kind)
			_, _ = io.WriteString(w, text)
		case strings.HasSuffix(r.URL.Path, "/"):
			w.Header().Set("Content-Type", kind)
			_, _ = io.WriteString(w, head+foot)
		default:
			w.Header().Set("Last-Modified", "Sat, 03 Feb 2024 04:05:06 GMT")
			_, _ = io.WriteString(w, "evil")
		}
		return true
	}}}
	if want == nil {
		s.codes = []exit.Code{exit.Unreachable}
	} else {
		s.codes = []exit.Code{exit.Done, exit.Failed}
	}
	s.check = func(b *box, _ *peer, _ result) []string {
		entries, _ := os.ReadDir(b.copy)
		var have []string
		for _, e := range entries {
			if e.Name() != ".tidemark" {
				have = append(have, e.Name())
			}
		}
		slices.Sort(want)
		if !slices.Equal(have, want) {
			return []string{fmt.Sprintf("the copy holds %q, want %q", have, want)}
		}
		return nil
	}
	return s
}

// index is a page with these links, after one to the file "ok".
func index(name string, links []string, want ...string) server {
	text := head + `<a href="ok">ok</a> 03-Feb-2024 04:05 4` + "\n"
	for _, link := range links {
		text += `<a href="` + link + `">x</a> 03-Feb-2024 04:05 4` + "\n"
	}
	return page(name, "text/html", text+foot, want...)
}

const (
	head = "<html><head><title>Index of /</title></head><body><h1>Index of /</h1><pre>\n"
	foot = "</pre></body></html>"
)

// others are other web servers: their pages are read, too.
var others = []server{
	index("page-of-scripts", []string{"javascript:alert(1)", "data:text/html,x", "mailto:x@y", "file:///etc/passwd", "vbscript:x/y"}, "ok"),
	index("page-of-other-hosts", []string{"http://10.1.2.3/x", "//10.1.2.3/x", "https://evil.example.org/", "ftp://10.1.2.3/x", "HTTP://10.1.2.3/x"}, "ok"),
	index("page-of-parents", []string{"../", "..", "../../x", "../x", "/", "/etc/passwd", "/../x", "./../x", "?C=N", "#x", ""}, "ok"),
	index("page-climbs-encoded", []string{"%2e%2e/"}),
	index("page-climbs-encoded-file", []string{"..%2foutside%2ff"}),
	index("page-climbs-by-entities", []string{"&#46;&#46;&#47;x", "&period;&period;/"}, "ok"),
	index("page-climbs-encoded-by-entities", []string{"&#37;2e&#37;2e/"}),
	index("page-encoded-twice", []string{"%252e%252e%252fx", "%252e%252e/"}, "ok", "%2e%2e%2fx", "%2e%2e"),
	index("page-backslashes", []string{`..\x`, "..%5cx"}, "ok", `..\x`),
	index("page-nul", []string{"x%00y"}),
	index("page-marker", []string{".tidemark/"}),
	index("page-marker-encoded", []string{"%2etidemark/"}),
	index("page-controls", []string{"%1b%5b31m", "%0a", "%c2%9b"}, "ok", "\x1b[31m", "\n", "\u009b"),
	index("page-overlong", []string{strings.Repeat("x", 256)}),
	index("page-broken-escape", []string{"x%zz"}),
	index("page-file-and-directory", []string{"x", "x/"}, "ok", "x"), // an icon may link to the same place: the first counts
	page("page-base", "text/html", strings.Replace(head, "<head>", `<head><base href="http://10.1.2.3/">`, 1)+`<a href="ok">ok</a> 03-Feb-2024 04:05 4`+foot, "ok"),
	page("page-refresh", "text/html", strings.Replace(head, "<head>", `<head><meta http-equiv="refresh" content="0; url=http://10.1.2.3/"><script src="http://10.1.2.3/x.js"></script><link rel="stylesheet" href="http://10.1.2.3/">`, 1)+`<a href="ok">ok</a> 03-Feb-2024 04:05 4<img src="http://10.1.2.3/x">`+foot, "ok"),
	page("page-of-a-login", "text/html", "<html><title>Sign in</title><a href=\"x\">x</a></html>"),
	page("page-cut", "text/html", head+`<a href="ok">ok</a>`),
	page("page-one-tag-of-10-mib", "text/html", head+`<a href="ok" `+strings.Repeat("x", 10<<20)+`>`+foot),
	page("page-nested", "text/html", head+strings.Repeat("<div>", 1_000_000)+`<a href="ok">ok</a> 03-Feb-2024 04:05 4`+foot, "ok"),
	page("page-sizes", "text/html", head+`<a href="ok">ok</a> 03-Feb-2024 04:05 99999999999999999999P`+foot, "ok"),
	page("page-times", "text/html", head+`<a href="ok">ok</a> 99-Xxx-9999 99:99 4`+foot, "ok"),
	page("page-of-100000-links", "text/html", head+strings.Repeat(`<a href="http://10.1.2.3/x">x</a> `, 100_000)+`<a href="ok">ok</a> 03-Feb-2024 04:05 4`+foot, "ok"),

	page("json-climbs", "application/json", `[{"name":"../x","type":"file"}]`),
	page("json-parent", "application/json", `[{"name":"..","type":"directory"}]`),
	page("json-marker", "application/json", `[{"name":".tidemark/","type":"directory"}]`),
	page("json-nul", "application/json", `[{"name":"x\u0000y","type":"file"}]`),
	page("json-twice", "application/json", `[{"name":"x","type":"file"},{"name":"x","type":"directory"}]`),
	page("json-deep", "application/json", strings.Repeat("[", 1_000_000)),
	page("json-deep-in-a-value", "application/json", `[{"name":"x","mtime":`+strings.Repeat(`{"a":`, 100_000)+"1"+strings.Repeat("}", 100_000)+"}]"),
	page("json-negative", "application/json", `[{"name":"x","type":"file","size":-5}]`),
	page("json-huge", "application/json", `[{"name":"x","type":"file","size":1e400}]`),
	page("json-surrogates", "application/json", `[{"name":"\ud800","type":"file"}]`),
	page("json-colours", "application/json", `[{"name":"\u001b[31m\n","type":"other"},{"name":"`+"\x1b"+`"}]`),
	page("json-of-devices", "application/json", `[{"name":"x","type":"blockdevice"},{"name":"ok","type":"file","size":4}]`, "ok"),

	page("xml-laughs", "text/xml", `<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]><list><file>&b;</file></list>`),
	page("xml-external", "text/xml", `<?xml version="1.0"?><!DOCTYPE l [<!ENTITY x SYSTEM "file:///etc/passwd">]><list><file>&x;</file></list>`),
	page("xml-climbs", "text/xml", `<list><file size="1">../x</file></list>`),
	page("xml-marker", "text/xml", `<list><directory>.tidemark</directory></list>`),
	page("xml-deep", "text/xml", strings.Repeat("<list>", 1_000_000)),
	page("xml-negative", "text/xml", `<list><file size="-1">x</file></list>`),
	page("xml-colours", "text/xml", "<list><file>\x1b[31m</file></list>"),
	page("xml-one-attribute-of-10-mib", "text/xml", `<list><file x="`+strings.Repeat("x", 10<<20)+`" size="4" mtime="2024-02-03T04:05:06Z">ok</file></list>`, "ok"),
}
