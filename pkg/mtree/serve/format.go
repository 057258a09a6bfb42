package serve

import (
	"net/http"
	"strconv"
	"strings"
)

// format is one of the forms a listing comes in; its value stands in ETags.
type format string

const (
	text   format = "txt"
	asJSON format = "json"
	asHTML format = "html"
)

// choose returns the format a request wants, and whether it was the query that
// said so: such an answer has a URL of its own and may be cached by anyone.
func choose(t *target, r *http.Request) (f format, explicit bool) {
	for _, f := range []format{text, asJSON, asHTML} {
		if t.has(string(f)) {
			return f, true
		}
	}
	accept := strings.Join(r.Header.Values("Accept"), ",")
	if trimmed := strings.TrimSpace(accept); trimmed == "" || trimmed == "*/*" {
		return byAgent(r.UserAgent()), false
	}
	others := max(quality(accept, "text/html"), quality(accept, "*/*"))
	plain, json := quality(accept, "text/plain"), quality(accept, "application/json")
	switch {
	case json > others && json >= plain:
		return asJSON, false
	case plain > others:
		return text, false
	}
	return asHTML, false
}

// byAgent serves those who do not say what they want: people at a prompt and
// the original client read text; rclone, wget, lftp and browsers read HTML.
func byAgent(agent string) format {
	if strings.HasPrefix(agent, "curl/") || strings.HasPrefix(agent, "Python-urllib") {
		return text
	}
	return asHTML
}

// quality returns the weight that an Accept or Accept-Encoding field gives
// to exactly this element, 0 if it is not named (RFC 9110, 12.4.2).
func quality(field, element string) float64 {
	for part := range strings.SplitSeq(field, ",") {
		name, params, _ := strings.Cut(part, ";")
		if !strings.EqualFold(strings.TrimSpace(name), element) {
			continue
		}
		for param := range strings.SplitSeq(params, ";") {
			key, value, _ := strings.Cut(param, "=")
			if !strings.EqualFold(strings.TrimSpace(key), "q") {
				continue
			}
			q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil || q < 0 || q > 1 {
				return 0
			}
			return q
		}
		return 1
	}
	return 0
}

// coding is a content coding of a listing; its value stands in ETags.
type coding string

const (
	identity coding = ""
	gzipped  coding = "gzip"
)

// chooseCoding returns gzip where the client names it, or anything, with a
// weight above none.
func chooseCoding(r *http.Request) coding {
	field := strings.Join(r.Header.Values("Accept-Encoding"), ",")
	switch {
	case field == "":
		return identity
	case quality(field, "gzip") > 0:
		return gzipped
	case quality(field, "*") > 0 && !strings.Contains(strings.ToLower(field), "gzip"):
		return gzipped
	}
	return identity
}
