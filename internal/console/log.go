package console

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"syscall"
	"time"

	"golang.org/x/term"

	"tidemark/internal/logbook"
)

// NewHandler builds the log on stderr, through its status line if it has one.
// "auto" is short lines on a terminal, lines with a priority for the journal, and
// plain text elsewhere.
func NewHandler(format, level string, w io.Writer, line *StatusLine) (slog.Handler, error) {
	var least slog.Level
	if err := least.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log-level %q: want debug, info, warn or error", level)
	}
	to := w
	if line != nil {
		to = line
	}
	options := &slog.HandlerOptions{Level: least}
	switch format {
	case "auto":
		return autoHandler(w, to, options), nil
	case "json":
		return slog.NewJSONHandler(to, options), nil
	case "text":
		return slog.NewTextHandler(to, options), nil
	}
	return nil, fmt.Errorf("--log-format %q: want auto, text or json", format)
}

// autoHandler returns the handler of "auto" for what w is, which writes to to.
func autoHandler(w, to io.Writer, options *slog.HandlerOptions) slog.Handler {
	e, _ := w.(ErrorOutput)
	switch {
	case e.file != nil && isJournal(e.file):
		return logbook.NewJournal(to, options.Level)
	case e.file != nil && term.IsTerminal(int(e.file.Fd())):
		return logbook.NewPeople(to, options.Level, os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb")
	}
	return slog.NewTextHandler(to, options)
}

// Last writes the line that says why a program ends. Where the log is JSON, it is an object like the others, so that
// who reads them reads this, too. Where the log has lines with a priority, it has one: without it the journal takes
// that line for a notice, and "journalctl -p err" does not show why a unit failed.
func Last(format string, e ErrorOutput, program, text string) {
	priority := ""
	if format == "auto" && e.file != nil && isJournal(e.file) { // guard: TestWhyAProgramEndsIsAnErrorInTheJournal
		priority = "<3>"
	}
	if format == "json" { // guard: TestWhyAProgramEndsInJSON
		r := slog.NewRecord(time.Now(), slog.LevelError, text, 0) // text has its remedy in it
		r.AddAttrs(slog.String("program", program))
		_ = slog.NewJSONHandler(e, nil).Handle(context.Background(), r)
		return
	}
	fmt.Fprintf(e, "%s%s: %s\n", priority, program, text)
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

// LostLog is the line of the log that stands for n lost ones.
func LostLog(format string, file *os.File, n int) []byte {
	var line bytes.Buffer
	handler, err := NewHandler(format, "info", ErrorOutput{&line, file}, nil)
	if err != nil {
		return fmt.Appendf(nil, "%d lines of the log were lost\n", n)
	}
	slog.New(handler).Warn("lines of the log were lost, because nobody read them", "lines", n,
		"remedy", "none is needed: all else went on; look whether what reads stderr hangs")
	return line.Bytes()
}
