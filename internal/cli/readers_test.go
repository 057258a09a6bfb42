package cli

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/exit"
)

// talkative logs and notifies more than any pipe and any socket holds.
func talkative(lines int) Command {
	p := probe{}
	c := p.command()
	c.Run = func(_ context.Context, env *Env) error {
		env.Ready()
		for i := range lines {
			env.Log.Info(fmt.Sprint("line ", i), "text", strings.Repeat("x", 200))
			env.Notify(fmt.Sprint("state ", i))
		}
		return exit.With(exit.Local, fmt.Errorf("the end"), "")
	}
	return c
}

// ended runs the command with stderr, and fails unless it ends.
func ended(t *testing.T, c Command, stderr *os.File) {
	t.Helper()
	code := make(chan exit.Code, 1)
	go func() { code <- run(c, []string{"a", "b"}, os.Stdout, stderr) }()
	select {
	case got := <-code:
		require.Equal(t, exit.Local, got)
	case <-time.After(10 * time.Second):
		t.Fatal("it waits for its reader")
	}
}

// When nobody read the pipe of stderr, as while the journal restarts, the program stopped
// at its next line of the log, watch in the middle of stamping.
func TestNobodyReadsTheLog(t *testing.T) {
	const all = 20_000
	in, out, err := os.Pipe()
	require.NoError(t, err)
	defer in.Close()
	defer out.Close()
	ended(t, talkative(all), out)
	kept, lost := 0, ""
	for reader := bufio.NewScanner(in); lost == "" && reader.Scan(); kept++ {
		_, lost, _ = strings.Cut(reader.Text(), `level=WARN msg="lines of the log were lost, because nobody read them" lines=`)
	}
	lost, remedy, _ := strings.Cut(lost, " remedy=")
	require.Contains(t, remedy, "none is needed")
	require.Equal(t, fmt.Sprint(all+1-(kept-1)), lost, "and the line of the error")
}

// When the reader of the log went away, the program ended (SIGPIPE), not only its log.
func TestTheReaderOfTheLogHasGone(t *testing.T) {
	in, out, err := os.Pipe()
	require.NoError(t, err)
	defer out.Close()
	require.NoError(t, in.Close())
	ended(t, talkative(1000), out)
}

// A service manager that takes no notices stops no program, and gets READY and the last
// status when it takes them again.
func TestNobodyTakesNotices(t *testing.T) {
	path := t.TempDir() + "/notify"
	socket, err := net.ListenPacket("unixgram", path)
	require.NoError(t, err)
	defer socket.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	require.NoError(t, err)
	defer null.Close()
	ended(t, talkative(20_000), null)
	var got []string
	buf := make([]byte, 200)
	for len(got) == 0 || got[len(got)-1] != "STOPPING=1" {
		require.NoError(t, socket.SetReadDeadline(time.Now().Add(10*time.Second)))
		n, _, err := socket.ReadFrom(buf)
		require.NoError(t, err)
		got = append(got, string(buf[:n]))
	}
	require.Equal(t, "READY=1", got[0])
	require.Equal(t, "STATUS=state 19999", got[len(got)-2])
}
