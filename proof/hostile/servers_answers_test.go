package hostile

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"tidemark/pkg/mtree/exit"
)

// redirects answers requests for a path with a redirection.
func redirects(name, path, location string) server {
	return server{name: name, play: play{answer: func(_ *peer, w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != path {
			return path != "/" && noPost(w, r)
		}
		w.Header()["Location"] = []string{location}
		w.WriteHeader(http.StatusFound)
		return true
	}}, says: "redirects are not followed"}
}

// status answers requests for "a" with a status.
func status(name string, code int, header ...string) server {
	return server{name: name, codes: []exit.Code{exit.Failed}, check: aUntouched, play: play{answer: func(_ *peer, w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/a/" {
			return false
		}
		for i := 0; i < len(header); i += 2 {
			w.Header().Add(header[i], header[i+1])
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, poison)
		return true
	}}}
}

// rawA answers requests for "a" with bytes as they stand.
func rawA(name, text string) server {
	return server{name: name, codes: []exit.Code{exit.Failed}, check: aUntouched, play: raw("/a/", text)}
}

// oldOrNew requires that nothing in "a" changed, and that all beside it is old or new: an answer too many may be
// taken for that of the next request on the connection, which then fails, too.
func oldOrNew(b *box, _ *peer, _ result) (faults []string) {
	for path, versions := range map[string][]tree{"a/changes": {honest(first)}, "a/gone": {honest(first)}, "b/changes": {honest(first), honest(second)}, "b/deep/new2": {nil, honest(second)}} {
		text, err := os.ReadFile(filepath.Join(b.copy, path))
		if !slices.ContainsFunc(versions, func(t tree) bool {
			return t == nil && errors.Is(err, fs.ErrNotExist) || err == nil && t != nil && string(text) == t[path].data
		}) {
			faults = append(faults, fmt.Sprintf("%q is %q, %v", path, text, err))
		}
	}
	return faults
}

// coded answers requests for "a" with a body in a content coding.
func coded(name, coding string, body func(w io.Writer)) server {
	return server{name: name, slow: true, codes: []exit.Code{exit.Failed}, check: aUntouched, source: byAnotherName, play: play{answer: func(_ *peer, w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/a/" {
			return false
		}
		w.Header().Set("Content-Encoding", coding)
		body(w)
		return true
	}}}
}

// zipped gzips a text and then another one again and again.
func zipped(begin, again string, times int) func(w io.Writer) {
	return func(w io.Writer) {
		z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed)
		_, err := io.WriteString(z, begin)
		for block, n := strings.Repeat(again, 1+(1<<20)/len(again)), 0; n < times && err == nil; n++ {
			_, err = io.WriteString(z, block)
		}
		_ = z.Close()
	}
}

// answers are HTTP that is wrong, or leads elsewhere.
var answers = []server{
	redirects("redirect-to-another-host", "/a/", "http://10.1.2.3/"),
	redirects("redirect-to-another-port", "/a/", "http://127.0.0.1:8080/"),
	redirects("redirect-to-a-name", "/a/", "http://evil.example.org/"),
	redirects("redirect-to-the-metadata-of-a-cloud", "/a/", "http://169.254.169.254/latest/meta-data/"),
	redirects("redirect-to-a-local-file", "/a/", "file:///etc/passwd"),
	redirects("redirect-without-a-scheme", "/a/", "//10.1.2.3/"),
	redirects("redirect-to-itself", "/a/", "/a/"),
	redirects("redirect-climbs", "/a/", "/../../etc/"),
	redirects("redirect-of-the-root", "/", "http://10.1.2.3:8077/"),
	redirects("redirect-of-a-file", "/a/changes", "http://10.1.2.3/"),
	redirects("redirect-in-colours", "/a/", "http://10.1.2.3/"+colours),
	redirects("redirect-of-60-kib", "/a/", "http://10.1.2.3/"+strings.Repeat("x", 60<<10)),
	rawA("redirect-with-line-ends", "HTTP/1.1 302 Found\r\nLocation: http://10.1.2.3/\r\n\x1b[31m: x\r\nContent-Length: 0\r\n\r\n"),
	rawA("redirect-permanent-post", "HTTP/1.1 308 x\r\nLocation: http://10.1.2.3/\r\nContent-Length: 0\r\n\r\n"),
	rawA("redirect-refresh", "HTTP/1.1 200 OK\r\nRefresh: 0; url=http://10.1.2.3/\r\nLink: <http://10.1.2.3/>; rel=preload\r\nAlt-Svc: h2=\"10.1.2.3:443\"\r\nContent-Length: 0\r\n\r\n"),

	status("status-204", 204), status("status-206-unasked", 206), status("status-304-unasked", 304), status("status-300", 300),
	status("status-400", 400), status("status-402", 402), status("status-404", 404), status("status-407", 407, "Proxy-Authenticate", "Basic realm=x"),
	status("status-410", 410), status("status-412", 412), status("status-416", 416), status("status-451", 451), status("status-500", 500),
	status("status-429-for-a-year", 429, "Retry-After", "31536000"),
	status("status-503-negative", 503, "Retry-After", "-1"),
	status("status-503-huge", 503, "Retry-After", "99999999999999999999"),
	status("status-599", 599),
	{name: "status-401-again-and-again", codes: []exit.Code{exit.Unreachable}, says: "token", play: play{answer: func(_ *peer, w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("WWW-Authenticate", `Basic realm="x", Digest realm="x", nonce="y", Negotiate, NTLM`)
		http.Error(w, "401", http.StatusUnauthorized)
		return true
	}}},
	rawA("status-999", "HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n"),
	rawA("status-000", "HTTP/1.1 000 Odd\r\nContent-Length: 0\r\n\r\n"),
	rawA("status-negative", "HTTP/1.1 -20 Odd\r\nContent-Length: 0\r\n\r\n"),
	rawA("status-in-colours", "HTTP/1.1 404 \x1b]0;pwned\x07\x1b[31m\u009b2J\r\nContent-Length: 0\r\n\r\n"),
	rawA("status-in-invalid-utf-8", "HTTP/1.1 404 \xff\xfe\x9b31m\r\nContent-Length: 0\r\n\r\n"),
	{name: "status-in-colours-of-the-root", codes: []exit.Code{exit.Unreachable}, play: raw("/", "HTTP/1.1 403 \x1b]0;pwned\x07\x1b[31m\u009b2J\x9b\r\nTidemark-Version: 1\r\nContent-Length: 0\r\n\r\n")},
	rawA("status-line-of-60-kib", "HTTP/1.1 404 "+strings.Repeat("x", 60<<10)+"\r\nContent-Length: 0\r\n\r\n"),
	rawA("status-line-of-http-9", "HTTP/9.9 200 OK\r\nContent-Length: 0\r\n\r\n"),
	rawA("answer-of-http-0.9", "<html>hello</html>"),
	rawA("answer-of-ssh", "SSH-2.0-OpenSSH_9.2\r\n"),
	rawA("answer-of-tls", "\x15\x03\x01\x00\x02\x02\x46"),
	rawA("answer-of-http-2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
	rawA("answer-in-colours", "\x1b]0;pwned\x07\x1b[31m\r\n\r\n"),
	rawA("answer-nothing", ""),
	rawA("answer-101", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"),
	rawA("answer-of-a-nul", "HTTP/1.1 200 OK\r\nX\x00: y\r\nContent-Length: 0\r\n\r\n"),
	rawA("answer-folded", "HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\tContent-Length: 5\r\nContent-Length: 0\r\n\r\n"),
	rawA("answer-bare-line-feeds", "HTTP/1.1 200 OK\nContent-Length: 0\n\n"),
	rawA("answer-header-without-a-colon", "HTTP/1.1 200 OK\r\nnothing\r\n\r\n"),
	rawA("answer-header-cut", "HTTP/1.1 200 OK\r\nContent-Le"),
	{name: "answers-two", codes: []exit.Code{exit.Failed}, check: oldOrNew, play: raw("/a/", strings.Repeat("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 2))},
	rawA("answer-header-of-100-kib", "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 100<<10)+"\r\nContent-Length: 0\r\n\r\n"),
	rawA("answer-1000-cookies", "HTTP/1.1 200 OK\r\n"+strings.Repeat("Set-Cookie: a=b\r\n", 1000)+"Content-Length: 0\r\n\r\n"),
	{name: "answer-headers-without-end", codes: []exit.Code{exit.Failed}, check: aUntouched, play: flood("/a/", "HTTP/1.1 200 OK\r\n", strings.Repeat("X: y\r\n", 1000))},
	{name: "answer-one-header-without-end", codes: []exit.Code{exit.Failed}, check: aUntouched, play: flood("/a/", "HTTP/1.1 200 OK\r\nX: ", strings.Repeat("x", 10_000))},
	{name: "answer-status-line-without-end", codes: []exit.Code{exit.Failed}, check: aUntouched, play: flood("/a/", "HTTP/1.1 200 ", strings.Repeat("x", 10_000))},
	{name: "answer-100-again-and-again", codes: []exit.Code{exit.Failed}, check: aUntouched, play: flood("/a/", "", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 100))},
	{name: "answer-103-again-and-again", codes: []exit.Code{exit.Failed}, check: aUntouched, play: flood("/a/", "", strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: <http://10.1.2.3/>; rel=preload\r\n\r\n", 100))},
	{name: "answer-of-the-root-is-an-error-that-never-ends", codes: []exit.Code{exit.Unreachable}, play: flood("/", "HTTP/1.1 400 x\r\n\r\n", strings.Repeat("x", 10_000))},
	{name: "cookies-are-not-sent-back", codes: fine, play: play{
		header: func(_ *peer, h http.Header, _ *http.Request) { h.Set("Set-Cookie", "a=b; Domain=0.0.0.0; Path=/") },
		answer: func(_ *peer, w http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Cookie") != "" || r.Header.Get("Referer") != "" {
				panic("cookie")
			}
			return false
		},
	}, check: asSecond},
	{name: "answer-hangs", hours: true, codes: []exit.Code{exit.Failed}, check: aUntouched, play: play{answer: func(p *peer, w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/a/" {
			return false
		}
		p.hijack(w, "", func(net.Conn) error { <-p.done; return io.EOF })
		return true
	}}},
	{name: "refusal-drips", codes: []exit.Code{exit.Failed}, check: aUntouched, play: play{answer: func(p *peer, w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/a/" {
			return false
		}
		p.hijack(w, "HTTP/1.1 404 Not Found\r\nContent-Length: 1000\r\n\r\n", drip("x"))
		return true
	}}},
	{name: "listing-is-whole-and-its-answer-never-ends", hours: true, codes: []exit.Code{exit.Failed, exit.Done}, play: play{answer: func(p *peer, w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/a/" {
			return false
		}
		p.hijack(w, "HTTP/1.1 200 OK\r\nTidemark-Version: 1\r\n\r\n1.5 ./\t-\n#end 0\n", drip(""))
		return true
	}}},
	{name: "each-second-answer-is-cut", codes: []exit.Code{exit.Done, exit.Failed, exit.Unreachable}, with: func(*box) play {
		var n atomic.Int64
		return play{answer: func(p *peer, w http.ResponseWriter, _ *http.Request) bool {
			if n.Add(1)%2 == 0 {
				return false
			}
			p.hijack(w, "HTTP/1.1 200 OK\r\nTidemark-Version: 1\r\nContent-Length: 1000\r\n\r\n"+poison, nil)
			return true
		}}
	}},

	coded("coding-of-zeros", "gzip", zipped(stampOf(second).String()+" ./\t-\n", "\x00", 1000)),
	coded("coding-of-comments", "gzip", zipped(stampOf(second).String()+" ./\t-\n", "#"+strings.Repeat("x", 8000)+"\n", 1000)),
	coded("coding-of-a-gzip-in-a-gzip", "gzip", func(w io.Writer) {
		var inner bytes.Buffer
		zipped("", "\x00", 100)(&inner)
		zipped(inner.String(), "\n", 1)(w)
	}),
	coded("coding-twice", "gzip, gzip", zipped("", "\n", 1)),
	coded("coding-unknown", "br", func(w io.Writer) { _, _ = fmt.Fprint(w, "\x1b[31m") }),
	coded("coding-is-no-gzip", "gzip", func(w io.Writer) { _, _ = fmt.Fprint(w, strings.Repeat("x", 1000)) }),
	coded("coding-cut", "gzip", func(w io.Writer) {
		var whole bytes.Buffer
		zipped(stampOf(second).String()+" ./\t-\n#end 0\n", "#\n", 1)(&whole)
		_, _ = w.Write(whole.Bytes()[:whole.Len()-4])
	}),
	coded("coding-of-many-members", "gzip", func(w io.Writer) {
		var one bytes.Buffer
		zipped("", "#\n", 1)(&one)
		for range 2000 {
			if _, err := w.Write(one.Bytes()); err != nil {
				return
			}
		}
	}),
}
