package serve

import (
	"net/http"
	"sync/atomic"
	"time"

	"tidemark/internal/weblog"
	"tidemark/pkg/mtree/internal/fastpath"
)

// HTTP says which implementation of HTTP/1.1 reads requests and sends answers.
type HTTP string

const (
	Fast HTTP = "fast" // simple GETs by package fastpath, all else by net/http
	Std  HTTP = "std"  // all by net/http
)

// Server returns a server for h with limits that a slow or hostile client cannot stretch:
// 10 s for the header of a request, 64 KiB of it, 120 s idle. A whole answer has no
// limit, because a file may be large and a long poll waits: each piece gets a write
// deadline of its own, see writeTimeout.
//
// A Handler is released when the server begins to shut down, and counts the requests
// that took the short way in Stats.Fast.
func Server(h http.Handler, way HTTP) fastpath.Server {
	s := httpServer(h)
	if way == Std {
		return fastpath.NewStd(s)
	}
	var fast *atomic.Int64
	if ours, ok := h.(*Handler); ok {
		fast = &ours.cfg.Stats.Fast
	}
	return fastpath.New(s, fast)
}

func httpServer(h http.Handler) *http.Server {
	s := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       120 * time.Second,
		MaxHeaderBytes:    64 << 10,

		DisableGeneralOptionsHandler: true, // OPTIONS * is answered 405 like any other method
	}
	if ours, ok := h.(*Handler); ok {
		s.RegisterOnShutdown(ours.Release)
		s.ErrorLog = weblog.New(ours.cfg.Log)
	}
	return s
}
