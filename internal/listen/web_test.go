package listen

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/credentials"
	"tidemark/internal/credentials/credentialstest"
	"tidemark/pkg/mtree/exit"
)

// lockedText is a log that a test can read while it is written.
type lockedText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lockedText) find(pattern string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if m := regexp.MustCompile(pattern).FindStringSubmatch(l.text.String()); m != nil {
		return m[1]
	}
	return ""
}

// serving runs a Web until the test ends and returns the address it logged.
func serving(t *testing.T, w Web, handler http.Handler) string {
	ctx, cancel := context.WithCancel(t.Context())
	var log lockedText
	ended := make(chan error, 1)
	w.Log, w.Keep = slog.New(slog.NewTextHandler(&log, nil)), func(credentials.Rereader) {}
	if w.Ready == nil {
		w.Ready, w.Notify = func() {}, func(string) {}
	}
	go func() { ended <- w.Serve(ctx, &http.Server{Handler: handler}) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	var address string
	require.Eventually(t, func() bool {
		address = log.find(`address=(\S+)`)
		return address != ""
	}, 10*time.Second, time.Millisecond)
	return address
}

func hello(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }

func TestServeOnTCPAndUnix(t *testing.T) {
	address := serving(t, Web{Listen: []string{"127.0.0.1:0"}}, http.HandlerFunc(hello))
	response, err := http.Get(address)
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, 200, response.StatusCode)

	dir, err := os.MkdirTemp("", "web") // a socket's path must be short
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	path := dir + "/s"
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	require.NoError(t, err)
	left.SetUnlinkOnClose(false)
	require.NoError(t, left.Close()) // as a killed server leaves it
	require.Equal(t, "unix:"+path, serving(t, Web{Listen: []string{"unix:" + path}}, http.HandlerFunc(hello)))
	_, err = (&Web{Listen: []string{"unix:" + path}}).listeners(t.Context())
	require.Equal(t, exit.Local, exit.Of(err), "one that answers is not replaced")
	conn, err := net.Dial("unix", path)
	require.NoError(t, err)
	require.NoError(t, conn.Close())
}

func TestAddressInUseNamesTheRemedy(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	_, err = (&Web{Listen: []string{l.Addr().String()}}).listeners(t.Context())
	require.Equal(t, exit.Local, exit.Of(err))
	require.ErrorContains(t, err, "--listen")
	for _, bad := range []string{"foo", "127.0.0.1:99999", ":-1", "127.0.0.1:no-such-service", "unix:"} {
		_, err := (&Web{Listen: []string{bad}}).listeners(t.Context())
		require.Equal(t, exit.Usage, exit.Of(err), bad)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	address := serving(t, Web{Listen: []string{"127.0.0.1:0"}, MaxConnections: 1}, http.HandlerFunc(hello))
	host := strings.TrimSuffix(strings.TrimPrefix(address, "http://"), "/")
	first, err := net.Dial("tcp", host)
	require.NoError(t, err)
	_, err = io.WriteString(first, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	_, err = first.Read(make([]byte, 1))
	require.NoError(t, err, "the first is served")

	second, err := net.Dial("tcp", host)
	require.NoError(t, err)
	defer second.Close()
	_, err = io.WriteString(second, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	require.NoError(t, second.SetReadDeadline(time.Now().Add(100*time.Millisecond)))
	_, err = second.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded, "the second waits")
	require.NoError(t, first.Close())
	require.NoError(t, second.SetReadDeadline(time.Now().Add(10*time.Second)))
	_, err = second.Read(make([]byte, 1))
	require.NoError(t, err, "until the first is gone")
}

func TestTLSWithClientCertificates(t *testing.T) {
	dir := t.TempDir()
	serial := credentialstest.Certificate(t, dir)
	address := serving(t, Web{
		Listen: []string{"127.0.0.1:0"}, Cert: dir + "/cert.pem", Key: dir + "/key.pem", ClientCA: dir + "/cert.pem",
	}, http.HandlerFunc(hello))
	require.True(t, strings.HasPrefix(address, "https://"), address)

	get := func(c credentials.Client) (*http.Response, error) {
		config, _, err := c.Load(slog.New(slog.DiscardHandler), "")
		require.NoError(t, err)
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true, ForceAttemptHTTP2: true}}
		response, err := client.Get(address)
		if err == nil {
			require.NoError(t, response.Body.Close())
		}
		return response, err
	}
	_, err := get(credentials.Client{CA: dir + "/cert.pem"})
	require.Error(t, err, "without a client certificate")
	response, err := get(credentials.Client{CA: dir + "/cert.pem", Cert: dir + "/cert.pem", Key: dir + "/key.pem"})
	require.NoError(t, err)
	require.Equal(t, serial, response.TLS.PeerCertificates[0].SerialNumber)
	require.Equal(t, 2, response.ProtoMajor)
}

func TestTLSOptionsGoTogether(t *testing.T) {
	for _, w := range []Web{{Cert: "c"}, {Key: "k"}, {ClientCA: "ca"}, {Cert: "missing", Key: "missing"}} {
		_, _, err := w.tls()
		require.Equal(t, exit.Usage, exit.Of(err), "%+v", w)
	}
}

// A bound below zero is refused.
func TestNegativeConnectionsAreRefused(t *testing.T) {
	w := Web{Listen: []string{"127.0.0.1:0"}, MaxConnections: -1}
	err := w.Serve(t.Context(), &http.Server{})
	require.Equal(t, exit.Usage, exit.Of(err))
	require.ErrorContains(t, err, "give a positive number")
}

// The message to an ordinary user who asked for port 80 was to stop what listens there.
func TestAPortThatIsDeniedNamesTheRemedy(t *testing.T) {
	denied := &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", syscall.EACCES)}
	require.Contains(t, listenRemedy("127.0.0.1:80", denied), "CAP_NET_BIND_SERVICE")
	require.Contains(t, listenRemedy("127.0.0.1:80", denied), "a port above 1023")
	require.Contains(t, listenRemedy("unix:/root/s", denied), "a directory that this user may write to")
	_, err := (&Web{Listen: []string{"192.0.2.1:0"}}).listeners(t.Context())
	require.ErrorContains(t, err, "give an address that this machine has")
}

// serve reports to systemd where it listens, and that it does.
func TestListeningIsNotified(t *testing.T) {
	reported := make(chan string, 2)
	address := serving(t, Web{
		Listen: []string{"127.0.0.1:0"}, Notify: func(text string) { reported <- text }, Ready: func() { reported <- "ready" },
	}, http.HandlerFunc(hello))
	require.Equal(t, "listening on "+address, <-reported)
	require.Equal(t, "ready", <-reported)
}

// Sockets that systemd passes take the place of --listen.
func TestSocketsFromSystemd(t *testing.T) {
	if os.Getenv("LISTEN_FDS") != "" { // this is the child
		address := serving(t, Web{Listen: []string{"127.0.0.1:1"}}, http.HandlerFunc(hello))
		require.NotContains(t, address, "127.0.0.1:1/")
		_, err := io.Copy(io.Discard, os.Stdin) // until the parent has asked
		require.NoError(t, err)
		return
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	file, err := l.(*net.TCPListener).File()
	require.NoError(t, err)
	defer file.Close()
	require.NoError(t, l.Close())
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command("sh", "-c", `LISTEN_FDS=1 LISTEN_PID=$$ exec "$0" -test.run '^TestSocketsFromSystemd$' -test.v`, self)
	cmd.ExtraFiles = []*os.File{file} // descriptor 3
	stop, err := cmd.StdinPipe()
	require.NoError(t, err)
	var out lockedText
	cmd.Stdout, cmd.Stderr = &out, &out
	require.NoError(t, cmd.Start())
	response, err := http.Get("http://" + l.Addr().String())
	require.NoError(t, err)
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, "hello", string(body))
	require.NoError(t, stop.Close())
	require.NoError(t, cmd.Wait())
	require.Equal(t, "PASS", out.find(`--- (PASS): TestSocketsFromSystemd`))
}

// serve uses a certificate that was renewed, but not one that is half written, nor one
// without its key.
func TestCertificateIsReadAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		first := credentialstest.Certificate(t, dir)
		w := Web{Cert: dir + "/cert.pem", Key: dir + "/key.pem", Log: slog.New(slog.DiscardHandler), Keep: func(credentials.Rereader) {}}
		config, _, err := w.tls()
		require.NoError(t, err)
		requireSerial := func(want any) {
			<-time.After(credentials.LookEvery)
			cert, err := config.GetCertificate(&tls.ClientHelloInfo{})
			require.NoError(t, err)
			require.Equal(t, want, cert.Leaf.SerialNumber)
		}
		requireSerial(first)
		key, err := os.ReadFile(dir + "/key.pem")
		require.NoError(t, err)
		second := credentialstest.Certificate(t, dir)
		later, err := os.ReadFile(dir + "/key.pem")
		require.NoError(t, err)
		credentialstest.Rewrite(t, dir+"/key.pem", string(key), time.Now())
		requireSerial(first)
		credentialstest.Rewrite(t, dir+"/key.pem", string(later), time.Now())
		requireSerial(second)
		credentialstest.Rewrite(t, dir+"/cert.pem", "half", time.Now())
		requireSerial(second)
	})
}

// CAs that were taken out of --client-ca let their clients in until serve was started
// again, and connected clients stayed for ever.
func TestClientCAsAreReadAnew(t *testing.T) {
	server, old, next := t.TempDir(), t.TempDir(), t.TempDir()
	for _, dir := range []string{server, old, next} {
		credentialstest.Certificate(t, dir)
	}
	text, err := os.ReadFile(old + "/cert.pem")
	require.NoError(t, err)
	ca := t.TempDir() + "/ca.pem"
	require.NoError(t, os.WriteFile(ca, text, 0o600))
	address := serving(t, Web{
		Listen: []string{"127.0.0.1:0"}, Cert: server + "/cert.pem", Key: server + "/key.pem", ClientCA: ca,
	}, http.HandlerFunc(hello))
	client := func(dir string) func() error {
		c := credentials.Client{CA: server + "/cert.pem", Cert: dir + "/cert.pem", Key: dir + "/key.pem"}
		config, _, err := c.Load(slog.New(slog.DiscardHandler), "")
		require.NoError(t, err)
		config.ClientSessionCache = tls.NewLRUClientSessionCache(8)
		transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
		t.Cleanup(transport.CloseIdleConnections)
		return func() error {
			response, err := (&http.Client{Transport: transport}).Get(address)
			if err == nil {
				_, _ = io.Copy(io.Discard, response.Body)
				err = response.Body.Close()
			}
			return err
		}
	}
	was, is := client(old), client(next)
	require.NoError(t, was())
	require.Error(t, is())
	text, err = os.ReadFile(next + "/cert.pem")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(ca, text, 0o600))
	require.Eventually(t, func() bool { return is() == nil }, 20*time.Second, 10*time.Millisecond)
	require.Eventually(t, func() bool { return was() != nil }, 20*time.Second, 10*time.Millisecond)
	require.NoError(t, os.WriteFile(ca, []byte("half"), 0o600))
	// The connection of before may just be closed.
	require.Eventually(t, func() bool { return is() == nil }, 20*time.Second, 10*time.Millisecond)
}
