package wire

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
)

// SumsType is the media type of a list of sums.
const SumsType = "text/plain; charset=utf-8"

// Sum is one file of the answer to ?sums.
type Sum struct {
	Path   string // as it was asked for, raw bytes
	SHA256 [sha256.Size]byte
	Tagged bool    // Tag is known: servers that do not know &tags send none
	Tag    FileTag // the version of the file that was hashed
}

// AppendSum appends a line that sha256sum -c reads, after a comment line "# ETAG"
// if s is tagged (docs/protocol.md, "Sums"). A path with a backslash or a line end
// is escaped, and a backslash in front of the line says so. ReadSums is its
// inverse.
func AppendSum(dst []byte, s *Sum) []byte {
	if s.Tagged {
		dst = append(s.Tag.Append(append(dst, "# "...)), '\n')
	}
	path := s.Path
	if strings.ContainsAny(path, "\\\n\r") {
		dst = append(dst, '\\')
		path = escapeSum.Replace(path)
	}
	dst = hex.AppendEncode(dst, s.SHA256[:])
	return append(append(append(dst, "  "...), path...), '\n')
}

var (
	escapeSum   = strings.NewReplacer("\\", `\\`, "\n", `\n`, "\r", `\r`)
	unescapeSum = strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\r`, "\r")
)

// maxSumLine bounds one line of sums, in bytes.
const maxSumLine = 64 << 10

// wholeLine is bufio.ScanLines, but for a line without an end: there the answer broke off, and a path that was
// cut may be another one.
func wholeLine(data []byte, atEOF bool) (advance int, line []byte, err error) {
	if atEOF && len(data) > 0 && bytes.IndexByte(data, '\n') < 0 {
		return 0, nil, io.ErrUnexpectedEOF
	}
	return bufio.ScanLines(data, atEOF)
}

// ReadSums reads the sums of at most files files, and gives each to keep; more is an
// error. A comment that is not an ETag leaves the next sum without a tag.
func ReadSums(in io.Reader, files int, keep func(Sum)) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxSumLine)
	lines.Split(wholeLine) // guard: TestSumsThatBreakOff
	var one Sum
	for n, tags := 0, 0; lines.Scan(); {
		if tag, is := strings.CutPrefix(lines.Text(), "# "); is && tags <= n {
			one.Tag, one.Tagged = ParseFileTag(tag)
			tags++
			continue
		}
		if n++; n > files {
			return fmt.Errorf("more sums than files were asked for: %d", n)
		}
		line, escaped := strings.CutPrefix(lines.Text(), `\`)
		digits, path, ok := strings.Cut(line, "  ")
		raw, err := hex.DecodeString(digits)
		if !ok || err != nil || len(raw) != sha256.Size {
			return fmt.Errorf("not a line of sha256sum: %.100q", line)
		}
		if escaped {
			path = unescapeSum.Replace(path)
		}
		one.Path, one.SHA256 = path, [sha256.Size]byte(raw)
		keep(one)
		one = Sum{}
	}
	return lines.Err()
}
