package mirror

import "strings"

// safeLink reports whether a symlink in the directory dir with this target
// stays within the copy whatever is around it: relative, ".." only at its
// beginning, and no more of them than the link is deep.
func safeLink(dir, target string) bool {
	if target == "" || target[0] == '/' {
		return false
	}
	deep := 0
	if dir != "" {
		deep = strings.Count(dir, "/") + 1
	}
	leading := true
	for part := range strings.SplitSeq(target, "/") {
		if part != ".." {
			leading = leading && (part == "" || part == ".")
			continue
		}
		if deep--; !leading || deep < 0 {
			return false
		}
	}
	return true
}
