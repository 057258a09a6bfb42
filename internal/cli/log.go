package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"syscall"

	"github.com/lmittmann/tint"
)

// newLogger builds the log on stderr, through its status line if it has one.
// "auto" is coloured lines on a terminal, lines with a priority for the
// journal, and plain text elsewhere.
func newLogger(format, level string, w io.Writer, line *statusLine) (*slog.Logger, error) {
	var least slog.Level
	if err := least.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log-level %q: want debug, info, warn or error", level)
	}
	options := &slog.HandlerOptions{Level: least}
	if format == "auto" {
		return slog.New(autoHandler(w, line, options)), nil
	}
	if line != nil {
		w = line
	}
	switch format {
	case "json":
		return slog.New(slog.NewJSONHandler(w, options)), nil
	case "text":
		return slog.New(slog.NewTextHandler(w, options)), nil
	}
	return nil, fmt.Errorf("--log-format %q: want auto, text or json", format)
}

func autoHandler(w io.Writer, line *statusLine, options *slog.HandlerOptions) slog.Handler {
	e, ok := w.(errorOutput)
	switch {
	case ok && e.file != nil && isJournal(e.file):
		return newJournalHandler(w, options)
	case line != nil:
		return tint.NewTextHandler(line, &tint.Options{Level: options.Level, TimeFormat: "15:04:05.000", NoColor: os.Getenv("NO_COLOR") != ""})
	}
	return slog.NewTextHandler(w, options)
}

// isJournal reports whether f is connected to the systemd journal, see
// systemd.exec(5) on $JOURNAL_STREAM.
func isJournal(f *os.File) bool {
	info, err := f.Stat()
	if err != nil {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && os.Getenv("JOURNAL_STREAM") == fmt.Sprintf("%d:%d", stat.Dev, stat.Ino)
}

// journalHandler writes text lines without time, each headed by the syslog
// priority of sd-daemon(3).
type journalHandler struct {
	slog.Handler
	out *journalWriter
}

type journalWriter struct {
	mu   sync.Mutex // guards line and the writing
	line bytes.Buffer
	w    io.Writer
}

func newJournalHandler(w io.Writer, options *slog.HandlerOptions) slog.Handler {
	out := &journalWriter{w: w}
	text := slog.NewTextHandler(&out.line, &slog.HandlerOptions{
		Level: options.Level,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
				return slog.Attr{}
			}
			return a
		},
	})
	return &journalHandler{text, out}
}

func (h *journalHandler) Handle(ctx context.Context, r slog.Record) error {
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	h.out.line.Reset()
	fmt.Fprintf(&h.out.line, "<%d>", priority(r.Level))
	if err := h.Handler.Handle(ctx, r); err != nil {
		return err
	}
	_, err := h.out.w.Write(h.out.line.Bytes())
	return err
}

func (h *journalHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &journalHandler{h.Handler.WithAttrs(attrs), h.out}
}

func (h *journalHandler) WithGroup(name string) slog.Handler {
	return &journalHandler{h.Handler.WithGroup(name), h.out}
}

func priority(level slog.Level) int {
	switch {
	case level >= slog.LevelError:
		return 3
	case level >= slog.LevelWarn:
		return 4
	case level >= slog.LevelInfo:
		return 6
	}
	return 7
}
