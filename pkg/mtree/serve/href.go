package serve

import "tidemark/pkg/mtree"

// appendHref appends a name, or a path of names, percent-encoded but for
// A-Za-z0-9-._~ and the slashes between: no client reads a scheme, a query or
// an entity into that.
func appendHref(dst []byte, name string) []byte {
	for i := range len(name) {
		c := name[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '.', c == '_', c == '~', c == '/':
			dst = append(dst, c)
		default:
			dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return dst
}

// plainQuery returns a query as it came, with what no URL holds escaped: a
// header of ours never carries a control byte.
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

// joined returns path below dir; either may be "".
func joined(dir, path string) string {
	if path == "" {
		return dir
	}
	return mtree.JoinPath(dir, path)
}
