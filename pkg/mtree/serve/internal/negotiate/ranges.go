package negotiate

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"tidemark/pkg/mtree/wire"
)

// maxSpans is how many ranges one request may ask for. zchunk asks for some
// dozens; thousands of them are an attack (CVE-2011-3192) and get the whole
// file.
const maxSpans = 256

// ErrUnsatisfiable says that no range asked for lies within the file: 416.
var ErrUnsatisfiable = errors.New("no range within the file")

// Span is a range of a file, in bytes.
type Span struct{ Start, Length int64 }

// ContentRange returns the Content-Range of the span of a file of this size.
func (s Span) ContentRange(size int64) string {
	return wire.FormatContentRange(s.Start, s.Length, size)
}

// Ranges returns the ranges to send of a file with this strong tag and size; none means
// the whole file. The error is ErrUnsatisfiable. A Range that makes no sense is ignored,
// and so is one whose If-Range is not exactly the tag: a date never proves that the rest
// belongs to the part that the client has.
func Ranges(r *http.Request, tag string, size int64) ([]Span, error) {
	header := r.Header.Get("Range")
	if header == "" || r.Method != http.MethodGet {
		return nil, nil
	}
	if condition := r.Header.Get("If-Range"); condition != "" && condition != tag {
		return nil, nil
	}
	spans, ok := parseRange(header, size)
	if !ok {
		return nil, nil
	}
	if len(spans) == 0 {
		return nil, ErrUnsatisfiable
	}
	left := size // no sum: it could be more than an int64
	for _, s := range spans {
		if left -= s.Length; left < 0 {
			return nil, nil // overlapping: the whole file is shorter
		}
	}
	return spans, nil
}

// parseRange reads "bytes=a-b,c-,-d" (RFC 9110, 14.1.2) and keeps the ranges
// that lie within size.
func parseRange(header string, size int64) (spans []Span, ok bool) {
	list, ok := strings.CutPrefix(header, "bytes=")
	if !ok || strings.Count(list, ",") >= maxSpans {
		return nil, false
	}
	for part := range strings.SplitSeq(list, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		first, last, found := strings.Cut(part, "-")
		if !found || first == "" && last == "" {
			return nil, false
		}
		s, within, ok := oneSpan(strings.TrimSpace(first), strings.TrimSpace(last), size)
		if !ok {
			return nil, false
		}
		if within {
			spans = append(spans, s)
		}
	}
	return spans, true
}

func oneSpan(first, last string, size int64) (s Span, within, ok bool) {
	if first == "" {
		n, ok := decimal(last)
		n = min(n, size)
		return Span{size - n, n}, n > 0, ok
	}
	start, ok := decimal(first)
	if !ok {
		return Span{}, false, false
	}
	end := size - 1
	if last != "" {
		if end, ok = decimal(last); !ok || end < start {
			return Span{}, false, false
		}
		end = min(end, size-1)
	}
	return Span{start, end - start + 1}, start < size, true
}

// decimal reads 1*DIGIT up to 2^63-1.
func decimal(text string) (int64, bool) {
	n, err := strconv.ParseUint(text, 10, 63)
	return int64(n), err == nil && text[0] != '+'
}
