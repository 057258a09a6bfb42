package metrics

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"

	"tidemark/internal/webpage"
)

// page answers with a page of HTML that is written anew for each request.
type page struct {
	log   *slog.Logger
	write func(io.Writer) error
}

// ServeHTTP answers one request.
func (p *page) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	var body bytes.Buffer
	if err := p.write(&body); err != nil {
		p.log.Warn("cannot make the page of --metrics", "error", err, "remedy", "--status and /metrics tell the same")
		http.Error(w, "500 the page could not be made: see the log", http.StatusInternalServerError)
		return
	}
	for name, value := range map[string]string{
		"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": webpage.Policy(), "Cache-Control": "no-store",
		"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cross-Origin-Resource-Policy": "same-origin",
	} {
		w.Header().Set(name, value)
	}
	_, _ = w.Write(body.Bytes()) // the client may have gone
}

// writeIndex writes the page of a program that has no other.
func writeIndex(w io.Writer, command, version string) error {
	return index.Write(w, webpage.Frame{Title: "tidemark-" + command}, struct{ Command, Version string }{command, version})
}

var index = webpage.New("index", `<header><h1>tidemark-{{.Command}} {{.Version}}</h1></header>
<p><a href="metrics">metrics</a> for Prometheus</p>`)
