package wire

import (
	"bufio"
	"bytes"
	"fmt"
	"io"

	"tidemark/pkg/mtree"
)

// SinceReader reads an answer to ?since (docs/protocol.md, "Changes since"): one
// whole listing, or a part, for each directory that changed, parents first, whose first line
// has the relative path; then a trailer. The writer's end is in package mtree:
// mtree.AppendListing with Listing.Path set, and mtree.AppendTrailer.
//
// The reader divides the stream into listings without parsing their entries.
// Errors wrap mtree.ErrListing, or are those of the stream.
type SinceReader struct {
	in      *bufio.Reader
	trailer mtree.Trailer
	ended   bool // the trailer was there
	remarks int  // lines of comments between listings
}

// maxSinceLine is the length of the longest line there can be: two paths, escaped
// throughout.
const maxSinceLine = 64 << 10

// maxSinceComments bounds the comments between listings, of which there is one: the trailer.
const maxSinceComments = 1000

// NewSinceReader returns a reader of in.
func NewSinceReader(in io.Reader) *SinceReader {
	return &SinceReader{in: bufio.NewReaderSize(in, maxSinceLine)}
}

// Next returns the path of the next directory, "" for the one that was asked, and
// its listing, which must be read to its end before Next is called again. After the
// last listing it returns io.EOF; whether the answer is whole, Trailer says.
func (r *SinceReader) Next() (path string, block *SinceBlock, err error) {
	for {
		line, err := r.in.ReadSlice('\n')
		if err == io.EOF && len(line) == 0 {
			return "", nil, io.EOF
		}
		if err != nil {
			return "", nil, lineError(err)
		}
		if line[0] != '#' {
			l, err := mtree.ParseSelf(line)
			return l.Path, &SinceBlock{in: r.in, first: line, part: l.IsPart()}, err
		}
		if r.remarks++; r.remarks > maxSinceComments {
			return "", nil, fmt.Errorf("%w: more than %d comments", mtree.ErrListing, maxSinceComments)
		}
		r.noteTrailer(line)
	}
}

// Trailer returns the line that ends the answer, and whether it came yet.
func (r *SinceReader) Trailer() (mtree.Trailer, bool) { return r.trailer, r.ended }

// noteTrailer notes a comment line if it is the trailer.
func (r *SinceReader) noteTrailer(line []byte) {
	d := mtree.NewDecoder(bytes.NewReader(line))
	_, _ = d.Next()
	if t, ok := d.Trailer(); ok {
		r.trailer, r.ended = t, true
	}
}

// SinceBlock gives one listing of several, line by line, through its #end.
type SinceBlock struct {
	in    *bufio.Reader
	first []byte // not given yet
	left  []byte // of the present line
	ended bool
	part  bool
}

// IsPart reports whether this is a part (mtree.Listing.Part). Only answers to requests with
// part=1 have any, and a mtree.Decoder reads them only if it is told to.
func (b *SinceBlock) IsPart() bool { return b.part }

// Read gives the text of the listing.
func (b *SinceBlock) Read(p []byte) (int, error) {
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

// line reads the next line.
func (b *SinceBlock) line() (err error) {
	if b.left, b.first = b.first, nil; b.left != nil {
		return nil
	}
	if b.left, err = b.in.ReadSlice('\n'); err != nil {
		return lineError(err)
	}
	b.ended = bytes.HasPrefix(b.left, []byte("#end "))
	return nil
}

// Text appends the whole listing to dst, or at most its first lines within most
// bytes. It reads all of it; size is how long it is, in bytes.
func (b *SinceBlock) Text(dst []byte, most int) (text []byte, size int, err error) {
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

// lineError makes an error of reading a line one of the stream.
func lineError(err error) error {
	switch err {
	case io.EOF:
		return mtree.ErrTruncated
	case bufio.ErrBufferFull:
		return fmt.Errorf("%w: a line longer than any", mtree.ErrListing)
	}
	return err
}
