package console

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestStatusLineStaysBelowTheLog(t *testing.T) {
	var out bytes.Buffer
	s := &StatusLine{out: &out, width: func() int { return 10 }}
	fmt.Fprintln(s, "log 1")
	s.Show("1 file")
	s.Show("1 file")
	fmt.Fprintln(s, "log 2")
	s.Show("a line that is too long")
	s.Show("")
	fmt.Fprintln(s, "log 3")
	require.Equal(t, "log 1\n"+eraseLine+"1 file"+eraseLine+"log 2\n1 file"+eraseLine+"a line th"+eraseLine+"log 3\n", out.String())
}

func TestNoStatusLineWithoutATerminal(t *testing.T) {
	f, err := os.Open(os.DevNull)
	require.NoError(t, err)
	defer f.Close()
	require.Nil(t, NewStatusLine(ErrorOutput{f, f}))
	require.Nil(t, NewStatusLine(ErrorOutput{io.Discard, nil}))
}

// A line fits into the terminal as wide as it is at that moment, and one that has no size counts as 80
// columns.
func TestTheWidthOfATerminal(t *testing.T) {
	columns := 30
	s := &StatusLine{out: &bytes.Buffer{}, width: func() int { return columns }}
	require.Equal(t, 29, s.Columns())
	columns = 20
	require.Equal(t, 19, s.Columns())
	columns = 1
	require.Equal(t, 1, s.Columns())
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	require.NoError(t, err)
	defer terminal.Close()
	t.Setenv("TERM", "xterm")
	line := NewStatusLine(ErrorOutput{terminal, terminal})
	require.NotNil(t, line)
	require.Equal(t, 79, line.Columns(), "nobody gave it a size")
}
