package serve

import (
	"net/http"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/wire"
)

// target is what the URL of a request names.
type target struct {
	path  string // below the root, decoded, no slash at either end; "" is the root
	slash bool   // the URL ends in a slash: it means a directory
	query wire.Query

	doubled bool // slashes were doubled: hrefs relative to the URL are not relative to the path
}

// parseTarget reads the URL as it was sent. Errors wrap mtree.ErrName.
func parseTarget(r *http.Request) (target, error) {
	at, err := wire.ParseURLPath(r.URL.EscapedPath())
	return target{path: at.Path, slash: at.Dir, doubled: at.Doubled, query: wire.ParseQuery(r.URL.RawQuery)}, err
}

// has reports whether the query names key, with a value or without.
func (t *target) has(key string) bool { return t.query.Has(key) }

// joined returns path below dir; either may be "".
func joined(dir, path string) string {
	if path == "" {
		return dir
	}
	return mtree.JoinPath(dir, path)
}
