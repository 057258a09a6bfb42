package fastpath

import (
	"bytes"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
)

// maxHeader is the longest header of an accepted request, in bytes, with the empty
// line at its end.
const maxHeader = 4 << 10

// verdict says what the bytes that came so far are.
type verdict int

const (
	incomplete verdict = iota // may become a request for the short way
	accepted                  // begin with the header of one
	handedOver                // are for net/http
)

const (
	method   = "GET "
	protocol = " HTTP/1.1"
)

// examine says what in begins with, and where the header of an accepted request ends. It
// checks the shape only: parse decides.
func examine(in []byte) (v verdict, end int) {
	if n := min(len(in), len(method)); string(in[:n]) != method[:n] {
		return handedOver, 0
	}
	for start := 0; ; {
		n := bytes.IndexByte(in[start:], '\n')
		switch {
		case n < 0 && len(in) < maxHeader:
			return incomplete, 0
		case n < 1 || start+n >= maxHeader || in[start+n-1] != '\r':
			return handedOver, 0
		case n == 1:
			return accepted, start + 2
		}
		start += n + 1
	}
}

// parse reads a request's header into r, and sets what net/http would set for the same
// bytes. It returns false if it cannot be sure of that.
func parse(r *http.Request, header string) bool {
	line, rest, _ := strings.Cut(header, "\r\n")
	target, ok := strings.CutSuffix(line[len(method):], protocol)
	if !ok || target == "" || target[0] != '/' || !isTarget(target) {
		return false
	}
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return false
	}
	r.Method, r.URL, r.RequestURI, r.Body = http.MethodGet, u, target, http.NoBody
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/1.1", 1, 1
	return parseFields(r, rest) && r.Host != ""
}

// parseFields reads header fields up to the empty line.
func parseFields(r *http.Request, rest string) bool {
	r.Header = make(http.Header, 8)
	values := make([]string, 0, 8) // one allocation for all of them
	for {
		line, after, _ := strings.Cut(rest, "\r\n")
		rest = after
		if line == "" {
			return true
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || !isToken(name) {
			return false
		}
		if value = strings.Trim(value, " \t"); !isValue(value) {
			return false
		}
		switch key := canonical(name); key {
		case "Host":
			if r.Host != "" || !isHost(value) {
				return false
			}
			r.Host = value
		default:
			if !isHarmless(key, value) {
				return false
			}
			if old := r.Header[key]; old != nil {
				r.Header[key] = append(old, value)
				continue
			}
			values = append(values, value)
			last := len(values)
			r.Header[key] = values[last-1 : last : last]
		}
	}
}

// isHarmless reports whether a field does not concern how the request is framed or
// how the connection goes on, and has no meaning for net/http.
func isHarmless(key, value string) bool {
	switch key {
	case "Connection":
		return strings.EqualFold(value, "keep-alive")
	case "Content-Length", "Transfer-Encoding", "Te", "Trailer", "Upgrade", "Expect", "Pragma":
		return false
	}
	return true
}

// usual has the names of fields as most clients write them, to their canonical forms.
// Making another name canonical costs an allocation.
var usual = func() map[string]string {
	names := map[string]string{}
	for _, key := range []string{
		"Host", "User-Agent", "Accept", "Accept-Encoding", "Accept-Language", "Authorization", "Cache-Control", "Connection",
		"Cookie", "If-Match", "If-Modified-Since", "If-None-Match", "If-Range", "If-Unmodified-Since", "Range", "Referer",
	} {
		names[key], names[strings.ToLower(key)] = key, key
	}
	return names
}()

// canonical returns a field's name in its canonical form.
func canonical(name string) string {
	if key, ok := usual[name]; ok {
		return key
	}
	return textproto.CanonicalMIMEHeaderKey(name)
}

// isTarget reports whether a target is printable ASCII, so that all readers agree where
// it ends.
func isTarget(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// isToken reports whether s is a token of RFC 9110, 5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c >= 0x80 || !tokenBytes[c] {
			return false
		}
	}
	return s != ""
}

var tokenBytes = func() (set [128]bool) {
	for _, c := range []byte("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") {
		set[c] = true
	}
	return set
}()

// isValue reports whether s has no control bytes except tabs.
func isValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// isHost reports whether s is a name or an address with or without a port.
func isHost(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !(c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z') && !strings.ContainsRune("-._:[]", rune(c)) {
			return false
		}
	}
	return s != ""
}
