package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"
)

// What the source does while an answer is under way.

// changes are faults in which a file changes while it is sent.
var changes = []fault{
	{name: "rewritten-while-sent", here: "large " + largeFile, ours: true, moves: true, when: isLarge, make: whileSent(rewrite)},
	{name: "rewritten-under-its-time", here: "large " + largeFile, ours: true, moves: true, when: isLarge, make: whileSent(rewriteUnderItsTime)},
}

// largeFile is the file that the session "large" fetches. No socket's buffers hold it, so
// the server waits for the proxy in the middle of it.
const largeFile = "/large"

// isLarge fits requests for a certain version of that file. Without If-Match any bytes will do.
func isLarge(ex *exchange) bool {
	return ex.req.URL.Path == largeFile && ex.req.Header.Get("If-Match") != ""
}

// whileSent returns the reply that is the server's answer to the same request, if the source
// changes when the first bytes of it have come.
func whileSent(change func(name string) error) func(ex *exchange) reply {
	return func(ex *exchange) reply {
		p := ex.proxy
		a, err := p.getSlowly(ex, func() error {
			return errors.Join(change(p.place.source+largeFile), p.place.publish())
		})
		if err != nil {
			return ex.as(say(http.StatusBadGateway, "", err.Error()))
		}
		return ex.as(a)
	}
}

// getSlowly asks the server by a connection that holds little, and calls meanwhile when the
// first bytes of the body are there.
func (p *proxy) getSlowly(ex *exchange, meanwhile func() error) (*answer, error) {
	small := func(_, _ string, c syscall.RawConn) (err error) {
		controlErr := c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 16<<10) })
		return errors.Join(controlErr, err)
	}
	client := &http.Client{Transport: &http.Transport{
		DisableCompression: true, DisableKeepAlives: true, ReadBufferSize: 4 << 10,
		DialContext: (&net.Dialer{Control: small}).DialContext,
	}}
	ctx, cancel := context.WithTimeout(p.ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, ex.req.Method, p.server+ex.req.URL.RequestURI(), nil)
	if err != nil {
		return nil, err
	}
	req.Header = ex.req.Header.Clone()
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	a := &answer{status: resp.StatusCode, header: resp.Header.Clone()}
	first := make([]byte, 1000)
	n, err := io.ReadFull(resp.Body, first)
	if err == nil {
		err = meanwhile()
	}
	if err != nil {
		return nil, fmt.Errorf("after %d bytes: %w", n, err)
	}
	rest, err := io.ReadAll(resp.Body)
	a.body, a.broken = append(first, rest...), err != nil
	a.header.Del("Content-Length")
	a.header.Del("Connection")
	a.length = int(resp.ContentLength)
	return a, nil
}

// rewrite writes other bytes into the first and the last part of a file, in place. So who has
// the old first part and the new last part has bytes that never were a file.
func rewrite(name string) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	for _, at := range []int64{10, info.Size() - 200<<10} {
		if err == nil {
			_, err = fmt.Fprintf(io.NewOffsetWriter(f, at), "rewritten at %d", time.Now().UnixNano())
		}
	}
	return errors.Join(err, f.Close())
}

// rewriteUnderItsTime does so and puts back the time that the file had.
func rewriteUnderItsTime(name string) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	return errors.Join(rewrite(name), os.Chtimes(name, time.Time{}, info.ModTime()))
}
