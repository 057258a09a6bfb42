package credentials

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/credentials/credentialstest"
)

// "private key does not match public key" did not say which files of which option are meant.
func TestAFileThatCannotBeUsedIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := t.TempDir() + "/file"
		credentialstest.Rewrite(t, file, "good", time.Now().Add(-time.Hour))
		var log bytes.Buffer
		k, err := Keep(slog.New(slog.NewTextHandler(&log, nil)), func() (string, error) {
			text, err := os.ReadFile(file)
			if string(text) != "good" {
				err = io.ErrUnexpectedEOF
			}
			return string(text), err
		}, file)
		require.NoError(t, err)
		credentialstest.Rewrite(t, file, "bad", time.Now())
		advance(LookEvery)
		require.Equal(t, "good", k.Get())
		require.Contains(t, log.String(), `level=WARN msg="a file changed and cannot be used: what it held before stands" files=`+file+` error="unexpected EOF"`)
	})
}

// A token that was taken out of --token-file was accepted until serve was started
// again, and a token that was put in was not.
func TestTokensAreReadAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := t.TempDir() + "/tokens"
		credentialstest.Rewrite(t, file, "old\nboth\n", time.Now().Add(-time.Hour))
		var log bytes.Buffer
		tokens, err := OpenTokens(file, slog.New(slog.NewTextHandler(&log, nil)))
		require.NoError(t, err)
		require.Equal(t, []string{"old", "both"}, tokens.Tokens())

		// The file may be half written: no new token counts yet, and none that is gone
		// counts any more.
		advance(LookEvery)
		credentialstest.Rewrite(t, file, "both\nne", time.Now())
		require.Equal(t, []string{"both"}, tokens.Tokens())
		credentialstest.Rewrite(t, file, "both\nnew\n", time.Now())
		require.Equal(t, []string{"both"}, tokens.Tokens(), "not looked at twice in a second")
		advance(LookEvery)
		require.Equal(t, []string{"both"}, tokens.Tokens())
		advance(LookEvery)
		require.Equal(t, []string{"both", "new"}, tokens.Tokens(), "whole: unchanged for a second")

		// A file that nobody looked at for long is whole at the first look.
		credentialstest.Rewrite(t, file, "another\n", time.Now())
		advance(time.Hour)
		require.Equal(t, []string{"another"}, tokens.Tokens())

		// Renamed into place with the times of another.
		require.NoError(t, os.Rename(file, file+".old"))
		credentialstest.Rewrite(t, file, "renamed\n", time.Now().Add(-time.Hour))
		advance(LookEvery)
		require.Equal(t, []string{"renamed"}, tokens.Tokens())
		require.NotContains(t, log.String(), "WARN")
	})
}

// A token file that is missing or empty is being replaced, or somebody took the tokens
// away. It never means that clients need none.
func TestTokensThatAreTakenAway(t *testing.T) {
	for name, away := range map[string]func(*testing.T, string){
		"missing":  func(t *testing.T, file string) { require.NoError(t, os.Remove(file)) },
		"empty":    func(t *testing.T, file string) { credentialstest.Rewrite(t, file, "", time.Now()) },
		"comments": func(t *testing.T, file string) { credentialstest.Rewrite(t, file, "# none\n\n", time.Now()) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				file := t.TempDir() + "/tokens"
				credentialstest.Rewrite(t, file, "old\n", time.Now().Add(-time.Hour))
				var log bytes.Buffer
				tokens, err := OpenTokens(file, slog.New(slog.NewTextHandler(&log, nil)))
				require.NoError(t, err)
				away(t, file)
				for range 4 {
					advance(LookEvery)
					require.Equal(t, []string{"old"}, tokens.Tokens())
				}
				require.Equal(t, 1, strings.Count(log.String(), "WARN"), "said once")
				advance(tokensGrace)
				require.Empty(t, tokens.Tokens())
				advance(time.Hour)
				require.Empty(t, tokens.Tokens())
				require.Equal(t, 1, strings.Count(log.String(), "ERROR"), "said once")
				credentialstest.Rewrite(t, file, "old\nnew\n", time.Now())
				advance(LookEvery)
				require.Equal(t, []string{"old"}, tokens.Tokens())
				advance(LookEvery)
				require.Equal(t, []string{"old", "new"}, tokens.Tokens())
			})
		})
	}
}

// A token file that was removed while nobody asked let in whoever came first, hours later: the moment in
// which it may be being replaced began when he came. It begins at the last look at which it was there.
func TestTokenFileRemovedWhileNobodyAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := t.TempDir() + "/tokens"
		credentialstest.Rewrite(t, file, "old\n", time.Now().Add(-time.Hour))
		var log bytes.Buffer
		tokens, err := OpenTokens(file, slog.New(slog.NewTextHandler(&log, nil)))
		require.NoError(t, err)
		advance(time.Hour)
		require.Equal(t, []string{"old"}, tokens.Tokens())
		require.NoError(t, os.Remove(file))
		advance(tokensGrace)
		require.Empty(t, tokens.Tokens())
		require.NotContains(t, log.String(), "WARN", "it is over already")
		require.Equal(t, 1, strings.Count(log.String(), "ERROR"))
		credentialstest.Rewrite(t, file, "old\n", time.Now().Add(-time.Hour))
		advance(LookEvery)
		require.Equal(t, []string{"old"}, tokens.Tokens())
	})
}

// A file that cannot be read changes no tokens; nobody waits for a FIFO in its place; a
// pipe given at the start is read once.
func TestTokensThatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := t.TempDir() + "/tokens"
		credentialstest.Rewrite(t, file, "old\n", time.Now().Add(-time.Hour))
		var log bytes.Buffer
		tokens, err := OpenTokens(file, slog.New(slog.NewTextHandler(&log, nil)))
		require.NoError(t, err)
		require.NoError(t, os.Remove(file))
		require.NoError(t, syscall.Mkfifo(file, 0o600))
		for range 10 {
			advance(LookEvery)
			require.Equal(t, []string{"old"}, tokens.Tokens())
		}
		require.Equal(t, 1, strings.Count(log.String(), "WARN"), log.String())
	})
	r, w, err := os.Pipe()
	require.NoError(t, err)
	_, err = io.WriteString(w, "piped\n")
	require.NoError(t, err)
	require.NoError(t, w.Close())
	synctest.Test(t, func(t *testing.T) {
		tokens, err := OpenTokens(fmt.Sprintf("/proc/self/fd/%d", r.Fd()), slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		advance(time.Hour)
		require.Equal(t, []string{"piped"}, tokens.Tokens())
	})
	require.NoError(t, r.Close())
}

// mirror read token, CAs and certificate at its start, and did not use renewed ones
// until it was started again.
func TestCredentialsAreReadAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		credentialstest.Certificate(t, dir)
		credentialstest.Rewrite(t, dir+"/token", "first\n", time.Now())
		c := Client{CA: dir + "/cert.pem", Cert: dir + "/cert.pem", Key: dir + "/key.pem", TokenFile: dir + "/token"}
		var log bytes.Buffer
		before, token, err := c.Load(slog.New(slog.NewTextHandler(&log, nil)), "")
		require.NoError(t, err)
		require.Equal(t, "Bearer first", token)
		advance(LookEvery)
		same, _ := c.Now()
		require.Same(t, before, same)

		credentialstest.Rewrite(t, dir+"/token", "second\n", time.Now())
		serial := credentialstest.Certificate(t, dir)
		advance(LookEvery)
		after, token := c.Now()
		require.Equal(t, "Bearer second", token)
		require.NotSame(t, before, after)
		require.Equal(t, serial, after.Certificates[0].Leaf.SerialNumber)

		require.NoError(t, os.Remove(dir+"/token"))
		credentialstest.Rewrite(t, dir+"/cert.pem", "half", time.Now())
		for range 3 {
			advance(LookEvery)
			kept, token := c.Now()
			require.Same(t, after, kept)
			require.Equal(t, "Bearer second", token)
		}
		require.Equal(t, 2, strings.Count(log.String(), "WARN"), "each said once")
	})
}

// advance lets time pass, in a bubble of synctest.
func advance(d time.Duration) { <-time.After(d) }
