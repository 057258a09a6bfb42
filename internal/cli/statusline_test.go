package cli

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
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
