package wire

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// exchange is one request and its answer.
type exchange struct {
	req    *http.Request
	body   []byte
	answer *answer // what the server says
	proxy  *proxy
}

// What is asked for.
const (
	isListing = "listing"
	isFile    = "file"
	isHead    = "head"
	isTar     = "tar"
	isSums    = "sums"
	isNews    = "news" // since or wait
)

// kind says what is asked for.
func (ex *exchange) kind() string { return kindOf(ex.req.Method, ex.uri()) }

// uri is what is asked for, without the part that keeps caches from answering: some drop queries.
func (ex *exchange) uri() string {
	uri, _, _ := strings.Cut(ex.req.URL.RequestURI(), "&fresh=")
	return uri
}

func kindOf(method, uri string) string {
	path, query, _ := strings.Cut(uri, "?")
	switch {
	case method == http.MethodHead:
		return isHead
	case strings.HasPrefix(query, "tar"):
		return isTar
	case strings.HasPrefix(query, "sums"):
		return isSums
	case strings.Contains(query, "wait=") || strings.Contains(query, "since="):
		return isNews
	case strings.HasSuffix(path, "/"):
		return isListing
	}
	return isFile
}

// proxy stands between mirror and a server. It passes all answers on, or replaces some.
type proxy struct {
	listener net.Listener
	server   string // scheme://host:port/prefix, without a slash at its end
	client   *http.Client
	ctx      context.Context
	stop     context.CancelFunc
	conns    sync.WaitGroup
	place    *place

	mu       sync.Mutex
	open     map[net.Conn]bool         // false: it was cut, and what comes from it is from before
	asked    []string                  // since the last call of requests
	n        int                       // answers since the fault was set
	replaced int                       // of these, by the fault
	fault    *fault                    // nil: none
	at       int                       // the answer that it replaces, from 1
	on       bool                      // and all after it
	began    time.Time                 // when it replaced the first one; zero: it did not
	random   func(ex *exchange) *fault // chooses the fault of each answer; nil: not used
	last     *answer                   // the answer before this one, as the server gave it
}

// newProxy starts a proxy before a server. With a certificate it speaks TLS.
func newProxy(server string, cert *tls.Certificate) (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{listener: l, server: strings.TrimSuffix(server, "/"), open: map[net.Conn]bool{}}
	if cert != nil {
		p.listener = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{*cert}})
	}
	p.ctx, p.stop = context.WithCancel(context.Background())
	p.client = &http.Client{
		Transport:     &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 16},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	p.conns.Go(p.accept)
	return p, nil
}

// url is the address of the proxy, as mirror is given it.
func (p *proxy) url() string {
	scheme := "http"
	if _, plain := p.listener.(*net.TCPListener); !plain {
		scheme = "https"
	}
	return scheme + "://" + p.listener.Addr().String() + "/"
}

// close ends the proxy and all connections.
func (p *proxy) close() {
	p.stop()
	_ = p.listener.Close()
	p.cut()
	p.conns.Wait()
	p.client.CloseIdleConnections()
}

// cut closes all connections. What was sent over them and not read yet counts as never asked.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.open {
		p.open[c] = false
		_ = c.Close()
	}
}

func (p *proxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		p.open[conn] = true
		p.mu.Unlock()
		p.conns.Go(func() {
			p.serve(conn)
			_ = conn.Close()
			p.mu.Lock()
			delete(p.open, conn)
			p.mu.Unlock()
		})
	}
}

// serve answers the requests of one connection.
func (p *proxy) serve(conn net.Conn) {
	in := bufio.NewReader(conn)
	for p.ctx.Err() == nil {
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		ex := &exchange{req: req, body: body, proxy: p}
		r, err := p.reply(conn, ex)
		if err != nil || !r.send(conn, p.ctx.Done()) {
			return
		}
	}
}

// reply returns what goes out in answer to a request.
func (p *proxy) reply(from net.Conn, ex *exchange) (reply, error) {
	p.mu.Lock()
	if !p.open[from] {
		p.mu.Unlock()
		return reply{}, net.ErrClosed
	}
	p.asked = append(p.asked, ex.req.Method+" "+ex.uri())
	p.n++
	fault := p.fault
	if fault != nil && (p.n < p.at || p.n > p.at && !p.on || !fault.fits(ex)) {
		fault = nil
	}
	if fault != nil && fault.lasts > 0 {
		if p.began.IsZero() {
			p.began = time.Now()
		} else if time.Since(p.began) > fault.lasts {
			fault = nil
		}
	}
	if p.random != nil {
		fault = p.random(ex)
	}
	if fault != nil {
		p.replaced++
	}
	p.mu.Unlock()
	if fault != nil && fault.prep != nil {
		if err := fault.prep(ex); err != nil {
			return reply{}, err
		}
	}
	if err := p.ask(ex); err != nil {
		return reply{}, err
	}
	r := ex.as(ex.answer)
	if fault != nil && fault.make != nil {
		r = fault.make(ex)
	}
	p.mu.Lock()
	if ex.answer.hasBody(ex.req.Method) {
		p.last = ex.answer
	}
	p.mu.Unlock()
	return r, nil
}

// ask asks the server.
func (p *proxy) ask(ex *exchange) (err error) {
	ex.answer, err = p.get(ex.req.Method, ex.req.URL.RequestURI(), ex.req.Header, ex.body)
	return err
}

// get sends a request to the server. An answer that the server cuts off is no error.
func (p *proxy) get(method, uri string, header http.Header, body []byte) (*answer, error) {
	return p.getFrom(p.server, method, uri, header, body)
}

func (p *proxy) getFrom(server, method, uri string, header http.Header, body []byte) (*answer, error) {
	req, err := http.NewRequestWithContext(p.ctx, method, server+uri, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for key, values := range header {
		req.Header[key] = values
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	a := &answer{status: resp.StatusCode, header: resp.Header, chunked: resp.ContentLength < 0}
	a.body, err = io.ReadAll(resp.Body)
	a.broken = err != nil
	for _, framing := range []string{"Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive"} {
		a.header.Del(framing)
	}
	if method == http.MethodHead && resp.ContentLength >= 0 {
		a.body = make([]byte, resp.ContentLength) // only its length goes out
	}
	if p.ctx.Err() != nil {
		return nil, errors.New("the proxy has ended")
	}
	return a, nil
}

// arm replaces the n-th answer from now on, and with on all after it too. A nil fault
// ends it. It returns how many answers there were, and how many were replaced, since it
// was called last.
func (p *proxy) arm(f *fault, n int, on bool) (answers, replaced int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	answers, replaced = p.n, p.replaced
	p.began = time.Time{}
	if p.fault, p.at, p.on, p.n = f, n, on, 0; f != nil {
		p.replaced = 0
	}
	return answers, replaced
}

// choose has f choose the fault of each answer, until it is called with nil.
func (p *proxy) choose(f func(ex *exchange) *fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.random = f
}

// requests returns what was asked since the last call.
func (p *proxy) requests() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	asked := p.asked
	p.asked = nil
	return asked
}
