package mtree

import (
	"fmt"
	"strings"
)

// Trailer is the line that ends an answer to "changes since".
type Trailer struct {
	Stamp Stamp  // everything up to here was sent
	More  bool   // the answer was cut: ask again with after=After
	After string // path of the last directory that was sent
}

// AppendTrailer appends the line that ends an answer to "changes since".
func AppendTrailer(dst []byte, t Trailer) []byte {
	if !t.More {
		return append(t.Stamp.Append(append(dst, "#stamp "...)), '\n')
	}
	dst = append(t.Stamp.Append(append(dst, "#more "...)), ' ')
	for i := 0; ; {
		part, rest, found := strings.Cut(t.After[i:], "&")
		dst = AppendEscaped(dst, part)
		if !found {
			return append(dst, '\n')
		}
		dst = append(dst, "%26"...) // a reader puts the path into a query as it is
		i = len(t.After) - len(rest)
	}
}

// parseTrailer is the inverse of AppendTrailer, without the LF; is says whether the
// line is a trailer at all.
func parseTrailer(line string) (t Trailer, is bool, err error) {
	if rest, ok := strings.CutPrefix(line, "#stamp "); ok {
		t.Stamp, err = ParseStamp(rest)
		return t, true, err
	}
	rest, ok := strings.CutPrefix(line, "#more ")
	if !ok {
		return Trailer{}, false, nil
	}
	stamp, path, ok := strings.Cut(rest, " ")
	if !ok {
		return Trailer{}, false, fmt.Errorf("want #more STAMP PATH, got %.60q", line)
	}
	t.More = true
	if t.Stamp, err = ParseStamp(stamp); err == nil {
		t.After, err = parsePath(path + "/")
	}
	return t, true, err
}
