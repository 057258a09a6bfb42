package sourcetest

import (
	"context"
	"crypto/sha256"
	"io"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/source"
)

// openFile opens a file in the version that demand asks for.
func (t *Tree) openFile(ctx context.Context, cut error, w *source.Wanted, demand source.Demand) (source.Opened, error) {
	t.yield("open " + quoted(w.Path))
	n, err := t.open(w.Path)
	switch {
	case err != nil:
		return source.Opened{}, err
	case n.kind != mtree.File:
		return source.Opened{}, source.ErrGone
	case n.denied && !t.trusted:
		return source.Opened{}, source.ErrDenied
	}
	got := n.entry(w.Name)
	if demand == source.AsListed && !source.SameFile(w.Entry, &got) {
		return source.Opened{}, source.ErrMoved
	}
	b := &body{tree: t, ctx: ctx, path: w.Path, n: n, got: got, loose: demand == source.AsIs, cut: cut}
	if b.loose {
		got.Size = -1
	}
	return source.Opened{File: source.File{Got: got, Body: b}, Failed: &b.failed, Close: func() {}}, nil
}

// body gives a file in two parts; a large one in more. Between them others may change it.
type body struct {
	tree   *Tree
	ctx    context.Context
	path   string
	n      *node
	got    mtree.Entry // as it was opened
	loose  bool        // any version will do
	cut    error       // the connection ends after the first part; nil: it does not
	read   string
	parts  int
	more   bool // the second part did not fit into a buffer
	failed error
}

// Read keeps its error in b.failed.
func (b *body) Read(buf []byte) (n int, err error) {
	n, err = b.next(buf)
	if err != nil && err != io.EOF {
		b.failed = err
	}
	return n, err
}

func (b *body) next(buf []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	b.parts++
	b.tree.yield("part of " + quoted(b.path))
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	text, now := b.n.text, b.n.entry(b.got.Name)
	switch {
	case b.parts == 1 && len(text) > 3:
		b.read = text[:3]
		return copy(buf, b.read), nil
	case b.parts == 2 && b.cut != nil:
		return 0, b.cut
	case len(b.read) < len(text) && (b.parts == 2 || b.more):
		n := copy(buf, text[len(b.read):])
		b.read += text[len(b.read):][:n]
		b.more = len(b.read) < len(text)
		return n, nil
	case !b.loose && !source.SameFile(&b.got, &now):
		return 0, source.ErrMoved
	}
	b.tree.mu.Lock()
	defer b.tree.mu.Unlock()
	b.tree.gave[b.path+"\x00"+b.read] = true
	return 0, io.EOF
}

// sum returns the sum of a file; false if it may not be read.
func (t *Tree) sum(path string) (source.Sum, bool) {
	t.yield("sum of " + quoted(path))
	n, err := t.open(path)
	if err != nil || n.kind != mtree.File || n.denied && !t.trusted {
		return source.Sum{}, false
	}
	is := n.entry(mtree.BaseName(path))
	return source.Sum{SHA256: sha256.Sum256([]byte(n.text)), File: is, Known: true}, true
}
