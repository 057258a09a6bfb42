package serve

import (
	"cmp"
	"errors"
	"net/http"
	"os"
	"slices"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/lister"
	"tidemark/pkg/mtree/serve/internal/pages"
	"tidemark/pkg/mtree/wire"
)

// subtree answers GET ?tar: all that is published at or below the directory, with files of
// any size, for "curl URL?tar | tar x".
func (h *Handler) subtree(w http.ResponseWriter, r *http.Request, q *dirRequest) {
	if !h.cfg.Tar {
		h.send(w, q.base().refused(http.StatusForbidden, "whole subtrees are given with serve --tar only"))
		return
	}
	if !h.ready(w, q) {
		return
	}
	leave, ok := h.enter(w, r, q)
	if !ok {
		return
	}
	defer leave()
	a := h.bulkReply(q, wire.TarType)
	a.file = "attachment; filename*=UTF-8''" + string(wire.AppendURLPath(nil, cmp.Or(mtree.BaseName(q.path), "tree"))) + ".tar"
	if r.Method == http.MethodHead {
		h.send(w, a) // no file is packed for a HEAD
		return
	}
	r, cut, end := untilCut(w, r)
	defer end()
	p := &packing{h: h, r: r, cut: cut, root: q.path, lister: h.tree.Lister(q.snap), out: h.newSink(w, a)}
	p.out.place = q.place
	err := p.dir("")
	if err != nil && !p.out.sent {
		h.fail(w, a, err)
		return
	}
	if err == nil && p.missed != nil {
		// All that can be read arrives, but no end: tar(1) reports that.
		err = errors.Join(p.missed, p.out.flush(p.body), http.NewResponseController(w).Flush())
	} else if err == nil {
		err = p.out.end(wire.AppendTarEnd(p.body))
	}
	if err != nil {
		h.abort(err)
	}
}

// packing is the walk for one answer to GET ?tar.
type packing struct {
	h      *Handler
	r      *http.Request
	cut    func() // ends the walk
	root   string // path of the directory that was asked about
	lister *lister.Lister
	out    *sink
	body   []byte // not yet in out
	missed error  // the error of the first file or directory that is missed
}

// dir packs what is in the directory at path, relative to the root of the walk. A
// directory that has gone meanwhile is left out; one that may not be read is missed.
func (p *packing) dir(path string) error {
	l, err := p.h.readDir(p.r, p.lister, joined(p.root, path))
	if err != nil {
		return p.without(path, err)
	}
	one, err := p.h.room.Take(&pages.Load{Bytes: listingMemory(&l)}, p.cut)
	if err != nil {
		return err
	}
	defer one.Give()
	for i := range l.Entries {
		if err := p.r.Context().Err(); err != nil {
			return err
		}
		if err := p.entry(path, &l.Entries[i]); err != nil {
			return err
		}
	}
	return nil
}

// without records err about one path and returns nil, so that the walk goes on; about the
// directory asked for it returns err. What has gone is not missed; what cannot be read,
// or has become something else, is.
func (p *packing) without(path string, err error) error {
	switch {
	case path == "":
		return err
	case !errors.Is(err, os.ErrNotExist) && p.missed == nil:
		p.missed = err
	}
	return nil
}

// entry packs one entry of the directory at path dir.
func (p *packing) entry(dir string, e *mtree.Entry) (err error) {
	path := mtree.JoinPath(dir, e.Name)
	if e.Kind == mtree.File {
		return p.file(path)
	}
	info := disk.Info{Mode: e.Mode, MTime: e.MTime, CTime: e.CTime, UID: e.UID, GID: e.GID}
	p.body = p.h.appendMember(p.body, path, e.Kind, &info, e.Link)
	if p.body, err = p.out.write(p.body); err != nil || e.Kind != mtree.Dir {
		return err
	}
	return p.dir(path)
}

// packTries is how often a small file that changes while it is packed is packed anew
// before it counts as missed.
const packTries = 5

// file packs one file. A file that has gone meanwhile is left out; one that may not be
// read is missed. A small file is packed as a whole before any of it is sent.
func (p *packing) file(path string) error {
	full := joined(p.root, path)
	for try := 1; ; try++ {
		f, info, err := p.h.tree.OpenRegular(full)
		if err != nil {
			return p.without(path, err)
		}
		if info.Size > sinkPiece {
			defer f.Close()
			return p.open(path, f)
		}
		p.body, err = p.h.packOpen(p.body, path, f)
		_ = f.Close()
		if err == nil {
			p.body, err = p.out.write(p.body)
			return err
		}
		if try == packTries {
			return p.without(path, err)
		}
	}
}

// open packs one large open file. A file that changed while it was packed is missed: what
// was sent is not the version that its header names. A file that shrinks ends the stream,
// because its header was sent already.
func (p *packing) open(path string, f *disk.Regular) (err error) {
	p.body = p.h.appendMember(p.body, path, mtree.File, &f.Info, "")
	f.AwaitWrite(p.h.now())
	for at := int64(0); at < f.Size; {
		n := int(min(sinkPiece, f.Size-at))
		start := len(p.body)
		p.body = slices.Grow(p.body, n)[:start+n]
		if _, err := f.ReadAt(p.body[start:], at); err != nil {
			return errors.Join(errChanged, err)
		}
		at += int64(n)
		if err := p.r.Context().Err(); err != nil { // guard: TestWhatWorksIsCutForOthers/GET_tar
			return err
		}
		if p.body, err = p.out.write(p.body); err != nil {
			return err
		}
	}
	p.body = wire.AppendTarPadding(p.body, f.Size)
	if err := unchanged(f); err != nil {
		return p.without(path, err)
	}
	return nil
}
