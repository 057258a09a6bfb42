package render

import (
	"bytes"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
)

// Coding is a content coding of a listing; its value stands in ETags.
type Coding string

const (
	Identity Coding = ""
	Gzip     Coding = "gzip"
)

// GzipMemory is what a compressor takes, in bytes.
const GzipMemory = 1 << 20

// gzipWriters are expensive to make (about 800 KB of tables).
var gzipWriters = sync.Pool{New: func() any {
	z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level is valid
	return z
}}

// NewGzip returns a compressor that writes to w, until it is given to PutGzip.
func NewGzip(w io.Writer) *gzip.Writer {
	z := gzipWriters.Get().(*gzip.Writer)
	z.Reset(w)
	return z
}

// PutGzip gives a compressor back. The caller must not use it any more.
func PutGzip(z *gzip.Writer) { gzipWriters.Put(z) }

// Compress returns body in the gzip coding.
func Compress(body []byte) []byte {
	var out bytes.Buffer
	out.Grow(len(body)/4 + 64)
	z := NewGzip(&out)
	defer PutGzip(z)
	_, _ = z.Write(body) // a bytes.Buffer takes everything
	_ = z.Close()
	return out.Bytes()
}
