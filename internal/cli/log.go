package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"syscall"
)

// newLogger builds the log on stderr, through its status line if it has one.
// "auto" is short lines on a terminal, lines with a priority for the journal, and
// plain text elsewhere.
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

// autoHandler returns the handler of "auto" for what w is.
func autoHandler(w io.Writer, line *statusLine, options *slog.HandlerOptions) slog.Handler {
	e, ok := w.(errorOutput)
	switch {
	case ok && e.file != nil && isJournal(e.file):
		return newJournalHandler(w, options.Level)
	case line != nil:
		return newTerminalHandler(line, options.Level, os.Getenv("NO_COLOR") == "")
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

// headedHandler writes text lines that begin with a head of its own in the place of
// some of the usual fields.
type headedHandler struct {
	slog.Handler // writes to out.line
	head         func(line *bytes.Buffer, r *slog.Record)
	out          *headedWriter
}

// headedWriter is where the handlers of one log meet.
type headedWriter struct {
	mu   sync.Mutex // guards line and the writing
	line bytes.Buffer
	w    io.Writer
}

// newHeadedHandler returns a handler that writes head instead of the fields.
func newHeadedHandler(w io.Writer, least slog.Leveler, head func(*bytes.Buffer, *slog.Record), fields ...string) slog.Handler {
	out := &headedWriter{w: w}
	text := slog.NewTextHandler(&out.line, &slog.HandlerOptions{
		Level: least,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && slices.Contains(fields, a.Key) {
				return slog.Attr{}
			}
			return a
		},
	})
	return &headedHandler{text, head, out}
}

// newJournalHandler returns a handler of lines without time, each headed by the
// syslog priority of sd-daemon(3).
func newJournalHandler(w io.Writer, least slog.Leveler) slog.Handler {
	return newHeadedHandler(w, least, func(line *bytes.Buffer, r *slog.Record) {
		fmt.Fprintf(line, "<%d>", priority(r.Level))
	}, slog.TimeKey, slog.LevelKey)
}

// newTerminalHandler returns a handler of lines for people: the time of day, the
// level, the message, and then its attributes. coloured says that warnings and
// errors show their level in colour.
func newTerminalHandler(w io.Writer, least slog.Leveler, coloured bool) slog.Handler {
	return newHeadedHandler(w, least, func(line *bytes.Buffer, r *slog.Record) {
		level := fmt.Sprintf("%-5s", r.Level)
		switch {
		case coloured && r.Level >= slog.LevelError:
			level = "\x1b[91m" + level + "\x1b[0m"
		case coloured && r.Level >= slog.LevelWarn:
			level = "\x1b[93m" + level + "\x1b[0m"
		}
		fmt.Fprintf(line, "%s %s %s ", r.Time.Format("15:04:05.000"), level, r.Message)
	}, slog.TimeKey, slog.LevelKey, slog.MessageKey)
}

// Handle writes one line.
func (h *headedHandler) Handle(ctx context.Context, r slog.Record) error {
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	h.out.line.Reset()
	h.head(&h.out.line, &r)
	if err := h.Handler.Handle(ctx, r); err != nil {
		return err
	}
	_, err := h.out.w.Write(h.out.line.Bytes())
	return err
}

// WithAttrs is slog.Handler's.
func (h *headedHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &headedHandler{h.Handler.WithAttrs(attrs), h.head, h.out}
}

// WithGroup is slog.Handler's.
func (h *headedHandler) WithGroup(name string) slog.Handler {
	return &headedHandler{h.Handler.WithGroup(name), h.head, h.out}
}

// priority returns the syslog priority of a level.
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

// lostLog is the line of the log that stands for n lost ones.
func lostLog(format string, file *os.File, n int) []byte {
	var line bytes.Buffer
	log, err := newLogger(format, "info", errorOutput{&line, file}, nil)
	if err != nil {
		return fmt.Appendf(nil, "%d lines of the log were lost\n", n)
	}
	log.Warn("lines of the log were lost, because nobody read them", "lines", n)
	return line.Bytes()
}
