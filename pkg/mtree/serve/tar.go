package serve

import (
	"errors"
	"net/http"
	"os"
	"slices"
	"sync"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/lister"
	"tidemark/pkg/mtree/serve/internal/pages"
	"tidemark/pkg/mtree/wire"
)

// sendTar sends the files named as a PAX tar stream with nanosecond times. What
// is missing, unreadable, no regular file, too large or changes meanwhile is
// left out: the client asks for it singly.
func (h *Handler) sendTar(w http.ResponseWriter, r *http.Request, v *view, paths []string) {
	out := h.newSink(w, h.bulkReply(v, wire.TarType))
	out.place = v.place
	buffer := tarBuffers.Get().(*[]byte)
	body := (*buffer)[:0]
	defer func() { putTarBuffer(buffer, body) }()
	for _, path := range paths {
		if err := r.Context().Err(); err != nil {
			h.abort(err)
		}
		grown, err := h.packSmall(body, path, joined(v.path, path))
		if err != nil {
			continue
		}
		h.cfg.Stats.Bulk.Add(1)
		if body, err = out.write(grown); err != nil {
			h.abort(err)
		}
	}
	if err := out.end(wire.AppendTarEnd(body)); err != nil {
		h.abort(err)
	}
}

// tarBuffers are for the pieces of answers to POST ?tar: growing a new one for
// each costs more than reading the files.
var tarBuffers = sync.Pool{New: func() any {
	buffer := make([]byte, 0, 2*sinkPiece)
	return &buffer
}}

// putTarBuffer gives a buffer back that has become body, unless one large file
// has made it so large that it would be held for nothing.
func putTarBuffer(buffer *[]byte, body []byte) {
	if cap(body) <= 4*sinkPiece {
		*buffer = body[:0]
		tarBuffers.Put(buffer)
	}
}

// packSmall appends a published regular file of at most wire.MaxBulkFile, read from
// full, to a tar stream under the name path; dst is as it was after an error.
// Cost: open as in OpenFilePath, pread, statx, close.
func (h *Handler) packSmall(dst []byte, path, full string) ([]byte, error) {
	if h.hidden(full, false) {
		return dst, os.ErrNotExist
	}
	f, info, err := h.openRegular(full)
	if err != nil {
		return dst, err
	}
	defer f.Close()
	if info.Size > wire.MaxBulkFile {
		return dst, wire.ErrTooManyPaths
	}
	return h.packOpen(dst, path, f)
}

// packOpen is packSmall for a file that is open.
func (h *Handler) packOpen(dst []byte, path string, f *disk.Regular) ([]byte, error) {
	grown := wire.AppendTarHeader(dst, h.member(path, mtree.File, f.Info, ""))
	start := len(grown)
	grown = slices.Grow(grown, int(f.Size)+wire.TarBlock)[:start+int(f.Size)]
	if _, err := f.ReadAt(grown[start:], 0); err != nil {
		return dst, errors.Join(errChanged, err)
	}
	if err := unchanged(f); err != nil {
		return dst, err
	}
	return wire.AppendTarPadding(grown, f.Size), nil
}

// member describes what stands in a tar stream under the name path; link is the
// target of a symlink. It names the owner only if listings do.
func (h *Handler) member(path string, kind mtree.Kind, info disk.Info, link string) *wire.TarMember {
	m := &wire.TarMember{Path: path, Kind: kind, Mode: info.Mode, MTime: info.MTime, CTime: info.CTime, Size: info.Size, Link: link}
	if h.cfg.Owner {
		m.UID, m.GID = info.UID, info.GID
	}
	return m
}

// subtree answers GET ?tar: everything published at or below the directory,
// files of any size, as "curl URL?tar | tar x" wants it.
func (h *Handler) subtree(w http.ResponseWriter, r *http.Request, v *view) {
	if !h.cfg.Tar {
		h.send(w, v.base.refused(http.StatusForbidden, "whole subtrees are given with serve --tar only"))
		return
	}
	if !h.ready(w, v) {
		return
	}
	leave, ok := h.enter(w, r, v)
	if !ok {
		return
	}
	defer leave()
	a := h.bulkReply(v, wire.TarType)
	if r.Method == http.MethodHead {
		h.send(w, a) // nothing is packed for nobody
		return
	}
	p := &packing{h: h, r: r, root: v.path, lister: h.lister(v.snap), out: h.newSink(w, a)}
	p.out.place = v.place
	err := p.dir("")
	if err != nil && !p.out.sent {
		h.fail(w, a, err)
		return
	}
	if err == nil && p.missed != nil {
		// All that can be read arrives, and no end: tar(1) says so.
		err = errors.Join(p.missed, p.out.flush(p.body), http.NewResponseController(w).Flush())
	} else if err == nil {
		err = p.out.end(wire.AppendTarEnd(p.body))
	}
	if err != nil {
		h.abort(err)
	}
}

// packing is a walk for one answer to GET ?tar.
type packing struct {
	h      *Handler
	r      *http.Request
	root   string
	lister *lister.Lister
	out    *sink
	body   []byte
	missed error // of the first that could not be read
}

// dir packs what is in the directory at path, relative to the one asked. One
// that has gone meanwhile is left out, one that may not be read is missed.
func (p *packing) dir(path string) error {
	full := joined(p.root, path)
	var l mtree.Listing
	d, err := p.h.openDir(full)
	if err == nil {
		l, err = p.lister.Read(d, full)
		_ = d.Close()
	}
	if err != nil {
		return p.without(path, err)
	}
	one, err := p.h.room.Take(&pages.Load{Bytes: listingMemory(&l)}, cutting(p.out.w))
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

// without goes on after an error about one path: gone is no loss, but what has
// become something else is.
func (p *packing) without(path string, err error) error {
	switch {
	case path == "":
		return err
	case !errors.Is(err, os.ErrNotExist) && p.missed == nil:
		p.missed = err
	}
	return nil
}

func (p *packing) entry(dir string, e *mtree.Entry) (err error) {
	path := mtree.JoinPath(dir, e.Name)
	if e.Kind == mtree.File {
		return p.file(path)
	}
	info := disk.Info{Mode: e.Mode, MTime: e.MTime, CTime: e.CTime, UID: e.UID, GID: e.GID}
	p.body = wire.AppendTarHeader(p.body, p.h.member(path, e.Kind, info, e.Link))
	if p.body, err = p.out.write(p.body); err != nil || e.Kind != mtree.Dir {
		return err
	}
	return p.dir(path)
}

// file packs one file. One that has gone meanwhile is left out, one that may
// not be read is missed; one that shrinks under way ends the stream: its header
// has been sent.
func (p *packing) file(path string) error {
	f, _, err := p.h.openRegular(joined(p.root, path))
	if err != nil {
		return p.without(path, err)
	}
	defer f.Close()
	return p.open(path, f)
}

// open packs one open file. One that changed while it was packed is missed: what has
// been sent of it is not the file that its header names.
func (p *packing) open(path string, f *disk.Regular) (err error) {
	info := f.Info
	p.body = wire.AppendTarHeader(p.body, p.h.member(path, mtree.File, info, ""))
	for at := int64(0); at < info.Size; {
		n := int(min(sinkPiece, info.Size-at))
		start := len(p.body)
		p.body = slices.Grow(p.body, n)[:start+n]
		if _, err := f.ReadAt(p.body[start:], at); err != nil {
			return errors.Join(errChanged, err)
		}
		at += int64(n)
		if p.body, err = p.out.write(p.body); err != nil {
			return err
		}
	}
	p.body = wire.AppendTarPadding(p.body, info.Size)
	if err := unchanged(f); err != nil {
		return p.without(path, err)
	}
	return nil
}
