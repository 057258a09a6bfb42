package autoindex

import (
	"bytes"
	"fmt"
	"strings"

	"tidemark/pkg/mtree"
)

// Accept is a value of the Accept header: it asks for the exact formats first.
const Accept = "application/json, text/html;q=0.9, */*;q=0.1"

// MaxText bounds a listing in bytes: it is held as a whole.
const MaxText = 64 << 20

// RoomFor returns how much memory the entries of a listing take while it is parsed, in
// bytes, besides its text. Whatever the text, it has at most as many entries as it has of
// these marks.
func RoomFor(text []byte) int {
	count := func(mark string) int { return bytes.Count(text, []byte(mark)) }
	const entry, element = 400, 110
	elements := count("<file") + count("<dir") + count(":file") + count(":dir") // the latter with a name space
	return max(entry*(count("<a")+count("<A")), entry*elements, entry*count("{"), element*count(","))
}

// Parse reads a listing. contentType says in which format it is; path is the escaped
// path of the URL that was asked. It returns the entries in the order in which the text
// has them, and how well each is known; files have a size only if it is exact. Times
// without a zone are read as UTC. A name may occur twice. Errors wrap mtree.ErrListing.
func Parse(text []byte, contentType, path string) ([]mtree.Entry, map[string]Bounds, error) {
	entries, known, err := parse(bytes.TrimSpace(text), contentType, path)
	if err == nil {
		err = refuseCut(text, contentType, len(known))
	}
	if err != nil {
		return nil, nil, err
	}
	return entries, known, nil
}

func parse(text []byte, contentType, path string) ([]mtree.Entry, map[string]Bounds, error) {
	switch {
	case isJSON(contentType) && bytes.HasPrefix(text, []byte("[")):
		return parseJSON(text)
	case strings.HasPrefix(contentType, "text/xml"), strings.HasPrefix(contentType, "application/xml"):
		return parseXML(text)
	case isHTML(contentType):
		return parseHTML(text, path)
	}
	return nil, nil, fmt.Errorf("%w: neither text, JSON, XML nor HTML that lists a directory", mtree.ErrListing)
}
