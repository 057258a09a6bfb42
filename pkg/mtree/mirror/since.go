package mirror

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"tidemark/pkg/mtree"
)

// rootSince asks for the root and all that changed behind poll.Since. It returns
// as soon as the root's listing is there: what follows goes on coming while a
// pass uses it, until the root is asked for again.
func (s *httpSource) rootSince(ctx context.Context, poll srcPoll, r request) (srcRoot, error) {
	// The answer outlives the question: from the root's listing on ctx does not
	// end it.
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	unlink := context.AfterFunc(ctx, stop)
	r.plain = s.near // compressing would take a tenth of the time and spare nothing
	resp, err := s.do(life, r)
	if err != nil {
		stop()
		var status *statusError
		if errors.As(err, &status) && status.status == http.StatusGone {
			return s.ourRoot(ctx, srcPoll{Once: poll.Once})
		}
		return srcRoot{}, err
	}
	end := func() {
		_ = resp.Body.Close()
		stop()
	}
	root, err := head(resp)
	if err == nil && root.Validator == "" || resp.StatusCode == http.StatusNotModified {
		root.Validator = poll.Known
	}
	root.Unchanged = true
	if err != nil || resp.StatusCode == http.StatusNotModified {
		end()
		return root, err
	}
	// It comes between passes: nobody else reads any listing.
	reader := newSinceReader(&bounded{resp.Body, maxAhead + maxListing}, &room{turn: s.turn, large: true})
	var changed bool
	root.Listing, changed, err = reader.root()
	root.Unchanged = !changed
	if err != nil || !changed || !unlink() {
		end()
		return root, askedFor(resp, errors.Join(err, ctx.Err()))
	}
	one := &stream{stop: stop, ended: make(chan struct{}), tree: root.Tree}
	since := *poll.Since // the caller may move it on while the answer still comes
	s.ahead.open(one)
	go func() {
		defer close(one.ended)
		defer s.ahead.close()
		s.readOn(life, reader, since)
		end()
	}()
	return root, nil
}

// readOn reads what follows the root's listing, and asks for what was cut from
// it. Whatever goes wrong, what does not come is asked for when it is needed.
func (s *httpSource) readOn(ctx context.Context, r *sinceReader, since mtree.Stamp) {
	after := ""
	for r.read(ctx, &s.ahead) == nil && r.cut && r.after != after {
		after = r.after
		resp, err := s.do(ctx, request{
			query: "txt&since=" + since.String() + "&after=" + escapePath(after), once: true, plain: s.near,
		})
		if err != nil {
			return
		}
		defer resp.Body.Close()
		r = newSinceReader(&bounded{resp.Body, maxAhead}, r.room)
	}
}

// sinceReader reads an answer to ?since.
type sinceReader struct {
	in    *bufio.Reader
	room  *room  // for the root's listing
	text  []byte // of the listing read last
	after string // where the next answer goes on, if this one was cut
	cut   bool
	ended bool // the line that ends it was there
}

// maxLine is the longest line there can be: two paths, escaped throughout.
const maxLine = 64 << 10

func newSinceReader(in io.Reader, room *room) *sinceReader {
	return &sinceReader{in: bufio.NewReaderSize(in, maxLine), room: room}
}

// next returns the listing that comes next and its directory's path; io.EOF
// behind the last one.
func (r *sinceReader) next() (path string, block *blockReader, err error) {
	for {
		line, err := r.in.ReadSlice('\n')
		if err == io.EOF && len(line) == 0 {
			return "", nil, io.EOF
		}
		if err != nil {
			return "", nil, lineError(err)
		}
		if line[0] != '#' {
			path, err = pathOf(line)
			return path, &blockReader{in: r.in, first: line}, err
		}
		r.trailer(line)
	}
}

// root reads the listing of the root, which comes first; there is none,
// but only the line that ends the answer, if nothing changed.
func (r *sinceReader) root() (l mtree.Listing, changed bool, err error) {
	path, block, err := r.next()
	switch {
	case err == io.EOF && !r.ended:
		return l, false, mtree.ErrTruncated
	case err == io.EOF:
		return l, false, nil
	case err != nil:
		return l, false, err
	case path != "":
		return l, false, fmt.Errorf("%w: it does not begin with the directory that was asked for", mtree.ErrListing)
	}
	d := mtree.NewDecoder(block)
	d.Room = r.room.take
	l, err = d.Next()
	return l, err == nil, err
}

// read keeps the listings of an answer in h.
func (r *sinceReader) read(ctx context.Context, h *ahead) error {
	for {
		path, block, err := r.next()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			var size int
			if r.text, size, err = block.text(r.text[:0], keptAhead); err == nil && size <= keptAhead && path != "" {
				h.keep(ctx, path, r.text)
			}
		}
		if err = errors.Join(err, ctx.Err()); err != nil {
			return err
		}
	}
}

func (r *sinceReader) trailer(line []byte) {
	d := mtree.NewDecoder(bytes.NewReader(line))
	_, _ = d.Next()
	if t, ok := d.Trailer(); ok {
		r.ended = true
		r.cut, r.after = t.More, t.After
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
