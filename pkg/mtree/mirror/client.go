package mirror

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"tidemark/pkg/mtree/mirror/internal/source/remote"
	"tidemark/pkg/mtree/mirror/internal/source"
)

// Patience with a source.
const (
	connectTimeout = 10 * time.Second
	remote.HeaderTimeout  = 30 * time.Second // from the request to the answer's header, waiting aside
	stallTimeout   = 60 * time.Second // for the next stallBytes of an answer, or its end
	stallBytes     = 16 << 10         // so the slowest that is put up with is 273 bytes a second
	sumsTimeout    = 15 * time.Minute // for the next byte, while the source reads a large file

	requestTries  = 4 // of a request that failed for a reason that may pass
	defaultPause  = 100 * time.Millisecond
	longestPause  = 5 * time.Second
	maxHeaderSize = 64 << 10 // bytes
)

// client asks one origin, and no other: it follows no redirect and uses no
// proxy that was not configured by its URL.
type client struct {
	base      string // scheme://host/path/, ends in a slash
	agent     string
	near      bool // the origin is this machine
	requests  *atomic.Int64
	firstWait time.Duration // before the first retry
	jobs      int

	credentials func() (*tls.Config, string)

	mu    sync.Mutex // guards what follows: which credentials were asked with last
	tls   *tls.Config
	token string
	http  *http.Client // made for tls
}

func newClient(c *Config, base string) *client {
	n := &client{
		base: base, near: isLoopback(base), agent: c.UserAgent, requests: &c.Stats.Requests, firstWait: c.firstPause, jobs: c.Jobs,
		credentials: c.Credentials, tls: c.TLS, token: c.Token,
	}
	if n.credentials == nil {
		n.credentials = func() (*tls.Config, string) { return c.TLS, c.Token }
	}
	n.http = n.transport()
	return n
}

// present returns what the next request is sent by, and the token to send. After
// another TLS configuration no connection of before is used again.
func (c *client) present() (*http.Client, string) {
	tls, token := c.credentials()
	c.mu.Lock()
	defer c.mu.Unlock()
	if tls != c.tls {
		c.http.CloseIdleConnections()
		c.tls = tls
		c.http = c.transport()
	}
	c.token = token
	return c.http, c.token
}

// renewed reports whether the next request is sent with other credentials than the
// last.
func (c *client) renewed() bool {
	tls, token := c.credentials()
	c.mu.Lock()
	defer c.mu.Unlock()
	return tls != c.tls || token != c.token
}

func (c *client) closeIdle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.http.CloseIdleConnections()
}

func (c *client) transport() *http.Client {
	t := &http.Transport{
		DialContext:            (&net.Dialer{Timeout: connectTimeout, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:        c.tls,
		TLSHandshakeTimeout:    connectTimeout,
		MaxIdleConnsPerHost:    c.jobs + 2,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: maxHeaderSize,
		ForceAttemptHTTP2:      true,
		WriteBufferSize:        32 << 10,
		ReadBufferSize:         64 << 10,
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

// request is what to ask. Its zero value is a GET.
type request struct {
	path    string // below the base, a directory with a slash at its end
	query   string // without "?"
	method  string
	header  map[string]string
	body    string
	plain   bool          // no content coding
	wait    time.Duration // how long the source was asked to wait
	patient bool          // the source may have to read large files first
	once    bool          // do not try again
}

// statusError is an answer of another status than was hoped for.
type statusError struct {
	status int
	after  time.Duration // Retry-After, 0 if there is none
	what   string

	server   string // ours, if the answer says so
	location string // of a redirection
	secure   bool   // it says that HTTPS is spoken there
}

func (e *statusError) Error() string { return e.what }

func (e *statusError) Is(target error) bool {
	switch e.status {
	case http.StatusForbidden:
		return target == source.ErrDenied && e.server == ours // a proxy's says nothing of the tree
	case http.StatusNotFound, http.StatusGone:
		return target == source.ErrGone
	case http.StatusPreconditionFailed:
		return target == source.ErrMoved
	}
	return false
}

// do sends a request and returns the answer if its status is 200, or one that
// the request asked for: 206 by Range, 304 by a validator. Closing its body ends
// the request. What may pass is tried again with pauses that grow.
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
	pauses.InitialInterval, pauses.MaxInterval = c.firstWait, longestPause
	return backoff.Retry(ctx, func() (*http.Response, error) { return c.send(ctx, r) },
		backoff.WithBackOff(pauses), backoff.WithMaxTries(requestTries))
}

// send sends a request once. Errors that will not pass are backoff's permanent
// ones.
func (c *client) send(ctx context.Context, r request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(ctx)
	sender, token := c.present()
	req, err := c.build(ctx, r, token)
	if err != nil {
		cancel()
		return nil, backoff.Permanent(err)
	}
	timeout := remote.HeaderTimeout + r.wait
	guard := &stallGuard{stall: stallTimeout, most: stallBytes, cancel: cancel}
	if r.patient {
		timeout, guard.stall, guard.most = sumsTimeout, sumsTimeout, 1
	}
	guard.timer = time.AfterFunc(timeout, cancel)
	c.requests.Add(1)
	resp, err := sender.Do(req)
	if err != nil {
		if !guard.timer.Stop() && ctx.Err() != nil {
			err = fmt.Errorf("%s %s: no answer within %s", req.Method, req.URL.Redacted(), timeout)
		}
		cancel()
		return nil, err
	}
	guard.timer.Stop()
	guard.ReadCloser = resp.Body
	resp.Body = guard
	if r.hopedFor(resp.StatusCode) {
		return resp, nil
	}
	refused := refusal(resp)
	_ = resp.Body.Close()
	return nil, refused
}

// hopedFor reports whether an answer of this status is one to the request. A 206
// or 304 that nobody asked for comes from a proxy, and is no file and no listing.
func (r *request) hopedFor(status int) bool {
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

func (c *client) build(ctx context.Context, r request, token string) (*http.Request, error) {
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
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if r.plain {
		req.Header.Set("Accept-Encoding", "identity")
	}
	for key, value := range r.header {
		req.Header.Set(key, value)
	}
	return req, nil
}

// refusal is the error for a status; of those that may pass no permanent one.
func refusal(resp *http.Response) error {
	e := &statusError{
		status: resp.StatusCode,
		what:   fmt.Sprintf("%s %s: %s", resp.Request.Method, resp.Request.URL.Redacted(), resp.Status),
	}
	if isOurs(resp) {
		e.server = ours
	} else if e.status == http.StatusBadRequest {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
		e.secure = speaksTLS.Match(text)
	}
	if to := resp.Header.Get("Location"); to != "" {
		e.location = to
		e.what += fmt.Sprintf(" to %.200q: redirects are not followed, give that URL as SOURCE if it is right", to)
	}
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 && seconds <= 30 {
		e.after = time.Duration(seconds) * time.Second
	}
	switch {
	case resp.StatusCode < 500 && resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusRequestTimeout,
		resp.StatusCode == http.StatusNotImplemented:
		return backoff.Permanent(e)
	case e.after > 0:
		return errors.Join(e, &backoff.RetryAfterError{Duration: e.after})
	}
	return e
}

// stallGuard ends a request whose answer stops flowing, or only drips. Only the
// time that is spent waiting for it counts, not what the reader takes for itself:
// with --bwlimit that may be minutes.
type stallGuard struct {
	io.ReadCloser
	timer  *time.Timer
	stall  time.Duration
	most   int           // bytes that buy the answer another stall
	got    int           // since the last of these
	spent  time.Duration // waiting, since then
	cancel context.CancelFunc
}

func (g *stallGuard) Read(buf []byte) (int, error) {
	began := time.Now()
	g.timer.Reset(g.stall - g.spent)
	n, err := g.ReadCloser.Read(buf)
	g.timer.Stop()
	g.spent += time.Since(began)
	if g.got += n; g.got >= g.most {
		g.got, g.spent = 0, 0
	}
	return n, err
}

// Close reads what little may be left, so that the connection can be used
// again, and ends the request.
func (g *stallGuard) Close() error {
	g.timer.Reset(g.stall)
	_, _ = io.CopyN(io.Discard, g.ReadCloser, 4<<10)
	g.timer.Stop()
	err := g.ReadCloser.Close()
	g.cancel()
	return err
}
