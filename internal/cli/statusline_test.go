package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/exit"
)

func TestStatusLineStaysBelowTheLog(t *testing.T) {
	var out bytes.Buffer
	s := &statusLine{out: &out, width: func() int { return 10 }}
	fmt.Fprintln(s, "log 1")
	s.show("1 file")
	s.show("1 file")
	fmt.Fprintln(s, "log 2")
	s.show("a line that is too long")
	s.show("")
	fmt.Fprintln(s, "log 3")
	require.Equal(t, "log 1\n"+eraseLine+"1 file"+eraseLine+"log 2\n1 file"+eraseLine+"a line th"+eraseLine+"log 3\n", out.String())
}

func TestNoStatusLineWithoutATerminal(t *testing.T) {
	f, err := os.Open(os.DevNull)
	require.NoError(t, err)
	defer f.Close()
	require.Nil(t, newStatusLine(errorOutput{f, f}))
	e := &Env{}
	e.Progress("unseen")
	require.False(t, e.HasTerminal())
}

// A line fits into the terminal as wide as it is at that moment, and one that has no size counts as 80
// columns.
func TestTheWidthOfATerminal(t *testing.T) {
	columns := 30
	s := &statusLine{out: &bytes.Buffer{}, width: func() int { return columns }}
	e := &Env{line: s}
	require.Equal(t, 29, e.Columns())
	columns = 20
	require.Equal(t, 19, e.Columns())
	columns = 1
	require.Equal(t, 1, e.Columns())
	require.Zero(t, (&Env{}).Columns())
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	require.NoError(t, err)
	defer terminal.Close()
	t.Setenv("TERM", "xterm")
	line := newStatusLine(errorOutput{terminal, terminal})
	require.NotNil(t, line)
	require.Equal(t, 79, line.columns(), "nobody gave it a size")
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
		h, err := newHandler(c.format, "info", errorOutput{&out, c.to}, nil)
		require.NoError(t, err)
		slog.New(h).Warn("m", "path", "a")
		require.Regexp(t, c.want, out.String(), name)
	}
}

// The line that says why a program ended had no priority: "journalctl -p err" did not show it.
func TestWhyAProgramEndsIsAnErrorInTheJournal(t *testing.T) {
	for _, c := range []struct{ format, want string }{
		{"auto", "<3>tidemark-probe: gone\n"},
		{"text", "tidemark-probe: gone\n"},
	} {
		file, err := os.Create(t.TempDir() + "/log")
		require.NoError(t, err)
		defer file.Close()
		info, err := file.Stat()
		require.NoError(t, err)
		stat := info.Sys().(*syscall.Stat_t)
		t.Setenv("JOURNAL_STREAM", fmt.Sprintf("%d:%d", stat.Dev, stat.Ino))
		p := probe{err: exit.With(exit.Local, errors.New("gone"), "")}
		require.Equal(t, exit.Local, run(p.command(), []string{"--log-format", c.format, "src", "dst"}, io.Discard, file))
		text, err := os.ReadFile(file.Name())
		require.NoError(t, err)
		require.Equal(t, c.want, string(text))
	}
}

// What a program says again and again is told once, and counted at its end; what a signal asks for is told each time.
func TestNothingIsToldTwice(t *testing.T) {
	var p probe
	c := p.command()
	c.Run = func(_ context.Context, env *Env) error {
		for range 5 {
			env.Log.Warn("no answer", "remedy", "wait")
			env.logStatus(&c)
		}
		return nil
	}
	var stderr bytes.Buffer
	require.Zero(t, run(c, []string{"src", "dst"}, io.Discard, &stderr))
	require.Equal(t, 2, strings.Count(stderr.String(), "no answer"), &stderr)
	require.Contains(t, stderr.String(), "remedy=wait again=4\n")
	require.Equal(t, 5, strings.Count(stderr.String(), "SIGUSR1: there is no status"))
}
