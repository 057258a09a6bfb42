package serve

import (
	"bytes"
	"io"
	"net/http"
	"strings"

	"tidemark/internal/webpage"
	"tidemark/pkg/mtree/serve/internal/render"
)

// browser is the ResponseWriter of a client that asks for pages by name: a refusal comes as a page that says
// where to go from here.
type browser struct {
	http.ResponseWriter
	r *http.Request
}

// Unwrap lets http.ResponseController find what is below.
func (b *browser) Unwrap() http.ResponseWriter { return b.ResponseWriter }

// ReadFrom lets what is below use sendfile(2).
func (b *browser) ReadFrom(src io.Reader) (int64, error) { return io.Copy(b.ResponseWriter, src) }

// CutOff ends the writing, as cutting does.
func (b *browser) CutOff() { cutting(b.ResponseWriter)() }

// asPage turns a refusal into a page, for a browser.
func (b *browser) asPage(a *reply) {
	var body bytes.Buffer
	data := refusal{
		Status: a.status, Name: http.StatusText(a.status), Why: a.why, Advice: adviceOn[a.status],
		Token: a.challenge, Ways: waysUp(b.r),
	}
	if t, err := parseTarget(b.r); err == nil {
		data.Path = "/" + t.path
	}
	if err := refusalPage.Write(&body, webpage.Frame{Title: data.Name}, data); err != nil {
		return // the text stays
	}
	a.kind, a.policy, a.vary = render.HTMLType, webpage.Policy(), "Accept"
	a.withBody(body.Bytes())
}

// refusal is what the page of a refusal says.
type refusal struct {
	Status            int
	Name, Why, Advice string
	Path              string // what was asked for; "": it makes no sense
	Token             bool   // the page says how to send one
	Ways              []way
}

// way is a link to a directory above.
type way struct{ Name, Href string }

var refusalPage = webpage.New("refusal", `<header><h1>{{.Status}} {{.Name}}</h1></header>
<p>{{with .Path}}<b>{{.}}</b>: {{end}}{{.Why}}.</p>
{{if .Advice}}<p>{{.Advice}}</p>
{{end}}{{if .Token}}<p>This tree is open to those who have a token. Load this page again, and give the token as the password; any user name will do.</p>
<pre tabindex="0">curl -H 'Authorization: Bearer TOKEN' URL</pre>
<pre tabindex="0">tidemark-mirror --token-file FILE URL COPY</pre>
<p class="soft">A token comes from whoever runs this server.</p>
{{else if .Ways}}<nav><p>Go up to {{range $i, $w := .Ways}}{{if $i}} / {{end}}<a href="{{$w.Href}}">{{$w.Name}}</a>{{end}}</p></nav>
{{end}}`)

// adviceOn says to people what they can do about a refusal.
var adviceOn = map[int]string{
	http.StatusNotFound:            "It may have been moved or deleted, or it is not published.",
	http.StatusForbidden:           "Whoever runs this server can change that.",
	http.StatusConflict:            "The rest of the tree can be read as always.",
	http.StatusTooManyRequests:     "Wait some seconds, and load this page again.",
	http.StatusServiceUnavailable:  "Wait some seconds, and load this page again.",
	http.StatusInternalServerError: "The log of the server says more.",
}

// waysUp returns links to the directories above what a request asks for, the root first. They are relative, so
// that they hold under any prefix of a proxy.
func waysUp(r *http.Request) (ways []way) {
	t, err := parseTarget(r)
	if err != nil || t.doubled { // what the URL leads to is not known
		return []way{{"the directory", "./"}}
	}
	var names []string
	if t.path != "" {
		names = strings.Split(t.path, "/")
	}
	depth := len(names) // of the directory that links are relative to
	if !t.slash {
		depth--
	}
	for i := range names {
		href := strings.Repeat("../", depth-i)
		if href == "" {
			href = "./"
		}
		name := "the root"
		if i > 0 {
			name = names[i-1]
		}
		ways = append(ways, way{name, href})
	}
	if len(names) == 0 && r.URL.RawQuery != "" {
		ways = []way{{"the root", "./"}}
	}
	return ways
}
