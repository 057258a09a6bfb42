package serve

import (
	"context"
	"net/http"
	"time"
)

// writeTimeout is how long a client may take for one piece of an answer.
const writeTimeout = time.Minute

// extend gives the client another writeTimeout from now. A deadline stays on its
// connection, so every answer begins with a call of extend.
func extend(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout)) // in-memory writers have none
}

// extendEvery is the time after which a deadline is extended while nothing is written.
const extendEvery = writeTimeout / 4

// maxPiece is how many bytes are written under one deadline: a client may read as slowly
// as 9 KiB/s. With pieces of half the size, a million bytes take a fifth longer.
const maxPiece = 512 << 10

// writeAll sends body in pieces, each with a deadline of its own. An error needs no answer:
// the client has gone, and net/http closes a connection on which less was written than
// announced.
func writeAll(w http.ResponseWriter, body []byte) {
	for first := true; len(body) > 0; first = false {
		if !first {
			extend(w)
		}
		n := min(len(body), maxPiece)
		if _, err := w.Write(body[:n]); err != nil {
			return
		}
		body = body[n:]
	}
}

// cutting returns a function that ends the writing of w at once, from another goroutine.
func cutting(w http.ResponseWriter) func() {
	return func() {
		if own, ok := w.(interface{ CutOff() }); ok {
			own.CutOff()
			return
		}
		_ = http.NewResponseController(w).SetWriteDeadline(time.Unix(1, 0)) // in-memory writers have none
	}
}

// untilCut returns r with a context that cut ends, beside the writing of w: a request that hashes
// or packs moves its write deadline on, and would go on for hours. end must follow.
func untilCut(w http.ResponseWriter, r *http.Request) (_ *http.Request, cut, end func()) {
	ctx, cancel := context.WithCancel(r.Context())
	write := cutting(w)
	return r.WithContext(ctx), func() {
		cancel() // guard: TestWhatWorksIsCutForOthers
		write()
	}, cancel
}
