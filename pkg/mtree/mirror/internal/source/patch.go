package source

import (
	"context"
	"io"
	"iter"
)

// Old is the version of a wanted file that the caller has: what is equal in both need not come.
type Old struct {
	Size  int64                                                    // bytes
	Block int64                                                    // the size of blocks whose sums cost nothing; 0: none
	Sums  func(ctx context.Context, block int64) ([]Digest, error) // of its blocks; the last may be shorter
	Read  func(p []byte, offset int64) (int, error)                // as io.ReaderAt
	Taken func(in io.Reader) io.Reader                             // wraps what comes over the network

	Missed int // how often the file could not be made of it; the source counts
}

// Patch makes a wanted file of Old and of bytes that came. What it gives was compared with the
// sums of the source, or is to be compared by the caller: pieces of Old are equal to the source's
// if Old did not change since Old.Sums.
type Patch struct {
	// Pieces yields the file from File.From on, piece by piece, or one error: then the file is not
	// whole.
	Pieces iter.Seq2[Piece, error]

	Block int64    // bytes
	Sums  []Digest // of the blocks of the whole file; nil: not worth keeping
}

// Piece is a part of a file.
type Piece struct {
	Bytes  []byte // valid until the next piece; nil: as long as Old has the same bytes there
	Offset int64  // in Old and in the file, unless there are Bytes
	Length int64  // bytes
	Came   int64  // how many of Bytes came from the source for this piece, or in vain
}
