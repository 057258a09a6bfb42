package hostile

import (
	"net/http"
	"strings"
)

var nowhere = []int{400, 404}

// climbs is an attack by a path.
func climbs(name, target string) client {
	return client{name: name, send: request(target), statuses: nowhere}
}

// traversals are paths that lead out, in all spellings.
var traversals = []client{
	climbs("path-parent", "/../secret"),
	climbs("path-parent-below", "/d/../../secret"),
	climbs("path-parent-encoded", "/%2e%2e/secret"),
	climbs("path-parent-encoded-upper", "/%2E%2E/secret"),
	climbs("path-parent-half-encoded", "/.%2e/secret"),
	climbs("path-parent-half-encoded-other", "/%2e./secret"),
	climbs("path-slash-encoded", "/..%2fsecret"),
	climbs("path-all-encoded", "/%2e%2e%2f%73%65%63%72%65%74"),
	climbs("path-encoded-twice", "/%252e%252e/secret"),
	climbs("path-encoded-three-times", "/%25252e%25252e%25252fsecret"),
	climbs("path-backslash", `/..\secret`),
	climbs("path-backslash-encoded", "/..%5csecret"),
	climbs("path-overlong-dot", "/%c0%ae%c0%ae/secret"),
	climbs("path-overlong-slash", "/..%c0%afsecret"),
	climbs("path-overlong-three-bytes", "/..%e0%80%afsecret"),
	climbs("path-fullwidth", "/%ef%bc%8e%ef%bc%8e%ef%bc%8fsecret"),
	climbs("path-percent-u", "/%u002e%u002e%u002fsecret"),
	climbs("path-semicolon", "/..;/secret"),
	climbs("path-semicolon-encoded", "/..%3b/secret"),
	climbs("path-nul", "/..%00/secret"),
	climbs("path-nul-after", "/f%00.txt"),
	climbs("path-dots", "/.../secret"),
	climbs("path-many-dots", "/....//....//secret"),
	climbs("path-dot-slash", "/./../secret"),
	climbs("path-two-slashes", "//../secret"),
	climbs("path-many-parents", "/"+strings.Repeat("../", 1000)+"etc/passwd"),
	climbs("path-many-parents-encoded", "/"+strings.Repeat("%2e%2e%2f", 1000)+"etc/passwd"),
	climbs("path-through-what-is-not-there", "/none/../../secret"),
	climbs("path-through-a-file", "/f/../../secret"),
	climbs("path-tab-in-parent", "/.%09./secret"),
	climbs("path-newline-in-parent", "/..%0a/secret"),
	climbs("path-space", "/..%20/secret"),
	climbs("path-absolute-name", "/%2fetc%2fpasswd"),
	climbs("path-file-scheme", "/file:///etc/passwd"),
	climbs("path-dotfile", "/.secret"),
	climbs("path-dotfile-encoded", "/%2esecret"),
	climbs("path-in-a-dot-directory", "/d/.dir/f"),
	climbs("path-dot-directory-and-back", "/d/.dir/../x"),
	climbs("path-marker", "/.tidemark/tree"),
	climbs("path-marker-encoded", "/%2etidemark/tree"),
	climbs("path-marker-listing", "/.tidemark/?txt"),
	climbs("path-excluded", "/private"),
	climbs("path-excluded-encoded", "/%70rivate"),
	climbs("path-excluded-below", "/d/private"),
	climbs("link-to-excluded", "/excluded"),
	climbs("link-to-a-dotfile", "/hidden"),
	climbs("link-to-the-marker-of-the-tree", "/marker/tree"),
	climbs("link-out-absolute", "/abs"),
	climbs("link-out", "/out"),
	climbs("link-out-below", "/d/out"),
	climbs("link-out-by-a-chain", "/chain"),
	climbs("link-up", "/up/secret"),
	climbs("link-up-listing", "/up/?txt"),
	climbs("link-up-below", "/d/up/secret"),
	climbs("link-to-the-root-of-all", "/root/etc/passwd"),
	climbs("link-to-proc", "/proc"),
	climbs("link-loop", "/loop"),
	climbs("fifo", "/fifo"),
	climbs("socket", "/socket"),
	climbs("device", "/zero"),
	climbs("directory-fifo", "/fifo/"),
	climbs("range-of-a-device", "/zero?x"),
	{name: "path-of-dots-and-slashes-that-is-right", send: request("/././/d/.///x"), statuses: []int{200, 404}},
}

// targets are request lines that are odd.
var targets = []client{
	{name: "target-absolute-form", send: request("http://x/f"), statuses: []int{200, 400, 404}},
	{name: "target-absolute-form-climbs", send: request("http://x/../secret"), statuses: nowhere},
	{name: "target-absolute-form-of-another-host", send: request("http://10.1.2.3/f"), statuses: []int{200, 400, 404, 421}},
	{name: "target-absolute-form-of-a-file", send: request("file:///etc/passwd"), statuses: nowhere},
	{name: "target-authority-form", send: "CONNECT 10.1.2.3:80 HTTP/1.1\r\nHost: 10.1.2.3:80\r\nConnection: close\r\n\r\n", methods: []string{http.MethodConnect}, statuses: []int{400, 404, 405}},
	{name: "target-get-authority-form", send: request("10.1.2.3:80"), statuses: nowhere},
	{name: "target-asterisk", send: request("*"), statuses: nowhere},
	{name: "target-options-asterisk", send: "OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", statuses: []int{400, 405}},
	{name: "target-without-slash", send: request("f"), statuses: nowhere},
	{name: "target-empty", send: request(""), statuses: nowhere},
	{name: "target-two-slashes", send: request("//10.1.2.3/f"), statuses: nowhere},
	{name: "target-redirect-to-another-host", send: request("//10.1.2.3/d"), statuses: nowhere},
	{name: "target-redirect-stays", send: request("//d"), tells: "Location: d/"},
	{name: "target-fragment", send: request("/f#x"), statuses: nowhere},
	{name: "target-fragment-parent", send: request("/#/../secret"), statuses: []int{200, 400, 404}},
	{name: "target-broken-escape", send: request("/%zz"), statuses: nowhere},
	{name: "target-escape-cut", send: request("/f%2"), statuses: nowhere},
	{name: "target-nul", send: request("/f\x00x"), statuses: nowhere},
	{name: "target-controls", send: request("/\x01\x1b[31m\x7f"), statuses: nowhere},
	{name: "target-tab", send: request("/f\tx"), statuses: nowhere},
	{name: "target-space", send: request("/f x"), statuses: nowhere},
	{name: "target-bytes", send: request("/\xff\xfe\xc0\xae"), statuses: nowhere},
	{name: "target-colours", send: request("/%1b%5d0;pwned%07%c2%9b31m"), statuses: nowhere},
	{name: "target-header-injection", send: request("/d%0d%0aX-Injected:%20x"), statuses: nowhere},
	{name: "target-header-injection-in-a-query", send: request("/d?%0d%0aX-Injected:%20x"), statuses: []int{301}},
	{name: "target-component-of-256-bytes", send: request("/" + strings.Repeat("x", 256)), statuses: nowhere},
	{name: "target-path-of-5000-bytes", send: request("/" + strings.Repeat("d/", 2500)), statuses: nowhere},
	{name: "target-path-of-60-kib", send: request("/" + strings.Repeat("y/", 30_000)), statuses: []int{400, 404, 414, 431}},
	{name: "target-path-of-1-mib", send: request("/" + strings.Repeat("y/", 1<<19)), statuses: []int{400, 414, 431}},

	{name: "host-none", send: "GET /f HTTP/1.1\r\nConnection: close\r\n\r\n", statuses: []int{400}},
	{name: "host-two", send: "GET /f HTTP/1.1\r\nHost: x\r\nHost: y\r\nConnection: close\r\n\r\n", statuses: []int{400}},
	{name: "host-path", send: "GET /f HTTP/1.1\r\nHost: x/../secret\r\nConnection: close\r\n\r\n", statuses: []int{400}},
	{name: "host-colours", send: "GET /f HTTP/1.1\r\nHost: \x1b[31m\r\nConnection: close\r\n\r\n", statuses: []int{400}},
	{name: "host-empty", send: "GET /d HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n", statuses: []int{301, 400}},
	{name: "host-in-a-redirect", send: "GET /d HTTP/1.1\r\nHost: evil.example.org\r\nX-Forwarded-Host: evil.example.org\r\nX-Forwarded-Prefix: //evil\r\nX-Original-URL: /private\r\nConnection: close\r\n\r\n", statuses: []int{301}, tells: "Location: d/"},
	{name: "host-of-60-kib", send: "GET /f HTTP/1.1\r\nHost: " + strings.Repeat("x", 60<<10) + "\r\nConnection: close\r\n\r\n"},

	method("TRACE"), method("PUT"), method("DELETE"), method("PATCH"), method("PROPFIND"), method("MOVE"), method("MKCOL"), method("get"), method("GETGET"),
	method(strings.Repeat("X", 10_000)), method("G\x00T"), method("G\x1b[31mT"),
	{name: "method-none", send: " /f HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", statuses: []int{400}},
	{name: "method-override", send: request("/f", "X-HTTP-Method-Override: DELETE", "X-Method-Override: PUT"), statuses: []int{200}},

	{name: "version-0.9", send: "GET /f\r\n\r\n", half: true, statuses: []int{400}},
	{name: "version-1.0", send: "GET /f HTTP/1.0\r\n\r\n", statuses: []int{200}},
	{name: "version-1.0-stays", send: "GET /f HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /f HTTP/1.0\r\n\r\n", statuses: []int{200}},
	{name: "version-1.2", send: "GET /f HTTP/1.2\r\nHost: x\r\nConnection: close\r\n\r\n", statuses: []int{200, 400, 505}},
	{name: "version-2-preface", send: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", half: true, statuses: []int{400, 405, 505}},
	{name: "version-2-upgrade", send: request("/f", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"), statuses: []int{200, 400}},
	{name: "version-9", send: "GET /f HTTP/9.9\r\nHost: x\r\n\r\n", half: true, statuses: []int{400, 505}},
	{name: "version-lower-case", send: "GET /f http/1.1\r\nHost: x\r\n\r\n", half: true, statuses: []int{400}},
	{name: "version-garbage", send: "GET /f \x00\xff\r\n\r\n", half: true, statuses: []int{400}},
	{name: "tls-to-a-plain-port", send: "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("\x00", 600), half: true, statuses: []int{400}},
	{name: "binary", send: strings.Repeat("\x00\xff\x1b\n", 20_000), half: true, statuses: []int{400, 431}},
	{name: "nothing-but-line-ends", send: strings.Repeat("\r\n", 20_000), half: true, statuses: []int{400, 431}},
	{name: "metrics-are-elsewhere", send: request("/metrics"), statuses: nowhere},
	{name: "pprof-is-elsewhere", send: request("/debug/pprof/"), statuses: nowhere},
	{name: "status-tells-nothing-of-the-host", send: request("/?status"), statuses: []int{200}},
}

// method is an attack by a method.
func method(name string) client {
	label := strings.Map(func(r rune) rune {
		if r < ' ' {
			return '-'
		}
		return r
	}, name[:min(len(name), 20)])
	return client{name: "method-" + label, send: name + " /f HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", statuses: []int{400, 405, 431}}
}
