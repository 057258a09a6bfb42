package serve

import (
	"fmt"
	"net/http"
	"strings"

	"tidemark/pkg/mtree"
)

// target is what a request asks for.
type target struct {
	path  string // below the root, decoded, no slash at either end; "" is the root
	slash bool   // the URL ends in a slash: a directory is meant
	query map[string]string

	doubled bool // there were doubled slashes: what is relative to the URL is not to the path
}

// parseTarget reads the URL as it was sent: each component is decoded by
// itself, so an encoded slash stays part of a name (which no entry has), and
// any other byte may stand raw or escaped. Doubled slashes count as one and "."
// as nothing, as with nginx: apt asks for "repo/./Packages". Errors wrap mtree.ErrName.
func parseTarget(r *http.Request) (target, error) {
	raw := r.URL.EscapedPath()
	t := target{slash: strings.HasSuffix(raw, "/") || strings.HasSuffix(raw, "/.") || raw == "", query: parseQuery(r.URL.RawQuery)}
	t.doubled = strings.Contains(raw, "//")
	for part := range strings.SplitSeq(raw, "/") {
		if part == "" || part == "." {
			continue
		}
		name, err := mtree.UnescapeName(part)
		if err != nil {
			return t, err
		}
		if err := mtree.CheckName(name); err != nil {
			return t, err
		}
		if t.path = mtree.JoinPath(t.path, name); len(t.path) > maxPath {
			return t, errLong
		}
	}
	return t, nil
}

// maxPath is the longest path that can be opened, in bytes: PATH_MAX without the
// NUL. Thirty thousand components take seconds to look at, so it is not begun.
const maxPath = 4095

var errLong = fmt.Errorf("%w: a path of more than %d bytes", mtree.ErrName, maxPath)

// parseQuery splits at "&" and decodes %XX and nothing else: a plus sign is a
// plus sign, as in a listing. Of a key given twice the first counts.
func parseQuery(raw string) map[string]string {
	if raw == "" {
		return nil
	}
	query := make(map[string]string, 2)
	for part := range strings.SplitSeq(raw, "&") {
		key, value, _ := strings.Cut(part, "=")
		if plain, err := mtree.UnescapeName(value); err == nil {
			value = plain
		}
		if _, twice := query[key]; !twice {
			query[key] = value
		}
	}
	return query
}

// has reports whether the query names key, with a value or without.
func (t *target) has(key string) bool {
	_, ok := t.query[key]
	return ok
}
