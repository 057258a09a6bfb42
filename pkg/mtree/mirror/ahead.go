package mirror

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"

	"tidemark/pkg/mtree"
)

// Bounds of what comes ahead. What is beyond them is asked for by itself, at
// five times the cost.
const (
	maxAhead  = 64 << 20 // bytes of an answer to ?since that are read
	keptAhead = 16 << 20 // bytes of listings that are kept
)

// ahead is listings of directories that came with an answer to ?since, as text
// until they are asked for: that takes half the memory, and those who ask parse
// at the same time. The zero value is empty.
type ahead struct {
	mu    sync.Mutex
	texts map[string][]byte
	bytes int
}

func (h *ahead) clear() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.texts, h.bytes = nil, 0
}

// room is how many bytes may still be kept.
func (h *ahead) room() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return keptAhead - h.bytes
}

func (h *ahead) keep(path string, text []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.texts == nil {
		h.texts = map[string][]byte{}
	}
	h.texts[path] = text
	h.bytes += len(text)
}

// take returns a listing that came ahead, once, unless it is older than what is
// asked for, or no listing: then the answer to a question of its own says why.
func (h *ahead) take(ask *ask) (l mtree.Listing, ok bool) {
	h.mu.Lock()
	text, ok := h.texts[ask.path]
	delete(h.texts, ask.path)
	h.mu.Unlock()
	if !ok {
		return l, false
	}
	l, err := mtree.ParseListing(text)
	if err != nil || ask.fresh || l.Stamp.Before(ask.least) {
		return mtree.Listing{}, false
	}
	l.Path = ""
	return l, true
}

// sinceReader reads an answer to ?since.
type sinceReader struct {
	in    *bufio.Reader
	text  []byte // of the listing read last
	after string // where the next answer goes on, if this one was cut
	cut   bool
}

// maxLine is the longest line there can be: two paths, escaped throughout.
const maxLine = 64 << 10

func newSinceReader(in io.Reader) *sinceReader {
	return &sinceReader{in: bufio.NewReaderSize(in, maxLine)}
}

// read keeps the listings of an answer in h, that of the root in a.
func (r *sinceReader) read(a *answer, h *ahead) error {
	for {
		line, err := r.in.ReadSlice('\n')
		if err == io.EOF && len(line) == 0 {
			return nil
		}
		if err != nil {
			return lineError(err)
		}
		if line[0] == '#' {
			r.trailer(line)
			continue
		}
		path, err := pathOf(line)
		if err != nil {
			return err
		}
		block := &blockReader{in: r.in, first: line}
		if path == "" {
			if a.listing, err = mtree.NewDecoder(block).Next(); err != nil {
				return err
			}
			a.unchanged = false
			continue
		}
		room, size := h.room(), 0
		if r.text, size, err = block.text(r.text[:0], room); err != nil {
			return err
		}
		if size <= room {
			h.keep(path, bytes.Clone(r.text))
		}
	}
}

func (r *sinceReader) trailer(line []byte) {
	d := mtree.NewDecoder(bytes.NewReader(line))
	_, _ = d.Next()
	if t, ok := d.Trailer(); ok && t.More {
		r.cut, r.after = true, t.After
	}
}

// pathOf reads the line that a listing begins with.
func pathOf(line []byte) (string, error) {
	text := append(bytes.Clone(line), "#end 0\n"...)
	l, err := mtree.ParseListing(text)
	return l.Path, err
}

// blockReader gives one listing of several, line by line, through its #end.
type blockReader struct {
	in    *bufio.Reader
	first []byte // not given yet
	left  []byte // of the present line
	ended bool
}

func (b *blockReader) Read(p []byte) (int, error) {
	if len(b.left) == 0 {
		if b.ended {
			return 0, io.EOF
		}
		if err := b.line(); err != nil {
			return 0, err
		}
	}
	n := copy(p, b.left)
	b.left = b.left[n:]
	return n, nil
}

func (b *blockReader) line() (err error) {
	if b.left, b.first = b.first, nil; b.left != nil {
		return nil
	}
	if b.left, err = b.in.ReadSlice('\n'); err != nil {
		return lineError(err)
	}
	b.ended = bytes.HasPrefix(b.left, []byte("#end "))
	return nil
}

// text appends the whole listing to dst, or no more of it than most bytes; size
// is how long it is.
func (b *blockReader) text(dst []byte, most int) (text []byte, size int, err error) {
	for !b.ended {
		if err := b.line(); err != nil {
			return nil, 0, err
		}
		if size += len(b.left); size <= most {
			dst = append(dst, b.left...)
		}
	}
	return dst, size, nil
}

func lineError(err error) error {
	switch err {
	case io.EOF:
		return mtree.ErrTruncated
	case bufio.ErrBufferFull:
		return fmt.Errorf("%w: a line longer than any", mtree.ErrListing)
	}
	return err
}

// goOn asks for what was cut from an answer to ?since, as long as there is room
// for it. What does not come is asked for when it is needed.
func (s *httpSource) goOn(ctx context.Context, since mtree.Stamp, after string) {
	for room := s.ahead.room(); room > 0; {
		resp, err := s.do(ctx, request{query: "txt&since=" + since.String() + "&after=" + escapePath(after), once: true, plain: s.near})
		if err != nil {
			return
		}
		r := newSinceReader(&bounded{resp.Body, maxAhead})
		var root answer
		err = r.read(&root, &s.ahead)
		_ = resp.Body.Close()
		if err != nil || !r.cut || r.after == after || s.ahead.room() == room {
			return
		}
		after, room = r.after, s.ahead.room()
	}
}
