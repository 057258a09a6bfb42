package changed

import (
	"strings"

	"tidemark/pkg/mtree"
)

// joined returns path below dir; either may be "".
func joined(dir, path string) string {
	if path == "" {
		return dir
	}
	return mtree.JoinPath(dir, path)
}

// beneath returns the path of dir relative to root, which is dir or above it.
func beneath(root, dir string) string {
	switch {
	case root == "":
		return dir
	case dir == root:
		return ""
	}
	return dir[len(root)+1:]
}

// isWithin reports whether path is dir or below it.
func isWithin(path, dir string) bool {
	return dir == "" || path == dir || strings.HasPrefix(path, dir+"/")
}

// isBelow reports whether path is below dir.
func isBelow(path, dir string) bool { return path != dir && isWithin(path, dir) }

// towards returns the directory in dir that is above path, or path.
func towards(dir, path string) string {
	from := len(dir)
	if dir != "" {
		from++
	}
	if n := strings.IndexByte(path[from:], '/'); n >= 0 {
		return path[:from+n]
	}
	return path
}
