package negotiate

import (
	"net/http"
	"strconv"
	"strings"

	"tidemark/pkg/mtree/serve/internal/render"
	"tidemark/pkg/mtree/wire"
)

// Format returns the format of a listing that a request asks for, and whether its query
// names it: such an answer has a URL of its own, and any cache may keep it.
func Format(r *http.Request, query wire.Query) (f render.Format, explicit bool) {
	for _, f := range []render.Format{render.Text, render.JSON, render.HTML, render.Preview} {
		if query.Has(string(f)) {
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
		return render.JSON, false
	case plain > html:
		return render.Text, false
	}
	return render.HTML, false
}

// TakesPages reports whether a request names pages among what it accepts, and nothing that it would rather have: what is
// for people comes as a page then. */* alone does not name them.
func TakesPages(r *http.Request) bool {
	accept := strings.Join(r.Header.Values("Accept"), ",")
	html := quality(accept, "text/html")
	return html > 0 && html >= max(quality(accept, "text/plain"), quality(accept, "application/json")) // guard (html > 0 -> true): TestTakesPages
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

// byAgent returns the format for a client that does not say what it accepts: people at a
// prompt and the original client read text; rclone, wget, lftp and browsers read HTML.
func byAgent(agent string) render.Format {
	if strings.HasPrefix(agent, "curl/") || strings.HasPrefix(agent, "Python-urllib") {
		return render.Text
	}
	return render.HTML
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
			if err != nil || !(q >= 0 && q <= 1) { // it may be NaN
				return 0, true
			}
			return q, true
		}
		return 1, true
	}
	return 0, false
}

// Coding returns gzip if the client accepts it, or any coding, with a weight above zero.
func Coding(r *http.Request) render.Coding {
	field := strings.Join(r.Header.Values("Accept-Encoding"), ",")
	switch {
	case field == "":
		return render.Identity
	case quality(field, "gzip") > 0:
		return render.Gzip
	case quality(field, "*") > 0 && !strings.Contains(strings.ToLower(field), "gzip"):
		return render.Gzip
	}
	return render.Identity
}
