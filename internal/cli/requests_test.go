package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/credentials"
	"tidemark/internal/credentials/credentialstest"
)

// probed returns the surroundings of a program whose log is in out.
func probed(out io.Writer) *Env {
	log := slog.New(slog.NewTextHandler(out, nil))
	return &Env{Log: log, asked: log, Args: map[string]string{}}
}

// SIGHUP was ignored: a token that was put in counted when the file had been still for two seconds, and only if
// somebody asked. Whoever sends it has written the file.
func TestHangupReadsFilesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		credentialstest.Certificate(t, dir)
		credentialstest.Rewrite(t, dir+"/tokens", "old\n", time.Now().Add(-time.Hour))
		credentialstest.Rewrite(t, dir+"/token", "old\n", time.Now().Add(-time.Hour))
		var log bytes.Buffer
		env := probed(&log)
		tokens, err := credentials.OpenTokens(dir+"/tokens", env.Log)
		require.NoError(t, err)
		client := credentials.Client{CA: dir + "/cert.pem", TokenFile: dir + "/token"}
		config, _, err := client.Load(env.Log, "")
		require.NoError(t, err)
		env.Keep(tokens)
		env.Keep(&client)

		credentialstest.Rewrite(t, dir+"/tokens", "new\n", time.Now())
		was, err := os.Stat(dir + "/token")
		require.NoError(t, err)
		credentialstest.Rewrite(t, dir+"/token", "two\n", was.ModTime()) // neither size nor time shows it
		require.Equal(t, []string{"old"}, tokens.Tokens(), "not looked at twice in a second")
		env.reload(&Command{Hangup: func() string { return "an audit begins" }})
		require.Equal(t, []string{"new"}, tokens.Tokens())
		same, authorization := client.Now()
		require.Equal(t, "Bearer two", authorization)
		require.Same(t, config, same, "connections go on where nothing changed")
		require.Contains(t, log.String(), fmt.Sprintf(`msg="SIGHUP: an audit begins; read files again" read="%s %s" unchanged=%s`,
			dir+"/tokens", dir+"/token", dir+"/cert.pem"))
		require.Contains(t, log.String(), "filters are read at the start only")
		require.NotContains(t, log.String(), "WARN")
	})
}

// What cannot be used changes nothing, and is named.
func TestHangupKeepsWhatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		credentialstest.Certificate(t, dir)
		credentialstest.Rewrite(t, dir+"/tokens", "old\n", time.Now().Add(-time.Hour))
		var log bytes.Buffer
		env := probed(&log)
		tokens, err := credentials.OpenTokens(dir+"/tokens", env.Log)
		require.NoError(t, err)
		client := credentials.Client{CA: dir + "/cert.pem"}
		config, _, err := client.Load(env.Log, "")
		require.NoError(t, err)
		env.Keep(tokens)
		env.Keep(&client)
		credentialstest.Rewrite(t, dir+"/cert.pem", "half", time.Now())
		require.NoError(t, os.Rename(dir+"/tokens", dir+"/away"))
		env.reload(&Command{})
		same, _ := client.Now()
		require.Same(t, config, same)
		require.Equal(t, []string{"old"}, tokens.Tokens(), "it may be being replaced")
		for _, file := range []string{"/tokens", "/cert.pem"} {
			require.Contains(t, log.String(), `level=WARN msg="SIGHUP: a file cannot be used now" file=`+dir+file)
		}
		<-time.After(10 * time.Second) // it is not being replaced any more
		env.reload(&Command{})
		require.Empty(t, tokens.Tokens())
		require.NoError(t, os.Rename(dir+"/away", dir+"/tokens"))
		env.reload(&Command{})
		require.Equal(t, []string{"old"}, tokens.Tokens())
	})
}

// A pipe is read once; a program without files says so.
func TestHangupNamesWhatItDoesNot(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	_, err = io.WriteString(w, "piped\n")
	require.NoError(t, err)
	require.NoError(t, w.Close())
	var log bytes.Buffer
	env := probed(&log)
	env.reload(&Command{})
	require.Contains(t, log.String(), `level=INFO msg="SIGHUP: no files to read again" remedy=`)
	log.Reset()
	env.Keep(new(credentials.Client)) // a mirror without credentials said that it had read files again: none
	env.reload(&Command{})
	require.Contains(t, log.String(), `level=INFO msg="SIGHUP: no files to read again" remedy=`)
	file := fmt.Sprintf("/proc/self/fd/%d", r.Fd())
	tokens, err := credentials.OpenTokens(file, env.Log)
	require.NoError(t, err)
	env.Keep(tokens)
	env.reload(&Command{})
	require.Contains(t, log.String(), "file="+file+` error="it is a pipe`)
	require.Equal(t, []string{"piped"}, tokens.Tokens())
}

// systemctl reload waits until a program says that it is ready again.
func TestHangupTellsSystemd(t *testing.T) {
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: t.TempDir() + "/s", Net: "unixgram"})
	require.NoError(t, err)
	defer socket.Close()
	require.NoError(t, socket.SetReadDeadline(time.Now().Add(10*time.Second)))
	t.Setenv("NOTIFY_SOCKET", socket.LocalAddr().String())
	env := probed(io.Discard)
	next := func() string {
		buf := make([]byte, 1<<10)
		n, err := socket.Read(buf)
		require.NoError(t, err)
		return string(buf[:n])
	}
	env.reload(&Command{}) // it is not ready yet: nothing
	env.Ready()
	require.Equal(t, "READY=1", next())
	env.reload(&Command{})
	require.Regexp(t, `^RELOADING=1\nMONOTONIC_USEC=[0-9]+$`, next())
	require.Equal(t, "READY=1", next())
}

// The status stands in one line, with the names that --status --json has, in any format, whatever the level is.
func TestStatusInTheLog(t *testing.T) {
	status := `{"state":"watched","tree":"a b","lag":0.5,"up":true,"counters":{"audits_total":3},` +
		`"list":["` + strings.Repeat("x", longValue) + `"],"few":[1, 2],"none":null}`
	for format, want := range map[string]string{
		"text": ` level=INFO msg=status state=watched tree="a b" lag=0.5 up=true counters.audits_total=3 list="too long for the log, see --status" few=[1,2] none=null` + "\n",
		"json": `"level":"INFO","msg":"status","state":"watched","tree":"a b","lag":0.5,"up":true,"counters":{"audits_total":3},"list":"too long for the log, see --status","few":[1,2],"none":null}` + "\n",
	} {
		var p probe
		c := p.command()
		c.Status = func(env *Env, w io.Writer) error {
			require.Equal(t, "dst", env.Args["DEST"])
			_, err := io.WriteString(w, status)
			return err
		}
		c.Run = func(_ context.Context, env *Env) error {
			env.logStatus(&c)
			env.Log.Info("not at this level")
			return nil
		}
		var stderr bytes.Buffer
		require.Zero(t, run(c, []string{"--log-format", format, "--log-level", "error", "src", "dst"}, io.Discard, &stderr))
		require.True(t, strings.HasSuffix(stderr.String(), want), "%s", &stderr)
	}
}

// What cannot be told is a warning, not a crash.
func TestNoStatusInTheLog(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "the status cannot be read"},
		{`{"a":`, "the status cannot be read"},
		{`{"a":1`, "the status cannot be read"},
		{"{}", "msg=status"},
	} {
		var log bytes.Buffer
		env := probed(&log)
		env.logStatus(&Command{Status: func(_ *Env, w io.Writer) error { _, err := io.WriteString(w, c.text); return err }})
		require.Contains(t, log.String(), c.want, c.text)
	}
	var log bytes.Buffer
	env := probed(&log)
	env.logStatus(&Command{})
	require.Contains(t, log.String(), "there is no status")
	env.logStatus(&Command{Status: func(*Env, io.Writer) error { return errors.New("broken") }})
	require.Contains(t, log.String(), "error=broken")
}

// Both signals reach a program that runs; of a terminal SIGHUP still means the end.
func TestSignalsReachTheProgram(t *testing.T) {
	var log lockedBuffer
	env := probed(&log)
	command := &Command{Status: func(_ *Env, w io.Writer) error { _, err := io.WriteString(w, `{"state":"x"}`); return err }}
	stop := onRequests(command, env, true)
	require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGUSR1))
	require.Eventually(t, func() bool { return strings.Contains(log.String(), "msg=status state=x") }, 10*time.Second, time.Millisecond)
	require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGHUP))
	require.Eventually(t, func() bool { return strings.Contains(log.String(), "SIGHUP: no files") }, 10*time.Second, time.Millisecond)
	stop()
}

// lockedBuffer is a buffer that is written and read at once.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
