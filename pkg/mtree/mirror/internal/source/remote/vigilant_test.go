package remote

import (
	"net"
	"net/http"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Where another source can take its place, a poll did not end for more than a minute after its host had
// lost its power. TCP asks an idle connection whether the other end is still there.
func TestAVanishedHostIsNoticed(t *testing.T) {
	for vigilant, most := range map[bool]int{false: 30 + 9*15, true: 10 + 3*5} {
		s, err := Open(Config{URL: "http://127.0.0.1:1/", Vigilant: vigilant})
		require.NoError(t, err)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer l.Close()
		conn, err := s.http.Transport.(*http.Transport).DialContext(t.Context(), "tcp", l.Addr().String())
		require.NoError(t, err)
		defer conn.Close()
		raw, err := conn.(*net.TCPConn).SyscallConn()
		require.NoError(t, err)
		var idle, interval, count int
		require.NoError(t, raw.Control(func(fd uintptr) {
			idle, _ = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE)
			interval, _ = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL)
			count, _ = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT)
		}))
		require.Equal(t, most, idle+count*interval)
	}
}
