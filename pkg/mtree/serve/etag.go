package serve

import (
	"net/http"
	"strings"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
)

// clockLag is by how much the time a kernel writes on a file may lie behind the
// clock: two ticks at HZ=100.
const clockLag = 20 * time.Millisecond

// hotMark ends the ETag of a hot listing. No validator that serve computes
// from a stamp carries it, so a hot listing is never confirmed by a 304.
const hotMark = "hot"

// listingTag returns the ETag of a listing without its coding and quotes: by
// the stamp where stamps prune, by a hash of the body elsewhere.
func listingTag(validator string, f format, e string) string {
	return validator + "-" + string(f) + "-" + e
}

// quoteTag makes the entity tag of a listing of base, with the coding. It is weak:
// a file rewritten in place shows before its directory is stamped, so two listings
// of one stamp may differ in bytes.
func quoteTag(base string, c coding) string {
	if c != identity {
		base += "-" + string(c)
	}
	return `W/"` + base + `"`
}

// fileTag returns the strong ETag of a file. The ctime stands in it because
// two contents may share mtime and size.
func fileTag(info disk.Info) string {
	b := append(make([]byte, 0, 80), '"')
	b = append(info.MTime.Append(b), '-')
	b = appendInt(b, info.Size)
	b = append(b, '-')
	b = info.CTime.Append(b)
	return string(append(b, '"'))
}

// noneMatch reports whether If-None-Match names base, in any coding, weakly
// compared (RFC 9110, 13.1.2). Proxies weaken a tag that they compress, or add
// "-gzip" to it.
func noneMatch(field, base string) bool {
	return anyTag(field, func(tag string) bool {
		tag = strings.TrimPrefix(tag, "W/")
		tag = strings.Trim(tag, `"`)
		tag = strings.TrimSuffix(tag, ";gzip")
		for strings.HasSuffix(tag, "-gzip") {
			tag = strings.TrimSuffix(tag, "-gzip")
		}
		return tag == base
	})
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
	last, _ := now.Add(-clockLag).Unix()
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
	settled, _ := now.Add(-clockLag).Unix()
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
