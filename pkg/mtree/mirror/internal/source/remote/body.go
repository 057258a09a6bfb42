package remote

import (
	"fmt"
	"io"

	"tidemark/pkg/mtree/mirror/internal/source"
)

// wholeBody reads a body whose length is known, or bounded. A body that breaks off may do
// so because the file changed.
type wholeBody struct {
	io.ReadCloser
	low, high int64        // bounds of its length; high < 0: none
	got       int64        // bytes read
	cut       func() error // says why it ended early; nil: source.ErrMoved
	failed    error        // of reading; nil: none, or io.EOF
}

// close ends the request.
func (b *wholeBody) close() { _ = b.ReadCloser.Close() }

// Read gives io.EOF only at a length within the bounds.
func (b *wholeBody) Read(buf []byte) (int, error) {
	n, err := b.read(buf)
	if err != nil && err != io.EOF {
		b.failed = err
	}
	return n, err
}

func (b *wholeBody) read(buf []byte) (int, error) {
	n, err := b.ReadCloser.Read(buf)
	b.got += int64(n)
	switch {
	case b.high >= 0 && b.got > b.high:
		return 0, fmt.Errorf("%w: more bytes than announced", source.ErrMoved)
	case (err == io.EOF && b.got < b.low || err != nil && err != io.EOF) && b.cut != nil:
		return n, b.cut()
	case err == io.EOF && b.got < b.low, err != nil && err != io.EOF:
		return n, fmt.Errorf("%w: %w", source.ErrMoved, io.ErrUnexpectedEOF)
	}
	return n, err
}
