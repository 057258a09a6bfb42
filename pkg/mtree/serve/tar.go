package serve

import (
	"archive/tar"
	"bufio"
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"unicode/utf8"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
)

// maxBulkFile is the largest file in an answer to POST ?tar, in bytes: each is
// held in memory as a whole, so that its header is never wrong. Larger ones are
// asked for singly, and sent by sendfile(2).
const maxBulkFile = 1 << 20

var bulkBuffers = sync.Pool{New: func() any { return new([maxBulkFile]byte) }}

// sendTar sends the files named as a PAX tar stream with nanosecond times. What
// is missing, unreadable, no regular file, too large or changes meanwhile is
// left out: the client asks for it singly.
func (h *Handler) sendTar(w http.ResponseWriter, r *http.Request, v *view, paths []string) {
	buffered := bufio.NewWriterSize(deadlined{w}, sinkPiece)
	archive := tar.NewWriter(buffered)
	buf := bulkBuffers.Get().(*[maxBulkFile]byte)
	defer bulkBuffers.Put(buf)
	for _, path := range paths {
		if r.Context().Err() != nil {
			return
		}
		info, err := h.readSmall(mtree.JoinPath(v.path, path), buf)
		if err != nil {
			continue
		}
		header := tarHeader(path, info, h.cfg.Owner)
		if err := archive.WriteHeader(header); err != nil {
			h.abort(err)
		}
		if _, err := archive.Write(buf[:info.Size]); err != nil {
			h.abort(err)
		}
		h.cfg.Stats.Bulk.Add(1)
	}
	if err := errors.Join(archive.Close(), buffered.Flush()); err != nil {
		h.abort(err)
	}
}

// deadlined gives the client new time for each piece.
type deadlined struct{ w http.ResponseWriter }

func (d deadlined) Write(p []byte) (int, error) {
	extend(d.w)
	return d.w.Write(p)
}

// readSmall reads a published regular file of at most maxBulkFile into buf.
// Cost: open as in OpenFilePath, pread, statx, close.
func (h *Handler) readSmall(path string, buf *[maxBulkFile]byte) (disk.Info, error) {
	if h.hidden(path, false) {
		return disk.Info{}, os.ErrNotExist
	}
	f, info, err := h.tree.root.OpenFilePath(path, h.cfg.CrossMounts)
	if err != nil {
		return info, err
	}
	defer f.Close()
	if info.Size > maxBulkFile {
		return info, errTooMany
	}
	if n, err := f.ReadAt(buf[:info.Size], 0); int64(n) < info.Size {
		return info, errors.Join(errChanged, err)
	}
	return info, stillThat(f, info)
}

// stillThat returns errChanged if the open file is no longer what it was.
func stillThat(f *os.File, was disk.Info) error {
	info, err := disk.StatFile(f)
	if err == nil && (info.Size != was.Size || info.MTime != was.MTime || info.CTime != was.CTime) {
		err = errChanged
	}
	return err
}

// tarHeader describes a file, directory or symlink. The ctime goes along, so
// that a mirror can tell that it got what was listed.
func tarHeader(path string, info disk.Info, owner bool) *tar.Header {
	header := &tar.Header{
		Typeflag:   tar.TypeReg,
		Name:       path,
		Size:       info.Size,
		Mode:       int64(info.Mode & 0o777),
		ModTime:    info.MTime.Time(),
		ChangeTime: info.CTime.Time(),
		Format:     tar.FormatPAX,
	}
	if owner {
		header.Uid, header.Gid = int(info.UID), int(info.GID)
	}
	if !utf8.ValidString(path) {
		binaryNames(header)
	}
	return header
}

// binaryNames says that the names of this entry are no UTF-8. bsdtar wants that
// and GNU tar grumbles about it, so it stands only where it is needed.
func binaryNames(header *tar.Header) {
	header.PAXRecords = map[string]string{"hdrcharset": "BINARY"}
}

// subtree answers GET ?tar: everything published at or below the directory,
// files of any size, as "curl URL?tar | tar x" wants it.
func (h *Handler) subtree(w http.ResponseWriter, r *http.Request, v *view) {
	if !h.cfg.Tar {
		h.refuse(w, http.StatusForbidden, "whole subtrees are given with serve --tar only")
		return
	}
	if !h.ready(w, v) {
		return
	}
	leave, ok := h.gate.enter(r)
	if !ok {
		h.refuse(w, http.StatusTooManyRequests, "too many of these requests at once")
		return
	}
	defer leave()
	header := w.Header()
	h.setTree(header, v.snap, v.self.MTime, v.now)
	header["Accept-Ranges"] = []string{"none"}
	header["Cache-Control"] = []string{"no-store"}
	header["Content-Type"] = []string{"application/x-tar"}
	buffered := bufio.NewWriterSize(deadlined{w}, sinkPiece)
	p := &packing{h: h, r: r, root: v.path, lister: h.lister(v.snap), tar: tar.NewWriter(buffered)}
	err := p.dir("")
	if err == nil {
		err = errors.Join(p.tar.Close(), buffered.Flush())
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
	lister *disk.Lister
	tar    *tar.Writer
}

// dir packs what is in the directory at path, relative to the one asked.
func (p *packing) dir(path string) error {
	full := joined(p.root, path)
	d, err := p.h.openDir(full)
	if err != nil {
		return err
	}
	l, err := p.lister.Read(d, full)
	_ = d.Close()
	if err != nil {
		return err
	}
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

func (p *packing) entry(dir string, e *mtree.Entry) error {
	path := mtree.JoinPath(dir, e.Name)
	header := tarHeader(path, disk.Info{
		Mode: e.Mode, MTime: e.MTime, CTime: e.CTime, UID: e.UID, GID: e.GID,
	}, p.h.cfg.Owner)
	switch e.Kind {
	case mtree.Symlink:
		header.Typeflag, header.Linkname = tar.TypeSymlink, e.Link
		if !utf8.ValidString(e.Link) {
			binaryNames(header)
		}
		return p.tar.WriteHeader(header)
	case mtree.Dir:
		header.Typeflag, header.Name = tar.TypeDir, path+"/"
		if err := p.tar.WriteHeader(header); err != nil {
			return err
		}
		return p.dir(path)
	}
	return p.file(path)
}

// file packs one file. One that has gone meanwhile is left out; one that
// changes size under way ends the stream: its header has been sent.
func (p *packing) file(path string) error {
	f, info, err := p.h.tree.root.OpenFilePath(joined(p.root, path), p.h.cfg.CrossMounts)
	if disk.IsAbsent(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if err := p.tar.WriteHeader(tarHeader(path, info, p.h.cfg.Owner)); err != nil {
		return err
	}
	n, err := io.Copy(p.tar, io.LimitReader(f, info.Size))
	if err == nil && n < info.Size {
		err = errChanged
	}
	return err
}
