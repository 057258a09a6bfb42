package wire

import (
	"fmt"
	"strconv"
	"strings"
)

// Entries is how much a tree has, as watch counted it in its last audit. For a reader it is about
// that: the tree changes, and a server may list less (docs/protocol.md, "Headers of a listing").
type Entries struct {
	Files       int64 `json:"files"`       // regular files, by their names: a file with two names counts twice
	Directories int64 `json:"directories"` // the root included
	Bytes       int64 `json:"bytes"`       // sizes of these files
}

// String returns the value of Tidemark-Entries: "FILES DIRECTORIES BYTES". ParseEntries is its
// inverse.
func (e Entries) String() string {
	return fmt.Sprintf("%d %d %d", e.Files, e.Directories, e.Bytes)
}

// ParseEntries reads what String wrote. More fields may follow one day. ok is false if the text makes
// no sense, or counts no directory: the root is one.
func ParseEntries(text string) (e Entries, ok bool) {
	fields := strings.Split(text, " ")
	if len(fields) < 3 {
		return e, false
	}
	for i, to := range []*int64{&e.Files, &e.Directories, &e.Bytes} {
		n, err := strconv.ParseUint(fields[i], 10, 62)
		if err != nil {
			return Entries{}, false
		}
		*to = int64(n)
	}
	return e, e.Directories > 0
}
