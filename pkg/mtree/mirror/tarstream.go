package mirror

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"sync"

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
	text  []byte // the last PAX header
	name  []byte // of two parts
}

const (
	tarBlock = 512     // bytes
	maxPAX   = 8 << 10 // bytes of a PAX header
)

// tarFile is one file of the stream.
type tarFile struct {
	name         []byte // valid until the next file
	size         int64
	mtime, ctime mtree.Stamp
}

var tarStreams = sync.Pool{New: func() any { return &tarStream{in: bufio.NewReaderSize(nil, 64<<10)} }}

// newTarStream returns a stream to be given back by close.
func newTarStream(in io.Reader) *tarStream {
	t := tarStreams.Get().(*tarStream)
	t.in.Reset(in)
	t.left, t.pad = 0, 0
	return t
}

func (t *tarStream) close() {
	t.in.Reset(nil)
	tarStreams.Put(t)
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
	if len(f.name) == 0 {
		f.name = cString(t.block[:100])
		if prefix := cString(t.block[345:500]); len(prefix) > 0 {
			t.name = append(append(append(t.name[:0], prefix...), '/'), f.name...)
			f.name = t.name
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
	t.text = slices.Grow(t.text[:0], maxPAX)[:(size+tarBlock-1)&^(tarBlock-1)]
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

func (f *tarFile) set(key, value []byte) (err error) {
	ok := true
	switch string(key) {
	case "path":
		f.name = value
	case "size":
		f.size, ok = decimal(value)
	case "mtime":
		err = f.mtime.UnmarshalText(value)
	case "ctime":
		err = f.ctime.UnmarshalText(value)
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

// octal reads a number of the present header; one that is not there is zero.
func (t *tarStream) octal(from, to int) (n int64, ok bool) {
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
func (t *tarStream) sumRight() bool {
	want, ok := t.octal(148, 156)
	sum := int64(8 * ' ')
	for _, c := range t.block[148:156] {
		sum -= int64(c)
	}
	return ok && sum+sumBytes(&t.block) == want
}

// sumBytes adds up the bytes of a block, eight at a time: a tenth of the cost of
// one by one, which is more than any other step of reading a header.
func sumBytes(block *[tarBlock]byte) int64 {
	const even = 0x00ff_00ff_00ff_00ff
	var four uint64 // sums of 16 bits; each stays below 128 * 255
	for i := 0; i < tarBlock; i += 8 {
		eight := binary.LittleEndian.Uint64(block[i:])
		four += eight&even + eight>>8&even
	}
	return int64(four&0xffff + four>>16&0xffff + four>>32&0xffff + four>>48)
}

func cString(text []byte) []byte {
	text, _, _ = bytes.Cut(text, []byte{0})
	return text
}

var errTar = fmt.Errorf("%w: not the tar stream of a server", mtree.ErrListing)

func cutTar(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errTar
	}
	return err
}
