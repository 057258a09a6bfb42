package serve

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"tidemark/pkg/mtree/internal/disk"
)

// maxSpans is how many ranges one request may ask for. zchunk asks for some
// dozens; thousands of them are an attack (CVE-2011-3192) and get the whole
// file.
const maxSpans = 256

// errUnsatisfiable says that no range asked for lies within the file: 416.
var errUnsatisfiable = errors.New("no range within the file")

// span is a range of a file, in bytes.
type span struct{ start, length int64 }

func (s span) contentRange(size int64) string {
	b := strconv.AppendInt([]byte("bytes "), s.start, 10)
	b = strconv.AppendInt(append(b, '-'), s.start+s.length-1, 10)
	b = strconv.AppendInt(append(b, '/'), size, 10)
	return string(b)
}

// wantedRanges returns the ranges to send; none means the whole file. A Range
// that makes no sense is ignored, and so is one whose If-Range is not exactly
// the strong tag: a date never proves that the rest belongs to the part the
// client has.
func wantedRanges(r *http.Request, info disk.Info) ([]span, error) {
	header := r.Header.Get("Range")
	if header == "" || r.Method != http.MethodGet {
		return nil, nil
	}
	if condition := r.Header.Get("If-Range"); condition != "" && condition != fileTag(info) {
		return nil, nil
	}
	spans, ok := parseRange(header, info.Size)
	if !ok {
		return nil, nil
	}
	if len(spans) == 0 {
		return nil, errUnsatisfiable
	}
	var sum int64
	for _, s := range spans {
		if sum += s.length; sum > info.Size {
			return nil, nil // overlapping: the whole file is less
		}
	}
	return spans, nil
}

// parseRange reads "bytes=a-b,c-,-d" (RFC 9110, 14.1.2) and keeps the ranges
// that lie within size.
func parseRange(header string, size int64) (spans []span, ok bool) {
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

func oneSpan(first, last string, size int64) (s span, within, ok bool) {
	if first == "" {
		n, ok := decimal(last)
		n = min(n, size)
		return span{size - n, n}, n > 0, ok
	}
	start, ok := decimal(first)
	if !ok {
		return span{}, false, false
	}
	end := size - 1
	if last != "" {
		if end, ok = decimal(last); !ok || end < start {
			return span{}, false, false
		}
		end = min(end, size-1)
	}
	return span{start, end - start + 1}, start < size, true
}

// decimal reads 1*DIGIT up to 2^63-1.
func decimal(text string) (int64, bool) {
	n, err := strconv.ParseUint(text, 10, 63)
	return int64(n), err == nil && text[0] != '+'
}
