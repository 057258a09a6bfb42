package serve

import (
	"net/http"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/serve/internal/published"
	"tidemark/pkg/mtree/wire"
)

// redirection returns the answer that sends the client to another URL of the tree. The URL
// is relative, so that it holds under any prefix of a proxy, and never begins with a
// slash, so that it cannot be another host's.
func redirection(r *http.Request, status int, href []byte) *reply {
	location := string(href)
	if r.URL.RawQuery != "" {
		location += "?" + plainQuery(r.URL.RawQuery)
	}
	return &reply{status: status, location: location, cache: "no-cache"}
}

// throughLink sends the client to where the symlinks in a path lead, if a published
// directory is there; else it answers err. from is the directory of the URL. A listing is
// sent only under its own path, so that a client that descends never goes in circles.
func (h *Handler) throughLink(w http.ResponseWriter, r *http.Request, t *target, from string, err error) {
	real, kind, unsure := h.tree.Resolve(t.path)
	if unsure != nil {
		err = unsure
	}
	if kind != mtree.Dir {
		h.fail(w, &reply{}, err)
		return
	}
	h.send(w, redirection(r, http.StatusFound, published.Relative(from, real)))
}

// ledTo returns where the file is that symlinks in the path of t led to, relative to the URL
// as redirections are; "" if they led nowhere else. It tells a mirror that what was listed as
// a file is none by now.
func ledTo(t *target, real string) string {
	if real == t.path || t.doubled { // guard (always): serve.TestFilesBehindSymlinks, TestALinkThatTookAFilesPlace
		return ""
	}
	dir := published.Relative(mtree.ParentPath(t.path), mtree.ParentPath(real))
	return string(wire.AppendURLPath(dir, mtree.BaseName(real)))
}

// plainQuery returns a query as it came, but escapes bytes that no URL may have: a header
// never carries a control byte.
func plainQuery(raw string) string {
	dst := make([]byte, 0, len(raw))
	for i := range len(raw) {
		if c := raw[i]; ' ' < c && c < 0x7F {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return string(dst)
}

const upperHex = "0123456789ABCDEF"
