package source

import (
	"context"
	"crypto/sha256"
	"io"
	"sync"
)

var hashBuffers = sync.Pool{New: func() any { return new([256 << 10]byte) }}

// Hash returns the SHA-256 of what in gives up to io.EOF.
func Hash(in io.Reader) (d Digest, err error) {
	buf := hashBuffers.Get().(*[256 << 10]byte)
	defer hashBuffers.Put(buf)
	hash := sha256.New()
	for {
		n, err := in.Read(buf[:])
		hash.Write(buf[:n])
		if err == io.EOF {
			hash.Sum(d[:0])
			return d, nil
		}
		if err != nil {
			return d, err
		}
	}
}

// HashBlocks returns the SHA-256 of each block of a file of size bytes; the last block may be
// shorter. Its error may be that of ctx.
func HashBlocks(ctx context.Context, in io.ReaderAt, size, block int64) ([]Digest, error) {
	sums := make([]Digest, 0, (size+block-1)/block)
	for at := int64(0); at < size; at += block {
		length := min(block, size-at)
		section := io.NewSectionReader(in, at, length)
		sum, err := Hash(Until(ctx, section))
		if err == nil {
			if end, _ := section.Seek(0, io.SeekCurrent); end != length {
				err = io.ErrUnexpectedEOF
			}
		}
		if err != nil {
			return nil, err
		}
		sums = append(sums, sum)
	}
	return sums, nil
}

// Until returns a reader of in that fails when ctx ends: a large file takes longer than
// an orderly stop may.
func Until(ctx context.Context, in io.Reader) io.Reader { return untilReader{ctx, in} }

type untilReader struct {
	ctx context.Context
	in  io.Reader
}

func (r untilReader) Read(buf []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.in.Read(buf)
}
