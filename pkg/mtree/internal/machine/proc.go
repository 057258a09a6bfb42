package machine

import (
	"strconv"
	"strings"

	"tidemark/pkg/mtree/internal/sys"
)

// readSmall returns a file of /proc without the blanks around its text.
func readSmall(path string) (string, error) {
	text, err := sys.ReadFile(path)
	return strings.TrimSpace(string(text)), err
}

// Umask reads the process's umask without setting it; 022 if it cannot be read.
func Umask() uint32 {
	text, err := readSmall("/proc/self/status")
	if err == nil {
		for line := range strings.Lines(text) {
			if value, ok := strings.CutPrefix(line, "Umask:"); ok {
				if mask, err := strconv.ParseUint(strings.TrimSpace(value), 8, 32); err == nil {
					return uint32(mask) & 0o777
				}
			}
		}
	}
	return 0o022
}
