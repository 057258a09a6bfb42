package negotiate

import (
	"net/http"
	"strings"

	"tidemark/pkg/mtree/wire"
)

// NoneMatch reports whether If-None-Match names the tag base, a tag without quotes and
// coding, in any coding and weakly compared (RFC 9110, 13.1.2).
func NoneMatch(field, base string) bool {
	return AnyTag(field, func(tag string) bool { return wire.BareTag(tag) == base })
}

// strongMatch reports whether If-Match names exactly this strong tag.
func strongMatch(field, tag string) bool {
	return AnyTag(field, func(have string) bool { return have == tag })
}

// AnyTag reports whether one of the entity tags of a list matches; "*" always does.
func AnyTag(field string, match func(tag string) bool) bool {
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

// Field returns all values of a header as one list.
func Field(r *http.Request, key string) string {
	values := r.Header[key]
	if len(values) == 1 {
		return values[0]
	}
	return strings.Join(values, ",")
}

// Precondition evaluates the conditions of a request for a file with this strong tag and
// date, in the order of RFC 9110, 13.2.2. It returns the status that ends the request, or
// 0. early says that the date is held back, see Date.
func Precondition(r *http.Request, tag string, date int64, early bool) int {
	if tags := Field(r, "If-Match"); tags != "" {
		if !strongMatch(tags, tag) {
			return http.StatusPreconditionFailed
		}
	} else if since := r.Header.Get("If-Unmodified-Since"); since != "" {
		if t, err := http.ParseTime(since); err == nil && t.Unix() < date {
			return http.StatusPreconditionFailed
		}
	}
	if tags := Field(r, "If-None-Match"); tags != "" {
		if NoneMatch(tags, tag[1:len(tag)-1]) {
			return http.StatusNotModified
		}
	} else if !early && SameDate(r.Header.Get("If-Modified-Since"), date) {
		return http.StatusNotModified
	}
	return 0
}
