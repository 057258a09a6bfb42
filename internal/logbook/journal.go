package logbook

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
)

// journal writes lines with keys, without time, each headed by the syslog priority of sd-daemon(3).
type journal struct {
	slog.Handler // writes to out.line
	out          *journalWriter
}

// journalWriter is where the handlers of one log meet.
type journalWriter struct {
	mu   sync.Mutex // guards line and the writing
	line bytes.Buffer
	w    io.Writer
}

// NewJournal returns a handler of lines for the systemd journal:
//
//	<4>msg="cannot read a directory" path=lost+found/ error="permission denied"
func NewJournal(w io.Writer, least slog.Leveler) slog.Handler {
	out := &journalWriter{w: w}
	return &journal{slog.NewTextHandler(&out.line, &slog.HandlerOptions{
		Level: least,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
				return slog.Attr{}
			}
			return a
		},
	}), out}
}

// Handle writes one line.
func (h *journal) Handle(ctx context.Context, r slog.Record) error {
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

// WithAttrs is slog.Handler's.
func (h *journal) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &journal{h.Handler.WithAttrs(attrs), h.out}
}

// WithGroup is slog.Handler's.
func (h *journal) WithGroup(name string) slog.Handler {
	return &journal{h.Handler.WithGroup(name), h.out}
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
