package mtree

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
)

// FormatListing returns the text form of l, described in the package
// documentation. ParseListing is its inverse, but refuses a part. The entries must be in
// order, and the names that are gone.
func FormatListing(l Listing) []byte { return AppendListing(nil, l) }

// AppendListing appends the text form of l to dst.
func AppendListing(dst []byte, l Listing) []byte {
	dst = AppendSelf(dst, l)
	gone := l.Gone
	for i := range l.Entries {
		for len(gone) > 0 && gone[0] < l.Entries[i].Name {
			dst, gone = AppendGone(dst, gone[0]), gone[1:]
		}
		dst = AppendEntry(dst, &l.Entries[i])
	}
	for _, name := range gone {
		dst = AppendGone(dst, name)
	}
	return AppendEnd(dst, len(l.Entries)+len(l.Gone))
}

// AppendEnd appends the end mark of a listing of n entries, or of a part of n entries and
// names that are gone.
func AppendEnd(dst []byte, n int) []byte {
	dst = strconv.AppendInt(append(dst, "#end "...), int64(n), 10)
	return append(dst, '\n')
}

// shortLine is shorter than any line of an entry, in bytes: two stamps alone are
// longer. It bounds how many entries get memory before they are read.
const shortLine = 32

// ParseListing reads exactly one whole listing. Errors wrap ErrListing; a text
// cut short gives ErrTruncated. A part is an error: ParseAny and a Decoder read those.
//
// Cost: a copy of the text, which the names share, and room for the entries.
func ParseListing(text []byte) (Listing, error) { return parseListing(text, false) }

// ParseAny is ParseListing for who understands parts.
func ParseAny(text []byte) (Listing, error) { return parseListing(text, true) }

func parseListing(text []byte, parts bool) (Listing, error) {
	d := &Decoder{
		Parts: parts,
		text:  string(text),
		guess: max(min(bytes.Count(text, []byte{'\n'})-2, len(text)/shortLine), 0),
	}
	l, err := d.Next()
	if err == io.EOF {
		return Listing{}, ErrTruncated
	}
	if err != nil {
		return Listing{}, err
	}
	if _, err := d.Next(); err != io.EOF {
		return Listing{}, fmt.Errorf("%w: text after the #end line", ErrListing)
	}
	return l, nil
}
