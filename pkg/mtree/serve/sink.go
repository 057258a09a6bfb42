package serve

import (
	"io"
	"net/http"
	"time"

	"github.com/klauspost/compress/gzip"

	"tidemark/pkg/mtree/serve/internal/render"
)

// sinkPiece is how many bytes of a streamed answer are gathered before they are sent; of a tar
// stream, tarPiece: each piece costs two system calls and a switch to the client.
const (
	sinkPiece = 64 << 10
	tarPiece  = 256 << 10
)

// sink sends an answer of unknown length, in the coding of its reply, each piece with a
// deadline of its own. The header goes out with the first piece.
type sink struct {
	h     *Handler
	w     http.ResponseWriter
	reply *reply
	zip   *gzip.Writer // nil: no coding
	out   io.Writer    // w or zip
	sent  bool         // something went out: from here on an error aborts
	piece int          // how many bytes are gathered; the first piece is sent at sinkPiece

	place *place // of the request in a limiter; nil: none
}

// newSink returns a sink for the answer a. If a has a coding, release must follow.
func (h *Handler) newSink(w http.ResponseWriter, a *reply) *sink {
	s := &sink{h: h, w: w, reply: a, out: w, piece: sinkPiece}
	if a.coding == render.Gzip {
		s.zip = render.NewGzip(w)
		s.out = s.zip
	}
	return s
}

// write sends body if it is long enough, and returns what is left to be sent.
func (s *sink) write(body []byte) (rest []byte, err error) {
	if len(body) < sinkPiece || s.sent && len(body) < s.piece {
		return body, nil
	}
	return body[:0], s.flush(body)
}

// flush sends body, and the header before it.
func (s *sink) flush(body []byte) error {
	if !s.sent {
		s.sent = true
		s.h.start(s.w, s.reply)
	}
	for len(body) > 0 {
		n := min(len(body), maxPiece)
		extend(s.w)
		if err := s.put(body[:n]); err != nil {
			return err
		}
		body = body[n:]
	}
	return nil
}

// put writes one piece. Meanwhile the request's place says that it waits for its client.
func (s *sink) put(piece []byte) error {
	if s.place != nil {
		s.place.blocked.Store(time.Now().UnixNano())
		defer s.place.blocked.Store(0)
	}
	_, err := s.out.Write(piece)
	return err
}

// end sends the last piece of the body.
func (s *sink) end(body []byte) error {
	if err := s.flush(body); err != nil || s.zip == nil {
		return err
	}
	return s.zip.Close()
}

// release gives the compressor back.
func (s *sink) release() {
	if s.zip != nil {
		render.PutGzip(s.zip)
	}
}
