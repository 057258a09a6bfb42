package remote

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/mirror/internal/source"
)

// Of a local SOURCE that mirror may not enter it was asked whether serve is running there.
func TestRemedyForADirectory(t *testing.T) {
	err := fmt.Errorf("root: %w", &fs.PathError{Op: "open", Path: "/srv/a", Err: unix.EACCES})
	require.Contains(t, Remedy(err), "run mirror as another user")
	require.Contains(t, Remedy(source.ErrOtherDirectory), "none")
}

// Of a proxy that does not answer, or has no address, it was asked whether serve is running there.
func TestRemedyForAProxy(t *testing.T) {
	for _, cause := range []error{unix.ECONNREFUSED, &net.DNSError{Name: "proxy", IsNotFound: true}} {
		err := &url.Error{Op: "Get", URL: "http://host/", Err: &net.OpError{Op: "proxyconnect", Net: "tcp", Err: &net.OpError{Op: "dial", Net: "tcp", Err: cause}}}
		require.Contains(t, Remedy(err), "no_proxy")
	}
	err := &url.Error{Op: "Get", URL: "https://host/", Err: errors.New("Proxy Authentication Required")} // as net/http has it for CONNECT
	require.Contains(t, Remedy(err), "a proxy wants a login")
}

// Of a Unix socket it is said whose it should be.
func TestRemedyForASocket(t *testing.T) {
	for cause, says := range map[unix.Errno]string{unix.EACCES: "rights to the socket", unix.ENOENT: "--listen unix:PATH", unix.ECONNREFUSED: "--listen unix:PATH"} {
		err := &url.Error{Op: "Get", URL: "http://localhost/", Err: &net.OpError{Op: "dial", Net: "unix", Err: cause}}
		require.Contains(t, Remedy(err), says)
	}
}
