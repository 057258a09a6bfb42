package remote

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// Patience with a server.
const (
	connectTimeout = 10 * time.Second
	HeaderTimeout  = 30 * time.Second   // from the request to the header of the answer, without Poll.Wait
	stallTimeout   = 2 * HeaderTimeout  // for the next stallBytes of an answer, or its end
	stallBytes     = 16 << 10           // so an answer may be as slow as 273 bytes a second
	sumsTimeout    = 30 * HeaderTimeout // for the next byte, while the server reads a large file

	requestTries  = 4                      // of a request that failed for a reason that may pass
	defaultPause  = 100 * time.Millisecond // before the second try
	longestPause  = 5 * time.Second        // before any
	maxHeaderSize = 64 << 10               // bytes
)

// client sends requests to one origin, and to no other: it follows no redirect. Proxies are those of
// http_proxy, https_proxy and no_proxy, and none for this machine.
type client struct {
	base       string // scheme://host/path/, ends in a slash
	socket     string // Unix socket of the origin; "": that host
	agent      string
	header     http.Header // sent with each request; may be nil
	near       bool        // the origin is this machine
	requests   *atomic.Int64
	firstPause time.Duration // before a request is repeated
	patience   time.Duration // HeaderTimeout, or what takes its place
	streams    int
	vigilant   bool // Config.Vigilant

	rootOptions atomic.Pointer[string] // with which serve listed the root last; nil: not yet

	credentials func() (*tls.Config, string)

	mu            sync.Mutex // guards the credentials of the last request, which follow
	tls           *tls.Config
	authorization string
	http          *http.Client // made for tls
}

func newClient(c *Config, base, socket string) *client {
	n := &client{
		base: base, socket: socket, near: isLoopback(base), agent: c.UserAgent, header: c.Header,
		requests: c.Requests, firstPause: cmp.Or(c.FirstPause, defaultPause),
		patience: cmp.Or(c.Patience, HeaderTimeout), streams: c.Streams, vigilant: c.Vigilant,
		credentials: c.Credentials, tls: c.TLS, authorization: c.Authorization,
	}
	if n.credentials == nil {
		n.credentials = func() (*tls.Config, string) { return c.TLS, c.Authorization }
	}
	if n.requests == nil {
		n.requests = new(atomic.Int64)
	}
	n.http = n.transport()
	return n
}

// present returns the client that sends the next request, and its Authorization. If the TLS
// configuration has changed, no earlier connection is used again.
func (c *client) present() (*http.Client, string) {
	tls, authorization := c.credentials()
	c.mu.Lock()
	defer c.mu.Unlock()
	if tls != c.tls {
		c.http.CloseIdleConnections()
		c.tls = tls
		c.http = c.transport()
	}
	c.authorization = authorization
	return c.http, authorization
}

// Renewed reports whether the next request would have other credentials than the last
// one.
func (c *client) Renewed() bool {
	tls, authorization := c.credentials()
	c.mu.Lock()
	defer c.mu.Unlock()
	return tls != c.tls || authorization != c.authorization
}

// closeIdle closes the connections that carry no request.
func (c *client) closeIdle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.http.CloseIdleConnections()
}

// transport returns an HTTP client for the present TLS configuration. It needs c.mu.
func (c *client) transport() *http.Client {
	dialer := &net.Dialer{Timeout: connectTimeout, KeepAlive: 30 * time.Second}
	if c.vigilant {
		dialer.KeepAliveConfig = net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3} // guard: TestAVanishedHostIsNoticed
	}
	t := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dialer.DialContext,
		TLSClientConfig:        c.tls,
		TLSHandshakeTimeout:    connectTimeout,
		MaxIdleConnsPerHost:    c.streams + 2,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: maxHeaderSize,
		ForceAttemptHTTP2:      true,
		WriteBufferSize:        32 << 10,
		ReadBufferSize:         64 << 10,
	}
	if c.socket != "" {
		t.Proxy = nil
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", c.socket)
		}
	}
	return &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// isLoopback reports whether the host of a URL is this machine.
func isLoopback(base string) bool {
	u, err := url.Parse(base)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return err == nil && ip.IsLoopback() || u.Hostname() == "localhost"
}

// request is one request. The zero value is a GET of the root.
type request struct {
	path    string // below the base, a directory with a slash at its end
	query   string // without "?"
	method  string
	header  map[string]string
	body    string
	plain   bool          // no content coding
	wait    time.Duration // how long the server was asked to wait
	patient bool          // the server may have to read large files first
	once    bool          // it is not repeated
}

// do sends a request and returns the answer if its status is 200, or another one that
// the request asked for: 206 by Range, 304 by a validator. Closing its body ends the
// request. A request that failed for a reason that may pass is repeated after pauses
// that grow.
func (c *client) do(ctx context.Context, r request) (*http.Response, error) {
	if r.once {
		resp, err := c.send(ctx, r)
		var permanent *backoff.PermanentError
		if errors.As(err, &permanent) {
			err = permanent.Unwrap()
		}
		return resp, err
	}
	pauses := backoff.NewExponentialBackOff()
	pauses.InitialInterval, pauses.MaxInterval = c.firstPause, longestPause
	return backoff.Retry(ctx, func() (*http.Response, error) { return c.send(ctx, r) },
		backoff.WithBackOff(pauses), backoff.WithMaxTries(requestTries))
}

// send sends a request once. An error that will not pass is wrapped by backoff.Permanent.
func (c *client) send(ctx context.Context, r request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(ctx)
	sender, authorization := c.present()
	req, err := c.build(ctx, r, authorization)
	if err != nil {
		cancel()
		return nil, backoff.Permanent(err)
	}
	timeout := c.patience + r.wait
	guard := &stallGuard{stall: c.inProportion(stallTimeout), most: stallBytes, cancel: cancel}
	if r.patient {
		timeout, guard.stall, guard.most = c.inProportion(sumsTimeout), c.inProportion(sumsTimeout), 1
	}
	guard.timer = time.AfterFunc(timeout, cancel)
	c.requests.Add(1)
	resp, err := sender.Do(req)
	if err != nil {
		if !guard.timer.Stop() && ctx.Err() != nil {
			err = noAnswer(fmt.Sprintf("%s %s: no answer within %s", req.Method, req.URL.Redacted(), timeout))
		}
		cancel()
		return nil, err
	}
	guard.timer.Stop()
	guard.ReadCloser = resp.Body
	resp.Body = guard
	if r.accepts(resp.StatusCode) {
		return resp, nil
	}
	guard.stall = restTimeout // nobody needs the body of a refusal
	refused := refusal(resp, c.rootOptions.Load())
	_ = resp.Body.Close()
	return nil, refused
}

// noAnswer is the error of a request that was given up. It is a net.Error: who does not
// answer is away.
type noAnswer string

func (e noAnswer) Error() string { return string(e) }

// Timeout and Temporary make it a net.Error.
func (noAnswer) Timeout() bool   { return true }
func (noAnswer) Temporary() bool { return true }

// inProportion returns a time that is t where the patience is HeaderTimeout.
func (c *client) inProportion(t time.Duration) time.Duration {
	return t / HeaderTimeout * c.patience
}

// accepts reports whether the request asked for an answer of this status. A 206 or 304
// that it did not ask for comes from a proxy, and is neither a file nor a listing.
func (r *request) accepts(status int) bool {
	switch status {
	case http.StatusOK:
		return true
	case http.StatusPartialContent:
		return r.header["Range"] != ""
	case http.StatusNotModified:
		return r.header["If-None-Match"] != "" || r.header["If-Modified-Since"] != ""
	}
	return false
}

// build makes the request that net/http sends.
func (c *client) build(ctx context.Context, r request, authorization string) (*http.Request, error) {
	method := r.method
	if method == "" {
		method = http.MethodGet
	}
	url := c.base + r.path
	if r.query != "" {
		url += "?" + r.query
	}
	var body io.Reader
	if r.body != "" {
		body = strings.NewReader(r.body)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", c.agent)
	for key, values := range c.header {
		req.Header[key] = values
	}
	req.Host = c.header.Get("Host") // "": that of the URL
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	if r.plain {
		req.Header.Set("Accept-Encoding", "identity")
	}
	for key, value := range r.header {
		req.Header.Set(key, value)
	}
	return req, nil
}
