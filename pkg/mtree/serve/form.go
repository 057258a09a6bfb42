package serve

import (
	"bytes"
	"sync"

	"github.com/klauspost/compress/gzip"

	"tidemark/pkg/mtree"
)

// formatter renders one listing in one format, piece by piece, so that one of
// any length can be sent with little memory. Each method appends to dst.
type formatter interface {
	head(dst []byte) []byte
	row(dst []byte, e *mtree.Entry) []byte
	tail(dst []byte) []byte
}

func (h *Handler) formatter(v *view, l *mtree.Listing) formatter {
	switch v.format {
	case asJSON:
		return &jsonForm{Listing: l, follow: follower{h: h, path: v.path}}
	case asHTML:
		form := &htmlForm{Listing: l, follow: follower{h: h, path: v.path}, path: v.path}
		form.still = v.recent
		if !v.recent && v.stamped(l) && !l.Hot {
			form.tag = v.stampTag(l.Stamp, false)
		}
		return form
	}
	return textForm{l, v.recent}
}

func contentType(f format) string {
	switch f {
	case asJSON:
		return "application/json"
	case asHTML:
		return "text/html; charset=utf-8"
	}
	return mtree.ListingType
}

func (h *Handler) policy(f format) string {
	if f == asHTML {
		return h.pagePolicy
	}
	return noCSP
}

// textForm is the form that mirrors read; its codec is in package mtree.
type textForm struct {
	*mtree.Listing
	noSelf bool // no listing of one directory: it has no line of its own
}

func (f textForm) head(dst []byte) []byte {
	if f.noSelf {
		return dst
	}
	return mtree.AppendSelf(dst, *f.Listing)
}

func (f textForm) row(dst []byte, e *mtree.Entry) []byte { return mtree.AppendEntry(dst, e) }
func (f textForm) tail(dst []byte) []byte                { return mtree.AppendEnd(dst, len(f.Entries)) }

// gzipMemory is what a compressor takes, in bytes.
const gzipMemory = 1 << 20

// gzipWriters are expensive to make (about 800 KB of tables).
var gzipWriters = sync.Pool{New: func() any {
	z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level is valid
	return z
}}

// compress returns body in the gzip coding.
func compress(body []byte) []byte {
	z := gzipWriters.Get().(*gzip.Writer)
	defer gzipWriters.Put(z)
	var out bytes.Buffer
	out.Grow(len(body)/4 + 64)
	z.Reset(&out)
	_, _ = z.Write(body) // a bytes.Buffer takes everything
	_ = z.Close()
	return out.Bytes()
}
