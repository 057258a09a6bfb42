package wire

import (
	"strconv"
	"strings"
)

// FormatContentRange returns the Content-Range of length bytes at the offset start of a
// file of size bytes (RFC 9110, 14.4). length must be above 0. ParseContentRange is its
// inverse.
func FormatContentRange(start, length, size int64) string {
	b := strconv.AppendInt([]byte("bytes "), start, 10)
	b = strconv.AppendInt(append(b, '-'), start+length-1, 10)
	b = strconv.AppendInt(append(b, '/'), size, 10)
	return string(b)
}

// ParseContentRange reads what FormatContentRange wrote. ok is false for a part that is
// empty, unknown ("*") or not within the size.
func ParseContentRange(text string) (start, length, size int64, ok bool) {
	text, ok = strings.CutPrefix(text, "bytes ")
	span, total, ok2 := strings.Cut(text, "/")
	first, last, ok3 := strings.Cut(span, "-")
	start, err1 := strconv.ParseInt(first, 10, 64)
	end, err2 := strconv.ParseInt(last, 10, 64)
	size, err3 := strconv.ParseInt(total, 10, 64)
	if !ok || !ok2 || !ok3 || err1 != nil || err2 != nil || err3 != nil || start < 0 || end < start || end >= size {
		return 0, 0, 0, false
	}
	return start, end - start + 1, size, true
}

// RangeFrom returns the Range that asks for a file from the offset start on (RFC 9110,
// 14.2).
func RangeFrom(start int64) string { return "bytes=" + strconv.FormatInt(start, 10) + "-" }
