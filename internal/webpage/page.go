package webpage

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the style
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"unicode"
)

// Style is the style that all pages have, dark and light.
//
//go:embed page.css
var Style string

//go:embed status.css
var statusStyle string

// NoScripts is a Content-Security-Policy by which a page runs nothing and loads nothing.
const NoScripts = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Policy returns the Content-Security-Policy of a Page.
func Policy() string { return NoScripts + "; style-src '" + HashSource(Style+statusStyle) + "'" }

// HashSource returns the expression that allows the style or script with this text in a
// Content-Security-Policy.
func HashSource(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// Page is the template of a page. It may be used by many goroutines at once.
type Page struct{ body *template.Template }

// Frame is what stands around the body of a page.
type Frame struct {
	Title   string
	Refresh int // seconds after which the browser loads the page anew; 0: it does not
}

const frame = `<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
{{- if .Frame.Refresh}}<meta http-equiv="refresh" content="{{.Frame.Refresh}}">{{end -}}
<title>{{.Frame.Title}}</title><style>{{.Style}}</style></head>
<body>
{{template "body" .Data}}
</body></html>
`

// New returns the page with this body, a template of html/template. Its functions are those of words.go:
// bytes, number, ago, span. It panics if the body is no template.
func New(name, body string) *Page {
	functions := template.FuncMap{"bytes": Bytes, "number": Number, "ago": Ago, "span": Span, "noun": Noun}
	t := template.Must(template.New(name).Funcs(functions).Parse(frame))
	template.Must(t.New("body").Parse(body))
	return &Page{t}
}

// Write writes the page, with data for its body. What does not print in a name, or changes the direction of writing, becomes
// U+FFFD: a terminal would obey it.
func (p *Page) Write(w io.Writer, f Frame, data any) error {
	var page bytes.Buffer
	err := p.body.Execute(&page, struct {
		Frame Frame
		Style template.CSS
		Data  any
	}{f, template.CSS(Style + statusStyle), data})
	if err != nil {
		return fmt.Errorf("page %s: %w", p.body.Name(), err)
	}
	_, err = w.Write(bytes.Map(shown, page.Bytes())) // guard: TestPagesHaveNothingThatATerminalObeys
	return err
}

// shown returns the rune that a page shows.
func shown(r rune) rune {
	if r != '\n' && r != '\t' && unicode.In(r, unicode.Cc, unicode.Cf) {
		return unicode.ReplacementChar
	}
	return r
}
