package console

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLogFormats(t *testing.T) {
	for format, want := range map[string]string{"json": `"msg":"hello"`, "text": "msg=hello", "auto": "msg=hello"} {
		var out bytes.Buffer
		handler, err := NewHandler(format, "info", &out, nil)
		require.NoError(t, err)
		log := slog.New(handler)
		log.Info("hello")
		log.Debug("unheard")
		require.Contains(t, out.String(), want)
		require.NotContains(t, out.String(), "unheard")
	}
}

// A terminal gets lines for people, the journal a priority, everything else keys.
func TestTheFormatFollowsTheReader(t *testing.T) {
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	require.NoError(t, err)
	defer terminal.Close()
	file, err := os.Create(t.TempDir() + "/log")
	require.NoError(t, err)
	defer file.Close()
	info, err := file.Stat()
	require.NoError(t, err)
	stat := info.Sys().(*syscall.Stat_t)
	journal := fmt.Sprintf("%d:%d", stat.Dev, stat.Ino)
	const people, coloured = ` warning: m: a\n$`, ` \x1b\[93mwarning: \x1b\[0mm: a\n$`
	for name, c := range map[string]struct {
		format, journal, term, noColor string
		to                             *os.File
		want                           string
	}{
		"terminal":            {"auto", "", "xterm", "", terminal, coloured},
		"no colour":           {"auto", "", "xterm", "1", terminal, people},
		"dumb":                {"auto", "", "dumb", "", terminal, people},
		"text at a terminal":  {"text", "", "xterm", "", terminal, `level=WARN msg=m path=a\n$`},
		"journal":             {"auto", journal, "", "", file, `^<4>msg=m path=a\n$`},
		"a journal elsewhere": {"auto", "1:1", "", "", file, `^time=\S+ level=WARN msg=m path=a\n$`},
		"no file":             {"auto", journal, "", "", nil, `^time=\S+ level=WARN msg=m path=a\n$`},
	} {
		t.Setenv("JOURNAL_STREAM", c.journal)
		t.Setenv("TERM", c.term)
		t.Setenv("NO_COLOR", c.noColor)
		var out bytes.Buffer
		h, err := NewHandler(c.format, "info", ErrorOutput{&out, c.to}, nil)
		require.NoError(t, err)
		slog.New(h).Warn("m", "path", "a")
		require.Regexp(t, c.want, out.String(), name)
	}
}
