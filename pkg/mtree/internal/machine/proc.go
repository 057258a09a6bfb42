package machine

import (
	"os"
	"strings"
)

// readSmall returns a file of /proc without the blanks around its text.
func readSmall(path string) (string, error) {
	text, err := os.ReadFile(path)
	return strings.TrimSpace(string(text)), err
}
