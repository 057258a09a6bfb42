package remote

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/mirror/internal/source/autoindex"
	"tidemark/pkg/mtree/mirror/internal/source/prefetch"
	"tidemark/pkg/mtree/wire"
)

// Config says which server is asked, and how. URL is needed.
type Config struct {
	URL           string      // http(s)://host[:port]/dir/, or unix:/PATH[:/dir/]
	UserAgent     string      // sent with each request
	Header        http.Header // sent with each request, too; what a request needs itself takes its place
	TLS           *tls.Config // for https; nil: the system's
	Authorization string      // sent as the header of that name; "": none, or what the URL says

	// Credentials is called before each request, and returns the TLS and Authorization to use in
	// place of those above. Several goroutines call it at once. nil: those above are used.
	Credentials func() (*tls.Config, string)

	Streams    int           // requests at once, for which connections are kept
	Requests   *atomic.Int64 // counts requests; nil: not counted
	FirstPause time.Duration // before a request is repeated; 0: 100 ms
	Patience   time.Duration // from the request to the header of the answer; 0: HeaderTimeout. The other times of waiting are longer in proportion
	Vigilant   bool          // a host that vanishes while a poll waits is noticed within half a minute, by TCP
	LargeRoom  int           // bytes of memory that one large listing may take; 0: 320 MiB
}

// Source is a tree that a server publishes: serve, or a program that speaks the same
// protocol (docs/protocol.md), or a server of another kind.
type Source struct {
	*client
	prefetched prefetch.Store
	treePath   atomic.Pointer[string] // root.TreePath of the last answer; nil: none yet
	answered   string                 // root.Answered of the last answer; "": none yet
	newest     mtree.Listing          // of the root, without entries: the one that was read last
	newestTree source.Tree            // it is of this tree
	other      atomic.Bool            // the last listing of the root came from a server of another kind
	noPost     atomic.Int64           // no POST is sent before this time, in Unix seconds: a proxy refuses it
	noBlocks   atomic.Int64           // no blocks are asked for before this time, in Unix seconds: the server does not know them
	zones      autoindex.Zones
	turn       largeTurn
}

// maxListing bounds one listing in bytes, after decompression. A longer one is an
// error, never cut.
const maxListing = 512 << 20

// Open returns the source at c.URL. It sends no request. An invalid URL, or one of the proxy that leads
// there, is an error with exit.Usage.
func Open(c Config) (*Source, error) {
	at, socket := splitSocket(c.URL)
	u, err := url.Parse(at)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" {
		return nil, exit.With(exit.Usage, fmt.Errorf("bad SOURCE %q", redacted(c.URL)), "want http(s)://host[:port]/dir/ or unix:/PATH[:/dir/]")
	}
	if !strings.HasSuffix(u.Path, "/") {
		u = u.JoinPath("/")
	}
	if socket == "" && !isLoopback(u.String()) {
		if err := checkProxy(u.Scheme); err != nil {
			return nil, err
		}
	}
	return &Source{client: newClient(&c, u.String(), socket), turn: newLargeTurn(cmp.Or(c.LargeRoom, defaultLargeRoom))}, nil
}

// socketPrefix begins a SOURCE that is reached by a Unix socket.
const socketPrefix = "unix:/"

// IsURL reports whether a SOURCE is meant as the address of a server.
func IsURL(source string) bool {
	return strings.Contains(source, "://") || strings.HasPrefix(source, socketPrefix)
}

// splitSocket returns the URL behind the Unix socket that a SOURCE names, and the path of the socket;
// "" if it names none.
func splitSocket(source string) (at, socket string) {
	if !strings.HasPrefix(source, socketPrefix) {
		return source, ""
	}
	socket, dir, _ := strings.Cut(strings.TrimPrefix(source, "unix:"), ":")
	if dir != "" && dir[0] != '/' { // no URL, so it is refused
		return source, socket
	}
	return "http://localhost" + dir, socket
}

// Close ends what is under way and closes idle connections.
func (s *Source) Close() {
	s.prefetched.Clear()
	s.closeIdle()
}

// Serves reports whether the server gives out a file with this text at path. Servers of
// other kinds do not list dotfiles, but do send them.
func (s *Source) Serves(ctx context.Context, path string, text []byte) bool {
	resp, err := s.do(ctx, request{path: wire.URLPath(path), once: true})
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	theirs, err := io.ReadAll(io.LimitReader(resp.Body, int64(len(text))+1))
	return err == nil && resp.StatusCode == http.StatusOK && bytes.Equal(bytes.TrimSpace(theirs), bytes.TrimSpace(text))
}

// redacted returns a URL as it may be shown: without its password, even if it cannot
// be parsed.
func redacted(source string) string {
	u, err := url.Parse(source)
	if err != nil || u.Host == "" {
		return credentials.ReplaceAllString(source, "://***@")
	}
	return u.Redacted()
}

var credentials = regexp.MustCompile(`://.*@`)
