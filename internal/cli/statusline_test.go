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
