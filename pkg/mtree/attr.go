package mtree

import (
	"fmt"
	"strings"
)

// eachAttr calls set for each key=value, values unescaped.
func eachAttr(attrs string, set func(key, value string) error) error {
	if len(attrs) == 0 {
		return nil
	}
	for field := range strings.SplitSeq(attrs, "\t") {
		key, escaped, ok := strings.Cut(field, "=")
		if !ok || !isKey(key) {
			return fmt.Errorf("attribute %.60q is not KEY=VALUE", field)
		}
		value, err := UnescapeName(escaped)
		if err != nil {
			return err
		}
		if err := set(key, value); err != nil {
			return err
		}
	}
	return nil
}

// isKey reports whether key is [A-Za-z][a-z0-9]*.
func isKey(key string) bool {
	for i := range len(key) {
		c := key[i]
		if !('a' <= c && c <= 'z' || i == 0 && isCapital(key) || i > 0 && isDigit(c)) {
			return false
		}
	}
	return key != ""
}

// isCapital reports whether key must be understood by a reader.
func isCapital(key string) bool { return 'A' <= key[0] && key[0] <= 'Z' }
