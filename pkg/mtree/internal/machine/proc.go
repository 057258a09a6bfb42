package machine

import (
	"strings"

	"tidemark/pkg/mtree/internal/sys"
)

// readSmall returns a file of /proc without the blanks around its text.
func readSmall(path string) (string, error) {
	text, err := sys.ReadFile(path)
	return strings.TrimSpace(string(text)), err
}
