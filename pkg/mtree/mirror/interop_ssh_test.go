//go:build interop

package mirror

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/serve"
)

// A source that has no open port but sshd: serve listens at a Unix socket there, ssh brings it here, by
// a key that may do nothing else, and mirror goes on by itself once ssh was started again. Where the
// source cannot be reached, it brings the socket (-R).
func TestASourceBehindSSH(t *testing.T) {
	for _, way := range []string{"-L", "-R"} {
		t.Run(way, func(t *testing.T) { mirrorBySSH(t, way) })
	}
}

func mirrorBySSH(t *testing.T, way string) {
	s, b := overHTTP(t, "a/f = 1", "g = 2")
	there, here := filepath.Join(t.TempDir(), "there"), filepath.Join(t.TempDir(), "here")
	listener, err := net.Listen("unix", there)
	require.NoError(t, err)
	h, err := serve.New(serve.Config{Root: s.root, Hidden: true})
	require.NoError(t, err)
	t.Cleanup(func() { _ = h.Close() })
	server := serve.Server(h, serve.Fast)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })

	forward := sshForward(t, way, here, there)
	end := forward()
	b.config.Source = "unix:" + here
	b.start()
	b.eventually(s)
	end()
	s.change("a/f = 3", "new/f = 4")
	end = forward()
	defer end()
	b.eventually(s)
}

// sshForward starts sshd on this machine, and returns what brings a socket of it here.
func sshForward(t *testing.T, way, here, there string) (forward func() (end func())) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll("/run/sshd", 0o755))
	key, host := filepath.Join(dir, "key"), filepath.Join(dir, "host")
	for _, file := range []string{key, host} {
		out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file).CombinedOutput()
		require.NoError(t, err, string(out))
	}
	public, err := os.ReadFile(key + ".pub")
	require.NoError(t, err)
	keys := filepath.Join(dir, "keys")
	require.NoError(t, os.WriteFile(keys, append([]byte("restrict,port-forwarding "), public...), 0o600))
	_, port, err := net.SplitHostPort(freeAddress(t))
	require.NoError(t, err)
	config := filepath.Join(dir, "config")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, "ListenAddress 127.0.0.1:%s\nHostKey %s\nAuthorizedKeysFile %s\n"+
		"StreamLocalBindUnlink yes\nStrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n", port, host, keys), 0o600))
	sshd, err := exec.LookPath("sshd")
	require.NoError(t, err)
	startProgram(t, sshd, "-D", "-e", "-f", config)
	return func() func() {
		end := startProgram(t, "ssh", "-N", "-F", "none", "-i", key, "-p", port, "-o", "StrictHostKeyChecking=no",
			"-o", "UserKnownHostsFile=/dev/null", "-o", "ConnectionAttempts=20", "-o", "ExitOnForwardFailure=yes",
			"-o", "StreamLocalBindUnlink=yes", way, here+":"+there, "root@127.0.0.1")
		require.True(t, assertEventually(func() bool {
			c, err := net.Dial("unix", here)
			if err == nil {
				_ = c.Close()
			}
			return err == nil
		}))
		return end
	}
}

// startProgram runs a program until end is called, or the test ends.
func startProgram(t *testing.T, name string, args ...string) (end func()) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = testWriter{t}, testWriter{t}
	require.NoError(t, cmd.Start())
	ended := false
	end = func() {
		if !ended {
			ended = true
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}
	t.Cleanup(end)
	return end
}

// freeAddress returns an address of this machine that nobody listens on.
func freeAddress(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}
