package serve

import (
	"errors"
	"net/http"
	"os"
	"slices"
	"sync"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/wire"
)

// sendTar sends these files as a PAX tar stream with nanosecond times. A file that is
// missing, unreadable, not regular, too large or changes meanwhile is left out: the client
// asks for it alone.
func (h *Handler) sendTar(w http.ResponseWriter, r *http.Request, q *dirRequest, paths []string) {
	out := h.newSink(w, h.bulkReply(q, wire.TarType))
	out.place, out.piece = q.place, tarPiece
	buffer := tarBuffers.Get().(*[]byte)
	body := (*buffer)[:0]
	defer func() { putTarBuffer(buffer, body) }()
	for _, path := range paths {
		if err := r.Context().Err(); err != nil {
			h.abort(err)
		}
		grown, err := h.packSmall(body, path, joined(q.path, path))
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

// tarBuffers are for the pieces of answers to POST ?tar: to grow a new one for each answer
// costs more than reading the files.
var tarBuffers = sync.Pool{New: func() any {
	buffer := make([]byte, 0, tarPiece+sinkPiece)
	return &buffer
}}

// putTarBuffer gives back a buffer, which grew into body, unless a large file made it so
// large that it would waste memory.
func putTarBuffer(buffer *[]byte, body []byte) {
	if cap(body) <= 2*tarPiece {
		*buffer = body[:0]
		tarBuffers.Put(buffer)
	}
}

// errTooLarge says that a file is not sent in a tar stream.
var errTooLarge = errors.New("too large for a tar stream")

// packSmall appends a published regular file of at most wire.MaxBulkFile, read from full,
// to a tar stream under the name path. After an error it returns dst as it was. Cost:
// open as in OpenFilePath, pread, statx, close.
func (h *Handler) packSmall(dst []byte, path, full string) ([]byte, error) {
	if h.tree.Hides(full, false) {
		return dst, os.ErrNotExist
	}
	f, info, err := h.tree.OpenRegular(full)
	if err != nil {
		return dst, err
	}
	defer f.Close()
	if info.Size > wire.MaxBulkFile {
		return dst, errTooLarge
	}
	return h.packOpen(dst, path, f)
}

// packOpen does the same for an open file.
func (h *Handler) packOpen(dst []byte, path string, f *disk.Regular) ([]byte, error) {
	grown := h.appendMember(dst, path, mtree.File, &f.Info, "")
	start := len(grown)
	grown = slices.Grow(grown, int(f.Size)+wire.TarBlock)[:start+int(f.Size)]
	f.AwaitWrite(h.now())
	if _, err := f.ReadAt(grown[start:], 0); err != nil {
		return dst, errors.Join(errChanged, err)
	}
	if err := unchanged(f); err != nil {
		return dst, err
	}
	return wire.AppendTarPadding(grown, f.Size), nil
}

// appendMember appends the tar header of the member path; link is the target of a
// symlink. It names the owner only if listings do.
func (h *Handler) appendMember(dst []byte, path string, kind mtree.Kind, info *disk.Info, link string) []byte {
	m := wire.TarMember{Path: path, Kind: kind, Mode: info.Mode, MTime: info.MTime, CTime: info.CTime, Size: info.Size, Link: link}
	if h.cfg.Owner {
		m.UID, m.GID = info.UID, info.GID
	}
	return wire.AppendTarHeader(dst, &m)
}
