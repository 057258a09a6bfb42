package serve

import (
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"sync"

	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/serve/internal/negotiate"
	"tidemark/pkg/mtree/serve/internal/pages"
)

// transfer is a file on its way to one client.
type transfer struct {
	h      *Handler
	w      http.ResponseWriter
	file   *disk.Regular
	strict bool  // the client asked for exactly this version of the file, by If-Match
	sent   int64 // bytes
}

const (
	// Strict answers, and others up to this size, are sent from memory in pieces of
	// tailSize bytes. The last piece of a strict answer is sent only after the file was
	// compared once more.
	tailSize = 64 << 10
	// pieceSize is how many bytes are sent under one deadline: a client may read as slowly
	// as 17 KiB/s.
	pieceSize = 1 << 20
)

var tailBuffers = sync.Pool{New: func() any { return new([tailSize]byte) }}

// send sends one span of the file: by sendfile(2) if it is long and the client did not ask
// for one version, else from memory.
func (o *transfer) send(s negotiate.Span) error {
	if s.Length > tailSize && !o.strict {
		return o.stream(s)
	}
	return o.copied(s)
}

// copied sends a span from memory. In a strict answer the last bytes are sent only if the
// file is unchanged after they were read. Strict answers never use sendfile(2): it hands the
// pages of the file themselves to the socket, and what is written into them before the client
// has read them goes to the client, long after the file was compared.
func (o *transfer) copied(s negotiate.Span) error {
	if s.Length == 0 {
		return nil
	}
	give, err := o.keep()
	if err != nil {
		return err
	}
	defer give()
	buf := tailBuffers.Get().(*[tailSize]byte)
	defer tailBuffers.Put(buf)
	if s.Length > tailSize || o.sent > 0 {
		extend(o.w) // else the deadline would date from the beginning of the request
	}
	if o.strict {
		o.file.AwaitWrite(o.h.now())
	}
	for done := int64(0); done < s.Length; {
		part := buf[:min(s.Length-done, tailSize)]
		if done > 0 && done%pieceSize == 0 {
			extend(o.w)
		}
		if n, err := o.file.ReadAt(part, s.Start+done); n < len(part) {
			return errors.Join(errChanged, err)
		}
		done += int64(len(part))
		if o.strict && done == s.Length {
			if err := unchanged(o.file); err != nil {
				return err
			}
		}
		n, err := o.w.Write(part)
		o.sent += int64(n)
		if err != nil {
			return err
		}
	}
	return nil
}

// keep counts the buffer of one answer among those in use. Only those beyond freeTails
// take room, because nearly all are given back at once.
func (o *transfer) keep() (give func(), err error) {
	h := o.h
	done := func() { h.tails.Add(-1) }
	if h.tails.Add(1) <= h.freeTails {
		return done, nil
	}
	one, err := h.room.Take(&pages.Load{Bytes: tailSize}, cutting(o.w))
	if err != nil {
		done()
		return nil, err
	}
	return func() { one.Give(); done() }, nil
}

// freeTails is how many buffers for files may be in use without taking room.
const freeTails = 256

// stream sends a span straight from the file: net/http uses sendfile(2) for a copy from a
// LimitedReader over a file.
func (o *transfer) stream(s negotiate.Span) error {
	file := o.file.File()
	if _, err := file.Seek(s.Start, io.SeekStart); err != nil {
		return err
	}
	for s.Length > 0 {
		extend(o.w)
		part := min(s.Length, pieceSize)
		n, err := io.Copy(o.w, &io.LimitedReader{R: file, N: part})
		o.sent += n
		if err == nil && n < part {
			err = errChanged
		}
		if err != nil {
			return err
		}
		s.Length -= part
	}
	return nil
}

// sendParts sends several ranges as multipart/byteranges (RFC 9110, 14.6).
func (o *transfer) sendParts(a *reply, ranges []negotiate.Span) error {
	kind := a.kind
	parts := multipart.NewWriter(o.w)
	a.status, a.kind = http.StatusPartialContent, "multipart/byteranges; boundary="+parts.Boundary()
	o.h.start(o.w, a.withLength(partsLength(ranges, kind, o.file.Size, parts.Boundary())))
	for _, s := range ranges {
		if _, err := parts.CreatePart(partHeader(s, kind, o.file.Size)); err != nil {
			return err
		}
		if err := o.send(s); err != nil {
			return err
		}
	}
	return parts.Close()
}

// partHeader returns the header of one part.
func partHeader(s negotiate.Span, kind string, size int64) textproto.MIMEHeader {
	return textproto.MIMEHeader{"Content-Type": {kind}, "Content-Range": {s.ContentRange(size)}}
}

// partsLength returns the length of the whole multipart body.
func partsLength(ranges []negotiate.Span, kind string, size int64, boundary string) int64 {
	var count counter
	parts := multipart.NewWriter(&count)
	_ = parts.SetBoundary(boundary) // the boundary came from a multipart writer
	for _, s := range ranges {
		_, _ = parts.CreatePart(partHeader(s, kind, size)) // a counter takes everything
		count += counter(s.Length)
	}
	_ = parts.Close()
	return int64(count)
}

// counter is a Writer that counts bytes.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
