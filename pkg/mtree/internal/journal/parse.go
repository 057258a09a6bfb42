package journal

import (
	"bytes"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"strconv"
	"strings"

	"tidemark/pkg/mtree"
)

// errCut says that a text ends before the head or batch does: more may follow.
var errCut = errors.New("cut short")

// errBad says that a text is no head or batch, whatever follows.
var errBad = errors.New("not the text of a journal")

// maxHead bounds a head, in bytes.
const maxHead = 512

// ParseHead reads the first line of a file, and returns its length. It is the inverse of
// AppendHead.
func ParseHead(text []byte) (h Head, length int, err error) {
	end := bytes.IndexByte(text[:min(len(text), maxHead)], '\n')
	if end < 0 {
		if len(text) < maxHead {
			return Head{}, 0, errCut
		}
		return Head{}, 0, errBad
	}
	rest, ok := strings.CutPrefix(string(text[:end]), magic)
	columns := strings.Split(rest, "\t")
	if !ok || len(columns) != 5 || !isHex(columns[0], 16) || columns[2] == "" || !isHex(columns[3], 8) {
		return Head{}, 0, errBad
	}
	h = Head{Tree: Tree{ID: columns[0]}, Boot: columns[2], Run: columns[3]}
	if h.Epoch, ok = parseNumber(columns[1]); !ok {
		return Head{}, 0, errBad
	}
	if h.Number, ok = parseNumber(columns[4]); !ok || h.Number == 0 {
		return Head{}, 0, errBad
	}
	return h, end + 1, nil
}

func isHex(text string, length int) bool {
	raw, err := hex.DecodeString(text)
	return err == nil && len(raw) == length
}

// parseNumber reads a number as it is written: no sign, no zeros before it.
func parseNumber(text string) (uint64, bool) {
	n, err := strconv.ParseUint(text, 10, 63) // as much as the offset of a lock holds
	return n, err == nil && text == strconv.FormatUint(n, 10)
}

// ParseBatch reads the batch at the beginning of text, and returns its length. It is the
// inverse of AppendBatch. What it returns does not share memory with text. Errors are errCut
// and errBad.
func ParseBatch(text []byte) (b Batch, length int, err error) {
	end, err := findEnd(text)
	if err != nil {
		return Batch{}, 0, err
	}
	body, sum := text[:end], text[end:end+len("-00000000\n")]
	if string(appendCRC(nil, crc32.ChecksumIEEE(body))) != string(sum) { // guard: TestCutAtAnyByte
		return Batch{}, 0, errBad
	}
	b, err = parseBody(string(body))
	return b, end + len(sum), err
}

// findEnd returns where the "-" before the sum of a batch stands.
func findEnd(text []byte) (int, error) {
	const sum = len("-00000000\n")
	if len(text) > 0 && text[0] != '+' {
		return 0, errBad
	}
	end := bytes.Index(text[:min(len(text), maxBatch)], []byte("\n-"))
	switch {
	case end >= 0 && end+1+sum <= len(text):
		return end + 1, nil
	case len(text) < maxBatch+sum: // guard: TestBatchWithoutAnEnd
		return 0, errCut
	}
	return 0, errBad
}

// parseBody reads a batch without its sum.
func parseBody(body string) (b Batch, err error) {
	first, rest, _ := strings.Cut(body, "\n")
	number, floor, _ := strings.Cut(strings.TrimPrefix(first, "+"), "\t")
	var ok bool
	if b.Number, ok = parseNumber(number); !ok {
		return Batch{}, errBad
	}
	if b.Floor, ok = parseExact(floor); !ok {
		return Batch{}, errBad
	}
	b.Lines = make([]Line, 0, strings.Count(rest, "\n"))
	for line := range strings.Lines(rest) {
		l, err := parseLine(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return Batch{}, err
		}
		b.Lines = append(b.Lines, l)
	}
	return b, nil
}

// parseExact reads a stamp as it is written: with nine digits.
func parseExact(text string) (mtree.Stamp, bool) {
	s, err := mtree.ParseStamp(text)
	if err != nil {
		return s, false
	}
	var room [40]byte
	return s, text == string(s.Append(room[:0]))
}

func parseLine(line string) (l Line, err error) {
	var columns [3]string
	more := true
	for i := range columns {
		if !more {
			return Line{}, errBad
		}
		columns[i], line, more = strings.Cut(line, "\t")
	}
	if l.Path, err = parsePath(columns[0]); err != nil {
		return Line{}, err
	}
	if columns[1] != "-" || columns[2] != "-" {
		var ok, ok2 bool
		l.From, ok = parseExact(columns[1])
		l.To, ok2 = parseExact(columns[2])
		if !ok || !ok2 || l.To.Before(l.From) {
			return Line{}, errBad
		}
		l.Known = true
	}
	switch {
	case !more:
		return l, nil
	case isStar(line):
		l.Unknown, l.Below = true, line == "**"
		return l, nil
	}
	l.Names, err = parseNames(line)
	return l, err
}

func parseNames(text string) ([]string, error) {
	names := make([]string, 0, strings.Count(text, "\t")+1)
	if cap(names) > MaxNames {
		return nil, errBad
	}
	for escaped := range strings.SplitSeq(text, "\t") {
		name, err := mtree.UnescapeName(escaped)
		if err != nil || mtree.CheckName(bare(name)) != nil {
			return nil, errBad
		}
		if len(names) > 0 && byName(names[len(names)-1], name) >= 0 {
			return nil, errBad
		}
		names = append(names, name)
	}
	return names, nil
}

// parsePath reads "./a/b/".
func parsePath(text string) (string, error) {
	escaped, ok := strings.CutPrefix(text, "./")
	if ok && escaped == "" {
		return "", nil
	}
	escaped, ok2 := strings.CutSuffix(escaped, "/")
	path, err := mtree.UnescapeName(escaped)
	if !ok || !ok2 || path == "" || err != nil || mtree.CheckPath(path) != nil {
		return "", errBad
	}
	return path, nil
}
