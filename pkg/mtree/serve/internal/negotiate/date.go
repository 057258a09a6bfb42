package negotiate

import (
	"net/http"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/serve/internal/render"
	"tidemark/pkg/mtree/wire"
)

// DirDate returns the Last-Modified of a directory in Unix seconds, and whether that is
// earlier than its stamp: it never names a second that may not be over. A later stamp of
// that second may still come.
func DirDate(mtime, now mtree.Stamp) (sec int64, early bool) {
	sec, _ = mtime.Unix()
	last, _ := now.Add(-wire.ClockLag).Unix()
	if sec > last-1 {
		return last - 1, true
	}
	return sec, false
}

// FileDate returns the Last-Modified of a file in Unix seconds, and whether later
// contents may still get the same date.
func FileDate(mtime, now mtree.Stamp) (sec int64, open bool) {
	sec, _ = mtime.Unix()
	today, _ := now.Unix()
	settled, _ := now.Add(-wire.ClockLag).Unix()
	return min(sec, today), sec >= settled
}

// HTTPDate formats Unix seconds for a header. Dates before 1970 and after 9999, which
// clients are known to misread, give "".
func HTTPDate(sec int64) string {
	const endOf9999 = 253402300799
	if sec < 0 || sec > endOf9999 {
		return ""
	}
	return string(render.AppendHTTPDate(make([]byte, 0, len(http.TimeFormat)), mtree.Unix(sec, 0)))
}

// SameDate reports whether the date in a header is exactly this second.
func SameDate(header string, sec int64) bool {
	if header == "" {
		return false
	}
	t, err := http.ParseTime(header)
	return err == nil && t.Unix() == sec
}
