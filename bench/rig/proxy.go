package rig

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// Proxy passes connections on to another address of this machine and counts the bytes,
// headers included, of both directions.
type Proxy struct {
	listener net.Listener
	to       string
	bytes    atomic.Int64

	mu   sync.Mutex
	open map[net.Conn]bool // nil when closed
}

// NewProxy listens on a free port of loopback.
func NewProxy(to string) (*Proxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{listener: listener, to: to, open: map[net.Conn]bool{}}
	go p.accept()
	return p, nil
}

// Address is where it listens.
func (p *Proxy) Address() string { return p.listener.Addr().String() }

// Bytes is how many bytes went through so far.
func (p *Proxy) Bytes() int64 { return p.bytes.Load() }

// Close ends all connections.
func (p *Proxy) Close() {
	_ = p.listener.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.open {
		_ = conn.Close()
	}
	p.open = nil
}

func (p *Proxy) accept() {
	for {
		from, err := p.listener.Accept()
		if err != nil {
			return
		}
		to, err := net.Dial("tcp", p.to)
		if err != nil {
			_ = from.Close()
			continue
		}
		if p.keep(from, to) {
			go p.pass(from, to)
			go p.pass(to, from)
		}
	}
}

// keep remembers connections for Close; false: it was closed, and they are.
func (p *Proxy) keep(both ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range both {
		if p.open == nil {
			_ = conn.Close()
		} else {
			p.open[conn] = true
		}
	}
	return p.open != nil
}

// pass copies until one side ends, and ends both.
func (p *Proxy) pass(from, to net.Conn) {
	_, _ = io.Copy(counter{to, &p.bytes}, from)
	_, _ = from.Close(), to.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, from)
}

// counter is a Writer that counts.
type counter struct {
	io.Writer
	bytes *atomic.Int64
}

func (c counter) Write(b []byte) (int, error) {
	n, err := c.Writer.Write(b)
	c.bytes.Add(int64(n))
	return n, err
}

// FreeAddress returns an address of loopback at which nobody listens now.
func FreeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

// FreePort returns a port of loopback at which nobody listens now.
func FreePort() (string, error) {
	address, err := FreeAddress()
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(address)
	return port, err
}
