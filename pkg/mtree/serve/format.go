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
	if takesAnything(accept) {
		return byAgent(r.UserAgent()), false
	}
	html, plain, json := weight(accept, "text", "html"), weight(accept, "text", "plain"), weight(accept, "application", "json")
	switch {
	case json > html && json >= plain:
		return asJSON, false
	case plain > html:
		return text, false
	}
	return asHTML, false
}

// takesAnything reports whether an Accept field names nothing, or */* only.
func takesAnything(accept string) bool {
	for part := range strings.SplitSeq(accept, ",") {
		if name, _, _ := strings.Cut(part, ";"); strings.TrimSpace(name) != "" && strings.TrimSpace(name) != "*/*" {
			return false
		}
	}
	return true
}

// weight returns the weight that an Accept field gives to a media type, by the
// most specific of its ranges that has it (RFC 9110, 12.5.1).
func weight(accept, kind, subtype string) float64 {
	for _, media := range []string{kind + "/" + subtype, kind + "/*", "*/*"} {
		if q, named := qualityOf(accept, media); named {
			return q
		}
	}
	return 0
}

// byAgent serves those who do not say what they want: people at a prompt and
// the original client read text; rclone, wget, lftp and browsers read HTML.
func byAgent(agent string) format {
	if strings.HasPrefix(agent, "curl/") || strings.HasPrefix(agent, "Python-urllib") {
		return text
	}
	return asHTML
}

// quality returns the weight that a field gives to exactly this element, 0 if it
// is not named.
func quality(field, element string) float64 {
	q, _ := qualityOf(field, element)
	return q
}

// qualityOf returns the weight that an Accept or Accept-Encoding field gives
// to exactly this element, and whether it names it (RFC 9110, 12.4.2).
func qualityOf(field, element string) (q float64, named bool) {
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
				return 0, true
			}
			return q, true
		}
		return 1, true
	}
	return 0, false
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
