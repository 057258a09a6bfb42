package wire

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"tidemark/pkg/mtree"
)

// BlocksType is the media type of the answer to ?blocks.
const BlocksType = "text/plain; charset=utf-8"

// Bounds of ?blocks.
const (
	LeastBlock = 64 << 10 // bytes of the smallest blocks that may be asked for; sizes are powers of two
	MostBlock  = 4 << 20  // of the largest

	// MostBlockSums is how many blocks one file may have. One with more is left out: 64 GiB by the
	// smallest blocks, 4 TiB by the largest.
	MostBlockSums = 1 << 20

	// LeastPatched is the size in bytes from which a file is worth asking for its blocks.
	LeastPatched = 4 << 20
)

// BlockSum is the SHA-256 of one block.
type BlockSum = [sha256.Size]byte

// BlocksOf is one line of the body of POST ?blocks: a file, and how large its blocks are.
type BlocksOf struct {
	Path  string // relative to the URL, raw bytes
	Block int64  // bytes
}

// IsBlock reports whether blocks may have this size.
func IsBlock(size int64) bool { return size >= LeastBlock && size <= MostBlock && size&(size-1) == 0 }

// CountBlocks returns how many blocks a file of this size has; the last may be shorter.
func CountBlocks(size, block int64) int64 {
	count := size / block
	if size%block != 0 {
		count++
	}
	return count
}

// AppendLine appends a line of the body (docs/protocol.md, "Blocks"). ReadBlocksOf is its
// inverse.
func (b BlocksOf) AppendLine(dst []byte) []byte {
	dst = append(mtree.AppendEscaped(dst, b.Path), '\t')
	return append(strconv.AppendInt(dst, b.Block, 10), '\n')
}

// ReadBlocksOf reads the body. Bounds and errors are those of ReadPaths; a size that no blocks
// have is an mtree.ErrName, too.
func ReadBlocksOf(in io.Reader, keep func(path string) error) (all []BlocksOf, err error) {
	err = readPathLines(in, func(line string) error {
		text, size, ok := strings.Cut(line, "\t")
		block, err := strconv.ParseInt(size, 10, 64)
		if !ok || err != nil || !IsBlock(block) {
			return fmt.Errorf("%w: no size of blocks", mtree.ErrName)
		}
		path, err := readPathLine(text, keep)
		all = append(all, BlocksOf{path, block})
		return err
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// Blocks is one file of the answer.
type Blocks struct {
	BlocksOf
	Tag     FileTag // the version that was hashed
	Sums    []BlockSum
	Changed bool // the file changed meanwhile: the sums may be of several versions, and some may be missing
}

// blocksChanged is the line that ends a file that changed while it was hashed; else an empty line
// does. A reader that does not know it takes it for no sum.
const blocksChanged = "changed"

// AppendBlocksHead appends the line that begins a file of the answer: MTIME SIZE CTIME BLOCK PATH.
func AppendBlocksHead(dst []byte, of BlocksOf, tag FileTag) []byte {
	dst = append(tag.MTime.Append(dst), ' ')
	dst = append(strconv.AppendInt(dst, tag.Size, 10), ' ')
	dst = append(tag.CTime.Append(dst), ' ')
	dst = append(strconv.AppendInt(dst, of.Block, 10), ' ')
	return append(mtree.AppendEscaped(dst, of.Path), '\n')
}

// AppendBlockSum appends the line of one block.
func AppendBlockSum(dst []byte, sum BlockSum) []byte {
	return append(hex.AppendEncode(dst, sum[:]), '\n')
}

// AppendBlocksEnd appends the line that ends a file.
func AppendBlocksEnd(dst []byte, changed bool) []byte {
	if changed {
		dst = append(dst, blocksChanged...)
	}
	return append(dst, '\n')
}

// Errors of ReadBlocks.
var (
	ErrBlocks   = errors.New("not an answer to ?blocks")               // it makes no sense
	ErrNoBlocks = errors.New("the answer to ?blocks has no such file") // it was left out
)

// ReadBlocks reads an answer of one file. It keeps as many sums as the file has blocks, at most
// MostBlockSums. More, fewer, another file and other blocks are an ErrBlocks, an answer that
// breaks off is an io.ErrUnexpectedEOF, and one that is empty an ErrNoBlocks.
func ReadBlocks(in io.Reader, of BlocksOf) (b Blocks, err error) {
	lines := bufio.NewReaderSize(in, maxPathLine+200)
	line, err := blocksLine(lines)
	if err == io.EOF {
		return b, ErrNoBlocks
	}
	if err != nil {
		return b, err
	}
	if b.Tag, err = parseBlocksHead(line, of); err != nil {
		return b, err
	}
	b.BlocksOf = of
	count := CountBlocks(b.Tag.Size, of.Block)
	for {
		line, err := blocksLine(lines)
		switch {
		case err == io.EOF:
			return b, io.ErrUnexpectedEOF
		case err != nil:
			return b, err
		case line == "" && int64(len(b.Sums)) != count:
			return b, fmt.Errorf("%w: %d sums of %d blocks", ErrBlocks, len(b.Sums), count)
		case line == "" || line == blocksChanged:
			b.Changed = line != ""
			return b, endOfBlocks(lines)
		case int64(len(b.Sums)) == count:
			return b, fmt.Errorf("%w: more sums than the %d of its blocks", ErrBlocks, count)
		}
		var sum BlockSum
		if len(line) != hex.EncodedLen(len(sum)) {
			return b, fmt.Errorf("%w: no SHA-256: %.100q", ErrBlocks, line)
		}
		if _, err := hex.Decode(sum[:], []byte(line)); err != nil {
			return b, fmt.Errorf("%w: no SHA-256: %.100q", ErrBlocks, line)
		}
		b.Sums = append(b.Sums, sum)
	}
}

// blocksLine reads one line, without its end; io.EOF: there is none.
func blocksLine(in *bufio.Reader) (string, error) {
	line, err := in.ReadSlice('\n')
	switch err {
	case nil:
		return string(line[:len(line)-1]), nil
	case bufio.ErrBufferFull:
		return "", fmt.Errorf("%w: a line longer than any", ErrBlocks)
	case io.EOF:
		if len(line) > 0 {
			return "", io.ErrUnexpectedEOF
		}
	}
	return "", err
}

// endOfBlocks makes sure that nothing follows.
func endOfBlocks(in *bufio.Reader) error {
	switch _, err := in.ReadByte(); err {
	case io.EOF:
		return nil
	case nil:
		return fmt.Errorf("%w: more than the file that was asked for", ErrBlocks)
	default:
		return err
	}
}

// parseBlocksHead reads what AppendBlocksHead wrote.
func parseBlocksHead(line string, of BlocksOf) (tag FileTag, err error) {
	field := strings.Split(line, " ")
	if len(field) != 5 {
		return tag, fmt.Errorf("%w: %.100q", ErrBlocks, line)
	}
	tag, ok := ParseFileTag(field[0] + "-" + field[1] + "-" + field[2])
	path, err := mtree.UnescapeName(field[4])
	block, blockErr := strconv.ParseInt(field[3], 10, 64)
	switch {
	case !ok || err != nil || blockErr != nil:
		return tag, fmt.Errorf("%w: %.100q", ErrBlocks, line)
	case path != of.Path || block != of.Block:
		return tag, fmt.Errorf("%w: blocks of %d bytes of %.100q were asked for: %.100q", ErrBlocks, of.Block, of.Path, line)
	case CountBlocks(tag.Size, block) > MostBlockSums:
		return tag, fmt.Errorf("%w: more blocks than there may be: %.100q", ErrBlocks, line)
	}
	return tag, nil
}
