package serve

import (
	"io"
	"strings"

	"tidemark/pkg/mtree"
)

// maxReadme is how much of a README the page shows, in bytes.
const maxReadme = 64 << 10

// readmeNames are the names of a README in small letters, the preferred one first.
var readmeNames = []string{"readme.md", "readme.txt", "readme", "readme.rst"}

// readme is the text that the page of a directory shows; the zero value is none.
type readme struct{ name, text string }

// readReadme reads the README of a directory whose listing was read. One that cannot be read, or is no text, is
// not shown: the page is about the directory.
func (h *Handler) readReadme(q *dirRequest, l *mtree.Listing) readme {
	name := readmeIn(l)
	if name == "" {
		return readme{}
	}
	f, _, err := h.tree.OpenRegular(joined(q.path, name))
	if err != nil {
		return readme{}
	}
	defer f.Close()
	text := make([]byte, min(f.Size, maxReadme))
	n, err := f.ReadAt(text, 0)
	if err != nil && err != io.EOF {
		return readme{}
	}
	shown := string(text[:n])
	if strings.IndexByte(shown, 0) >= 0 {
		return readme{}
	}
	if f.Size > maxReadme {
		shown = strings.ToValidUTF8(shown, "") + "\n…"
	}
	return readme{name, shown}
}

// readmeIn returns the name of the README in a listing, "" if there is none.
func readmeIn(l *mtree.Listing) (name string) {
	best := len(readmeNames)
	for i := range l.Entries {
		e := &l.Entries[i]
		if e.Kind != mtree.File || len(e.Name) > len("readme.rst") || len(e.Name) < len("readme") {
			continue
		}
		low := strings.ToLower(e.Name)
		for rank, want := range readmeNames[:best] {
			if low == want {
				name, best = e.Name, rank
				break
			}
		}
	}
	return name
}
