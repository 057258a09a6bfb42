package negotiate

import (
	"net/http"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/serve/internal/render"
	"tidemark/pkg/mtree/wire"
)

// Date returns the Last-Modified of a directory with this stamp, or of a file with this mtime, in
// Unix seconds, and whether that is earlier: it never names a second that may not be over. A
// later stamp, or later contents, of that second may still come.
func Date(mtime, now mtree.Stamp) (sec int64, early bool) {
	sec, _ = mtime.Unix()
	last, _ := now.Add(-wire.ClockLag).Unix()
	if sec > last-1 {
		return last - 1, true
	}
	return sec, false
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
