package serve

import (
	"net/http"
	"time"

	"tidemark/internal/weblog"
	"tidemark/pkg/mtree/internal/express"
)

// Server returns a server for h with limits that a slow or hostile client
// cannot stretch: 10 s for the header of a request, 64 KiB of it, 120 s idle.
// There is no limit for a whole answer, for a file may be large and a long poll
// waits: the deadline of a write moves on with each piece, see writeTimeout.
//
// A Handler is released when the server begins to shut down.
func Server(h http.Handler) *express.Server {
	s := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       120 * time.Second,
		MaxHeaderBytes:    64 << 10,

		DisableGeneralOptionsHandler: true, // OPTIONS * is no method of ours either
	}
	if ours, ok := h.(*Handler); ok {
		s.RegisterOnShutdown(ours.Release)
		s.ErrorLog = weblog.New(ours.cfg.Log)
	}
	return &express.Server{Server: s}
}
