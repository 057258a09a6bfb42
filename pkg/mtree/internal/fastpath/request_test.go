package fastpath

import (
	"bufio"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// read does what conn.next does with bytes that came at once.
func read(in string) (*http.Request, verdict, int) {
	v, end := examine([]byte(in))
	if v != accepted {
		return nil, v, 0
	}
	r := new(http.Request)
	if !parse(r, in[:end]) {
		return nil, handedOver, 0
	}
	return r, accepted, end
}

// like fails unless net/http reads an accepted request as we do.
func like(t *testing.T, in string) {
	r, v, end := read(in)
	if v != accepted {
		return
	}
	want, err := http.ReadRequest(bufio.NewReader(strings.NewReader(in)))
	require.NoError(t, err, "%q", in)
	require.Equal(t, want.URL, r.URL, "%q", in)
	require.Equal(t, want.Header, r.Header, "%q", in)
	require.Equal(t, []any{want.Method, want.RequestURI, want.Host, want.Proto, want.ProtoMajor, want.ProtoMinor, want.ContentLength, want.Close, want.Body},
		[]any{r.Method, r.RequestURI, r.Host, r.Proto, r.ProtoMajor, r.ProtoMinor, r.ContentLength, r.Close, r.Body}, "%q", in)
	require.Empty(t, r.TransferEncoding)
	require.Equal(t, "\r\n\r\n", in[end-4:end])
	require.NotContains(t, in[:end-4], "\r\n\r\n")
}

const host = "Host: x\r\n"

// acceptedOnes are requests that clients send.
var acceptedOnes = []string{
	"GET / HTTP/1.1\r\n" + host + "\r\n",
	"GET /a%20b/?txt&wait=30 HTTP/1.1\r\nHost: 127.0.0.1:8077\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\r\n",
	"GET //a//b/../c HTTP/1.1\r\n" + host + "\r\n",
	"GET /? HTTP/1.1\r\n" + host + "\r\n",
	"GET /#x HTTP/1.1\r\n" + host + "\r\n",
	"GET /a HTTP/1.1\r\nhost:\tx \t\r\nACCEPT-ENCODING:gzip\r\nX-y_Z:  a  b \r\nEmpty:\r\n\r\n",
	"GET /a HTTP/1.1\r\n" + host + "Accept: a\r\nAccept: b\r\nConnection: Keep-Alive\r\nif-none-match: \"1\"\r\n\r\nGET /b HTTP/1.1\r\n\r\n",
	"GET /a HTTP/1.1\r\n" + host + "X: \xff\xfe\r\n\r\n",
	"GET /a HTTP/1.1\r\n" + host + "X: a\tb\r\nKeep-Alive: 300\r\n\r\n",
	"GET /a HTTP/1.1\r\nHost: [::1]:80\r\nA: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\nE: 5\r\nF: 6\r\nG: 7\r\nH: 8\r\nI: 9\r\nJ: 10\r\n\r\n",
}

// handedOverOnes are for net/http to read, to answer, or to refuse.
var handedOverOnes = []string{
	"HEAD / HTTP/1.1\r\n" + host + "\r\n",
	"POST / HTTP/1.1\r\n" + host + "Content-Length: 1\r\n\r\nx",
	"get / HTTP/1.1\r\n" + host + "\r\n",
	"GETX / HTTP/1.1\r\n" + host + "\r\n",
	" GET / HTTP/1.1\r\n" + host + "\r\n",
	"\r\nGET / HTTP/1.1\r\n" + host + "\r\n",
	"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
	"GET / HTTP/1.0\r\n" + host + "\r\n",
	"GET / HTTP/1.1 \r\n" + host + "\r\n",
	"GET / HTTP/1.1\n" + host + "\r\n",
	"GET / HTTP/1.1\r\nHost: x\n\n",
	"GET / HTTP/1.1\r\nHost: x\r\n\n",
	"GET /\r\n" + host + "\r\n",
	"GET  / HTTP/1.1\r\n" + host + "\r\n",
	"GET /a b HTTP/1.1\r\n" + host + "\r\n",
	"GET /a\tb HTTP/1.1\r\n" + host + "\r\n",
	"GET /a\x00 HTTP/1.1\r\n" + host + "\r\n",
	"GET /\xc3\xa4 HTTP/1.1\r\n" + host + "\r\n",
	"GET /%zz HTTP/1.1\r\n" + host + "\r\n",
	"GET a HTTP/1.1\r\n" + host + "\r\n",
	"GET * HTTP/1.1\r\n" + host + "\r\n",
	"GET http://y/ HTTP/1.1\r\n" + host + "\r\n",
	"GET / HTTP/1.1\r\n\r\n",
	"GET / HTTP/1.1\r\nHost:\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
	"GET / HTTP/1.1\r\n" + host + "Host: y\r\n\r\n",
	"GET / HTTP/1.1\r\n" + host + "Content-Length: 0\r\n\r\n",
	"GET / HTTP/1.1\r\n" + host + "content-length: 5\r\n\r\nhello",
	"GET / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"GET / HTTP/1.1\r\n" + host + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
	"GET / HTTP/1.1\r\n" + host + "Connection: close\r\n\r\n",
	"GET / HTTP/1.1\r\n" + host + "Connection: keep-alive, upgrade\r\n\r\n",
	"GET / HTTP/1.1\r\n" + host + "Connection: keep-alive\r\nConnection: close\r\n\r\n",
	"GET / HTTP/1.1\r\n" + host + "Upgrade: h2c\r\n\r\n",
	"GET / HTTP/1.1\r\n" + host + "Expect: 100-continue\r\n\r\n",
	"GET / HTTP/1.1\r\n" + host + "TE: trailers\r\n\r\n",
	"GET / HTTP/1.1\r\n" + host + "Trailer: x\r\n\r\n",
	"GET / HTTP/1.1\r\n" + host + "Pragma: no-cache\r\n\r\n",
	"GET / HTTP/1.1\r\n" + host + "X: a\r\n b\r\n\r\n",
	"GET / HTTP/1.1\r\n" + host + "X\r\n\r\n",
	"GET / HTTP/1.1\r\n" + host + ": x\r\n\r\n",
	"GET / HTTP/1.1\r\n" + host + "X y: z\r\n\r\n",
	"GET / HTTP/1.1\r\n" + host + "X\xff: z\r\n\r\n",
	"GET / HTTP/1.1\r\n" + host + "X: a\x00b\r\n\r\n",
	"GET / HTTP/1.1\r\n" + host + "X: a\rb\r\n\r\n",
	"GET / HTTP/1.1\r\n" + host + "X: a\x7f\r\n\r\n",
	"GET / HTTP/1.1\r\n" + host + "X: " + strings.Repeat("y", maxHeader) + "\r\n\r\n",
}

// An accepted request is read as net/http reads it, also from single bytes.
func TestAccepted(t *testing.T) {
	for _, in := range acceptedOnes {
		_, v, end := read(in)
		require.Equal(t, accepted, v, "%q", in)
		like(t, in)
		for i := range end {
			_, v, _ := read(in[:i])
			require.Equal(t, incomplete, v, "%q", in[:i])
		}
	}
	longest := "GET /" + strings.Repeat("a", maxHeader-len("GET / HTTP/1.1\r\n"+host+"\r\n")) + " HTTP/1.1\r\n" + host + "\r\n"
	require.Len(t, longest, maxHeader)
	_, v, _ := read(longest)
	require.Equal(t, accepted, v)
	_, v, _ = read("GET /a" + longest[5:])
	require.Equal(t, handedOver, v)
}

// Everything else is handed over, at the latest when its header is whole.
func TestHandedOver(t *testing.T) {
	for _, in := range handedOverOnes {
		_, v, _ := read(in)
		require.Equal(t, handedOver, v, "%q", in)
		for i := range in {
			_, v, _ := read(in[:i])
			require.NotEqual(t, accepted, v, "%q", in[:i])
		}
	}
}

func FuzzRequest(f *testing.F) {
	for _, in := range append(acceptedOnes, handedOverOnes...) {
		f.Add(in)
	}
	f.Fuzz(like)
}
