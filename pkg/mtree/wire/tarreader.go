package wire

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"slices"
	"sync"

	"tidemark/pkg/mtree"
)

// TarReader reads the answer to POST ?tar: regular files of at most MaxBulkFile
// bytes in ustar blocks, each after a PAX header (pax(1)) with what ustar cannot
// say. archive/tar reads it as well, at a quarter of the cost of writing the files;
// this reader knows only what AppendTarHeader writes, and anything else ends it
// with an error. Reading a file allocates nothing.
//
// Errors wrap mtree.ErrListing, or are those of the stream.
type TarReader struct {
	in    *bufio.Reader
	left  int64 // bytes of the present file not read yet
	pad   int   // bytes after them
	block [TarBlock]byte
	text  []byte // the last PAX header
	name  []byte // of two parts
}

// maxPAX bounds a PAX header, in bytes.
const maxPAX = 8 << 10

// TarFile is one file of the stream.
type TarFile struct {
	Name         []byte // valid until the next file
	Size         int64
	MTime, CTime mtree.Stamp // CTime is zero if the stream does not have it
}

var tarReaders = sync.Pool{New: func() any { return &TarReader{in: bufio.NewReaderSize(nil, 64<<10)} }}

// NewTarReader returns a reader, which Close must give back.
func NewTarReader(in io.Reader) *TarReader {
	t := tarReaders.Get().(*TarReader)
	t.in.Reset(in)
	t.left, t.pad = 0, 0
	return t
}

// Close gives the reader back; it does not close the stream.
func (t *TarReader) Close() {
	t.in.Reset(nil)
	tarReaders.Put(t)
}

// Next returns the next file, whose contents Read gives. After the last file it
// returns io.EOF, if the stream has its proper end.
func (t *TarReader) Next() (f TarFile, err error) {
	if _, err := t.in.Discard(int(t.left) + t.pad); err != nil {
		return f, cutTar(err)
	}
	t.left, t.pad = 0, 0
	for extended := false; ; extended = true {
		if _, err := io.ReadFull(t.in, t.block[:]); err != nil {
			return f, cutTar(err)
		}
		if t.block == [TarBlock]byte{} {
			return f, io.EOF
		}
		size, ok := t.octal(124, 136)
		if !ok || !t.sumRight() {
			return f, errTar
		}
		switch t.block[156] {
		case 'x':
			if extended { // headers without end, and never a file
				return f, fmt.Errorf("%w: a second PAX header for one file", errTar)
			}
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
func (t *TarReader) header(size int64, f *TarFile) error {
	if len(f.Name) == 0 {
		f.Name = cString(t.block[:100])
		if prefix := cString(t.block[345:500]); len(prefix) > 0 {
			t.name = append(append(append(t.name[:0], prefix...), '/'), f.Name...)
			f.Name = t.name
		}
	}
	if f.Size == 0 {
		f.Size = size
	}
	if f.MTime == (mtree.Stamp{}) {
		seconds, ok := t.octal(136, 148)
		if !ok {
			return errTar
		}
		f.MTime = mtree.Unix(seconds, 0)
	}
	if f.Size > MaxBulkFile {
		return fmt.Errorf("%w: %d bytes in one file", errTar, f.Size)
	}
	t.left = f.Size
	t.pad = int(-f.Size & (TarBlock - 1))
	return nil
}

// Read gives the contents of the present file.
func (t *TarReader) Read(p []byte) (int, error) {
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
func (t *TarReader) pax(size int64, f *TarFile) error {
	if size > maxPAX {
		return errTar
	}
	t.text = slices.Grow(t.text[:0], maxPAX)[:(size+TarBlock-1)&^(TarBlock-1)]
	if _, err := io.ReadFull(t.in, t.text); err != nil {
		return cutTar(err)
	}
	text := t.text[:size]
	for len(text) > 0 {
		digits, _, ok := bytes.Cut(text, []byte(" "))
		length, digitsOK := decimal(digits)
		if !ok || !digitsOK || length < int64(len(digits)+2) || length > int64(len(text)) || text[length-1] != '\n' {
			return errTar
		}
		key, value, ok := bytes.Cut(text[len(digits)+1:length-1], []byte("="))
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

// set sets what one PAX record says.
func (f *TarFile) set(key, value []byte) (err error) {
	ok := true
	switch string(key) {
	case "path":
		f.Name = value
	case "size":
		f.Size, ok = decimal(value)
	case "mtime":
		err = f.MTime.UnmarshalText(value)
	case "ctime":
		err = f.CTime.UnmarshalText(value)
	}
	if !ok || err != nil {
		return fmt.Errorf("%w: %.20q=%.60q", errTar, key, value)
	}
	return nil
}

// decimal reads a number of at most 18 digits.
func decimal(text []byte) (n int64, ok bool) {
	for _, c := range text {
		if c < '0' || c > '9' || len(text) > 18 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, len(text) > 0
}

// octal reads a number of the present header; a missing one is zero.
func (t *TarReader) octal(from, to int) (n int64, ok bool) {
	for _, c := range bytes.Trim(t.block[from:to], " \x00") {
		if c < '0' || c > '7' || n >= 1<<60 {
			return 0, false
		}
		n = n<<3 | int64(c-'0')
	}
	return n, true
}

// sumRight checks the header's checksum, in which the sum itself counts as
// blanks.
func (t *TarReader) sumRight() bool {
	want, ok := t.octal(148, 156)
	sum := int64(8 * ' ')
	for _, c := range t.block[148:156] {
		sum -= int64(c)
	}
	return ok && sum+sumBlock(t.block[:]) == want
}

// cString returns text up to its first NUL.
func cString(text []byte) []byte {
	text, _, _ = bytes.Cut(text, []byte{0})
	return text
}

var errTar = fmt.Errorf("%w: not the tar stream of a server", mtree.ErrListing)

// cutTar makes the end of a stream within a file an error of the stream.
func cutTar(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errTar
	}
	return err
}
