package logbook

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Printable returns a text in one line: lines are joined by "; ", and what does not print is escaped. An error may quote
// a server, and a terminal would obey it.
func Printable(text string) string {
	var line strings.Builder
	for rest := strings.ReplaceAll(strings.TrimSpace(text), "\n", "; "); rest != ""; {
		r, size := utf8.DecodeRuneInString(rest)
		if r == utf8.RuneError && size == 1 || !strconv.IsPrint(r) {
			quoted := strconv.Quote(rest[:size])
			line.WriteString(quoted[1 : len(quoted)-1])
		} else {
			line.WriteString(rest[:size])
		}
		rest = rest[size:]
	}
	return line.String()
}
