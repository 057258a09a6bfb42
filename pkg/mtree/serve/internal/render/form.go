package render

import (
	"slices"

	"tidemark/pkg/mtree"
)

// Form renders one listing in one format, piece by piece, so that a listing of any length
// can be sent with little memory. Each method appends to dst.
type Form interface {
	Head(dst []byte) []byte
	Row(dst []byte, e *mtree.Entry) []byte
	Tail(dst []byte) []byte
}

// New returns the form of a listing in a format.
func New(f Format, l *mtree.Listing, o Options) Form {
	links := links{follow: o.Follow}
	switch f {
	case JSON:
		return &jsonForm{Listing: l, links: links}
	case HTML, Preview:
		return &htmlForm{Listing: l, links: links, o: &o, pictures: f == Preview}
	}
	return textForm{l, o.Search, o.More}
}

// UpTo appends the beginning of a body, most bytes or a little more, to dst, and returns
// the entries that did not fit. If none are left, Tail must follow.
func UpTo(dst []byte, most int, form Form, entries []mtree.Entry) (body []byte, rest []mtree.Entry) {
	body = form.Head(slices.Grow(dst, 1024+min(most, 128*len(entries))))
	for i := range entries {
		if len(body) >= most {
			return body, entries[i:]
		}
		body = form.Row(body, &entries[i])
	}
	return body, nil
}

// textForm is the form that mirrors read; its codec is in package mtree.
type textForm struct {
	*mtree.Listing
	noSelf bool // there is no line for the directory itself
	more   bool // it is not all
}

func (f textForm) Head(dst []byte) []byte {
	if f.noSelf {
		return dst
	}
	return mtree.AppendSelf(dst, *f.Listing)
}

func (f textForm) Row(dst []byte, e *mtree.Entry) []byte { return mtree.AppendEntry(dst, e) }

func (f textForm) Tail(dst []byte) []byte {
	if f.more {
		dst = append(dst, "#more\n"...)
	}
	return mtree.AppendEnd(dst, len(f.Entries))
}
