package mirror

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"

	"tidemark/pkg/mtree"
)

// tarStream reads the answer to POST ?tar: regular files in ustar blocks, each
// behind a PAX header (pax(1)) with what ustar cannot say. archive/tar reads it
// as well, at a quarter of the cost of writing the files; this knows only what
// serve sends, and anything else ends it with an error.
type tarStream struct {
	in    *bufio.Reader
	left  int64 // bytes of the present file not read yet
	pad   int   // behind them
	block [tarBlock]byte
}

const (
	tarBlock = 512     // bytes
	maxPAX   = 8 << 10 // bytes of a PAX header
)

// tarFile is one file of the stream.
type tarFile struct {
	name         string
	size         int64
	mtime, ctime mtree.Stamp
}

func newTarStream(in io.Reader) *tarStream {
	return &tarStream{in: bufio.NewReaderSize(in, 64<<10)}
}

// next returns the next file, whose contents Read gives; io.EOF behind the last
// one, if the stream has its proper end.
func (t *tarStream) next() (f tarFile, err error) {
	if _, err := t.in.Discard(int(t.left) + t.pad); err != nil {
		return f, cutTar(err)
	}
	t.left, t.pad = 0, 0
	for {
		if _, err := io.ReadFull(t.in, t.block[:]); err != nil {
			return f, cutTar(err)
		}
		if t.block == [tarBlock]byte{} {
			return f, io.EOF
		}
		size, ok := t.octal(124, 136)
		if !ok || !t.sumRight() {
			return f, errTar
		}
		switch t.block[156] {
		case 'x':
			if err := t.pax(size, &f); err != nil {
				return f, err
			}
		case '0', 0:
			return f, t.header(size, &f)
		default:
			return f, fmt.Errorf("%w: an entry of type %q", errTar, t.block[156])
		}
	}
}

// header takes from a ustar header what no PAX header said.
func (t *tarStream) header(size int64, f *tarFile) error {
	if f.name == "" {
		f.name = cString(t.block[:100])
		if prefix := cString(t.block[345:500]); prefix != "" {
			f.name = prefix + "/" + f.name
		}
	}
	if f.size == 0 {
		f.size = size
	}
	if f.mtime == (mtree.Stamp{}) {
		seconds, ok := t.octal(136, 148)
		if !ok {
			return errTar
		}
		f.mtime = mtree.Unix(seconds, 0)
	}
	if f.size > maxBulk {
		return fmt.Errorf("%w: %d bytes in one file", errTar, f.size)
	}
	t.left = f.size
	t.pad = int(-f.size & (tarBlock - 1))
	return nil
}

// Read gives the contents of the present file.
func (t *tarStream) Read(p []byte) (int, error) {
	if t.left == 0 {
		return 0, io.EOF
	}
	n, err := t.in.Read(p[:min(int64(len(p)), t.left)])
	t.left -= int64(n)
	if err == io.EOF {
		err = errTar
	}
	return n, err
}

// pax reads records "LENGTH KEY=VALUE\n".
func (t *tarStream) pax(size int64, f *tarFile) error {
	if size > maxPAX {
		return errTar
	}
	text := make([]byte, (size+tarBlock-1)&^(tarBlock-1))
	if _, err := io.ReadFull(t.in, text); err != nil {
		return cutTar(err)
	}
	text = text[:size]
	for len(text) > 0 {
		digits, _, ok := bytes.Cut(text, []byte(" "))
		length, err := strconv.Atoi(string(digits))
		if !ok || err != nil || length < len(digits)+2 || length > len(text) || text[length-1] != '\n' {
			return errTar
		}
		key, value, ok := strings.Cut(string(text[len(digits)+1:length-1]), "=")
		if !ok {
			return errTar
		}
		if err := f.set(key, value); err != nil {
			return err
		}
		text = text[length:]
	}
	return nil
}

func (f *tarFile) set(key, value string) (err error) {
	switch key {
	case "path":
		f.name = value
	case "size":
		f.size, err = strconv.ParseInt(value, 10, 63)
	case "mtime":
		f.mtime, err = mtree.ParseStamp(value)
	case "ctime":
		f.ctime, err = mtree.ParseStamp(value)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errTar, err)
	}
	return nil
}

// octal reads a number of the present header.
func (t *tarStream) octal(from, to int) (int64, bool) {
	text := strings.Trim(string(t.block[from:to]), " \x00")
	if text == "" {
		return 0, true
	}
	n, err := strconv.ParseUint(text, 8, 62)
	return int64(n), err == nil
}

// sumRight checks the header's checksum, in which the sum itself counts as
// blanks.
func (t *tarStream) sumRight() bool {
	want, ok := t.octal(148, 156)
	sum := int64(8 * ' ')
	for i, c := range t.block {
		if i < 148 || i >= 156 {
			sum += int64(c)
		}
	}
	return ok && sum == want
}

func cString(text []byte) string {
	text, _, _ = bytes.Cut(text, []byte{0})
	return string(text)
}

var errTar = fmt.Errorf("%w: not the tar stream of a server", mtree.ErrListing)

func cutTar(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errTar
	}
	return err
}
