// Package weblog turns the lines that net/http writes into a log.Logger into lines of
// a structured log:
//
//	http: TLS handshake error from 192.0.2.7:51034: EOF
//
// becomes a line "http" with error="TLS handshake error: EOF",
// remote=192.0.2.7:51034 and a remedy. Any client can cause such lines at will, so there are at
// most ten a minute; the first line of the next minute says how many were left out. A
// panic is always logged, with its stack.
package weblog

import (
	"log"
	"log/slog"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"time"
)

// Bounds of what is logged.
const (
	mostLines = 10
	period    = time.Minute
	mostText  = 500 // bytes of an error
)

// New returns a logger for http.Server.ErrorLog and the like.
func New(to *slog.Logger) *log.Logger { return log.New(NewWriter(to), "", 0) }

// Writer takes one line, or a panic with its stack, with each Write. It may be used by
// several goroutines at once.
type Writer struct {
	to *slog.Logger

	mu      sync.Mutex // guards what follows
	began   time.Time  // of the period
	lines   int        // in it
	omitted int        // lines that were left out
}

// NewWriter returns the writer that New logs to.
func NewWriter(to *slog.Logger) *Writer { return &Writer{to: to} }

// Write logs a line.
func (w *Writer) Write(text []byte) (int, error) {
	first, stack, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	what, remote := parse(first)
	var args []any
	if remote != "" {
		args = append(args, "remote", remote)
	}
	if strings.HasPrefix(what, "panic") {
		w.to.Error("http", append([]any{"error", what}, append(args, "remedy", remedyFor(what), "stack", stack)...)...)
		return len(text), nil
	}
	if omitted, ok := w.pass(); ok {
		if omitted > 0 {
			args = append(args, "omitted", omitted)
		}
		w.to.Warn("http", append([]any{"error", what}, append(args, "remedy", remedyFor(what))...)...)
	}
	return len(text), nil
}

// remedyFor says what to do about a line.
func remedyFor(what string) string {
	switch {
	case strings.HasPrefix(what, "panic"):
		return "report this, with its stack: it is a defect; other requests go on"
	case strings.Contains(what, "too many open files"):
		return "raise the limit of descriptors: ulimit -n, or LimitNOFILE= in a unit"
	case strings.Contains(what, "TLS handshake"):
		return "look what that client is: it does not speak TLS, or trusts another CA; others are not affected"
	}
	return "none is needed; if it comes again and again, look what is at the other end, or between"
}

// pass reports whether one more line may be logged, and how many were left out before
// it.
func (w *Writer) pass() (omitted int, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now := time.Now(); now.Sub(w.began) >= period {
		w.began, w.lines = now, 0
	}
	if w.lines == mostLines {
		w.omitted++
		return 0, false
	}
	w.lines++
	omitted, w.omitted = w.omitted, 0
	return omitted, true
}

// peer matches the address of a client in a line of net/http.
var peer = regexp.MustCompile(`(?: from client| from| serving) (\S+): `)

// parse splits a line of net/http into the message and the address of the client.
func parse(line string) (what, remote string) {
	for _, prefix := range []string{"http: ", "http2: ", "server: "} {
		line = strings.TrimPrefix(line, prefix)
	}
	if m := peer.FindStringSubmatchIndex(line); m != nil {
		addr := line[m[2]:m[3]]
		if _, err := netip.ParseAddrPort(addr); err == nil || addr == "@" { // "@" is a unix socket's
			line, remote = line[:m[0]]+": "+line[m[1]:], addr
		}
	}
	if len(line) > mostText {
		line = line[:mostText] + "..."
	}
	return line, remote
}
