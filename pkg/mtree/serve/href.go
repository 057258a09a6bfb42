package serve

import "tidemark/pkg/mtree"

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
