package plan

import "strings"

// isSafeLink reports whether a symlink in the directory dir with this target stays within
// the copy, whatever other symlinks there are: the target is relative, has ".." only at
// its beginning, and at most as many of them as dir is deep.
func isSafeLink(dir, target string) bool {
	if target == "" || target[0] == '/' { // guard (without target[0]): TestUnsafeLinks
		return false
	}
	depth := 0
	if dir != "" {
		depth = strings.Count(dir, "/") + 1 // guard (without + 1): TestUnsafeLinks
	}
	leading := true
	for part := range strings.SplitSeq(target, "/") {
		if part != ".." {
			leading = leading && (part == "" || part == ".") // guard: TestUnsafeLinks
			continue
		}
		if depth--; !leading || depth < 0 { // guard (without depth < 0): TestUnsafeLinks
			return false
		}
	}
	return true
}
