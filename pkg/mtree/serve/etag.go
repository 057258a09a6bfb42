package serve

import (
	"net/http"
	"strings"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/wire"
)

// fileTag returns the strong ETag of a file.
func fileTag(info disk.Info) string { return tagOf(info).String() }

func tagOf(info disk.Info) wire.FileTag {
	return wire.FileTag{MTime: info.MTime, Size: info.Size, CTime: info.CTime}
}

// noneMatch reports whether If-None-Match names base, in any coding, weakly
// compared (RFC 9110, 13.1.2).
func noneMatch(field, base string) bool {
	return anyTag(field, func(tag string) bool { return wire.BareTag(tag) == base })
}

// strongMatch reports whether If-Match names exactly the strong tag.
func strongMatch(field, tag string) bool {
	return anyTag(field, func(have string) bool { return have == tag })
}

// anyTag calls match for each entity tag of a list until one matches; "*"
// always does.
func anyTag(field string, match func(tag string) bool) bool {
	for field != "" {
		field = strings.TrimLeft(field, ", \t")
		if field == "*" {
			return true
		}
		start := strings.IndexByte(field, '"')
		if start < 0 {
			return false
		}
		end := strings.IndexByte(field[start+1:], '"')
		if end < 0 {
			return false
		}
		end += start + 2
		if match(field[:end]) {
			return true
		}
		field = field[end:]
	}
	return false
}

// field returns all values of a header as one list.
func field(r *http.Request, key string) string {
	values := r.Header[key]
	if len(values) == 1 {
		return values[0]
	}
	return strings.Join(values, ",")
}

// dirDate returns the Last-Modified of a directory in Unix seconds, and whether
// it is held back: it never names a second that can still change.
func dirDate(mtime, now mtree.Stamp) (sec int64, held bool) {
	sec, _ = mtime.Unix()
	last, _ := now.Add(-wire.ClockLag).Unix()
	if sec > last-1 {
		return last - 1, true
	}
	return sec, false
}

// fileDate returns the Last-Modified of a file in Unix seconds, and whether a
// later content may still get the same.
func fileDate(mtime, now mtree.Stamp) (sec int64, open bool) {
	sec, _ = mtime.Unix()
	today, _ := now.Unix()
	settled, _ := now.Add(-wire.ClockLag).Unix()
	return min(sec, today), sec >= settled
}

// httpDate formats Unix seconds for a header. Dates that clients are known to
// misread, before 1970 and after 9999, give "".
func httpDate(sec int64) string {
	const endOf9999 = 253402300799
	if sec < 0 || sec > endOf9999 {
		return ""
	}
	return string(appendHTTPDate(make([]byte, 0, len(http.TimeFormat)), mtree.Unix(sec, 0)))
}

// sameDate reports whether a header names exactly this second.
func sameDate(header string, sec int64) bool {
	if header == "" {
		return false
	}
	t, err := http.ParseTime(header)
	return err == nil && t.Unix() == sec
}
