package serve

import (
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strconv"
	"sync"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/wire"
)

// errChanged says that a file is no longer the one whose ETag was announced.
var errChanged = errors.New("the file changed while it was sent")

// file answers GET and HEAD of a URL without a slash at its end: the regular
// file there, or a redirection to the directory.
func (h *Handler) file(w http.ResponseWriter, r *http.Request, t *target) {
	f, info, err := h.openFile(t.path)
	if err != nil {
		h.noFile(w, r, t, info, err)
		return
	}
	defer f.Close()
	header := w.Header()
	tag := fileTag(info)
	date, open := fileDate(info.MTime, h.now())
	header["Etag"] = []string{tag}
	if text := httpDate(date); text != "" {
		header["Last-Modified"] = []string{text}
	}
	header["Cache-Control"] = []string{h.caching("public, no-cache")}
	header["Accept-Ranges"] = rangesBytes
	switch precondition(r, tag, date, open) {
	case http.StatusPreconditionFailed:
		h.refuse(w, http.StatusPreconditionFailed, "the file is another by now")
		return
	case http.StatusNotModified:
		h.notModified(w)
		return
	}
	header["Content-Type"] = []string{fileType(t.path)}
	header["Content-Security-Policy"] = sandbox
	h.sendFile(w, r, f)
}

// noFile answers where a URL without a slash names no regular file: if it is a
// directory by sending the client to the directory's URL.
func (h *Handler) noFile(w http.ResponseWriter, r *http.Request, t *target, info disk.Info, err error) {
	switch {
	case info.Kind == mtree.Dir && !h.hidden(t.path, true):
		h.redirect(w, r, http.StatusMovedPermanently, append(wire.AppendURLPath(nil, mtree.BaseName(t.path)), '/'))
	case mayBeLink(info, err) && !t.doubled:
		h.throughLink(w, r, t, mtree.ParentPath(t.path), err)
	default:
		h.fail(w, err)
	}
}

// throughLink sends the client to where the symlinks in a path lead, if that is
// a published directory; from is the directory of the URL asked. Listings are
// given under their own path only, so that nobody who goes down goes round in
// circles.
func (h *Handler) throughLink(w http.ResponseWriter, r *http.Request, t *target, from string, err error) {
	real, kind := h.resolve(t.path)
	if kind != mtree.Dir {
		h.fail(w, err)
		return
	}
	h.redirect(w, r, http.StatusFound, relative(from, real))
}

// openFile opens the regular file at path. Symlinks are followed as far as they
// stay in the root and lead to nothing hidden; what is opened then is exactly
// the path that was checked.
func (h *Handler) openFile(path string) (*disk.Regular, disk.Info, error) {
	for try := 1; ; try++ {
		f, info, err := h.openRegular(path)
		if err == nil || !mayBeLink(info, err) {
			return f, info, h.above(path, err)
		}
		real, kind := h.resolve(path)
		if kind == mtree.File {
			if f, info, again := h.openRegular(real); again == nil {
				return f, info, nil
			}
		}
		if kind == mtree.Dir || try == followTries {
			return nil, info, err
		}
	}
}

// followTries is how often a path with symlinks is followed that leads nowhere: one
// of them may have been replaced meanwhile.
const followTries = 3

// mayBeLink reports whether opening failed because of a symlink, as the last
// component or on the way.
func mayBeLink(info disk.Info, err error) bool {
	return info.Kind == mtree.Symlink || disk.IsLink(err)
}

// redirect sends the client to another URL of the tree. It is relative, so that
// it holds behind any prefix, and never begins with a slash, so that it cannot
// be another host's.
func (h *Handler) redirect(w http.ResponseWriter, r *http.Request, status int, href []byte) {
	location := string(href)
	if r.URL.RawQuery != "" {
		location += "?" + plainQuery(r.URL.RawQuery)
	}
	w.Header().Set("Location", location)
	w.Header().Set("Cache-Control", "no-cache")
	w.WriteHeader(status)
}

// precondition evaluates the conditional headers in the order of RFC 9110,
// 13.2.2, and returns the status that ends the request, or 0.
func precondition(r *http.Request, tag string, date int64, open bool) int {
	if tags := field(r, "If-Match"); tags != "" {
		if !strongMatch(tags, tag) {
			return http.StatusPreconditionFailed
		}
	} else if since := r.Header.Get("If-Unmodified-Since"); since != "" {
		if t, err := http.ParseTime(since); err == nil && t.Unix() < date {
			return http.StatusPreconditionFailed
		}
	}
	if tags := field(r, "If-None-Match"); tags != "" {
		if noneMatch(tags, tag[1:len(tag)-1]) {
			return http.StatusNotModified
		}
	} else if !open && sameDate(r.Header.Get("If-Modified-Since"), date) {
		return http.StatusNotModified
	}
	return 0
}

// sendFile sends the file or the ranges asked for.
func (h *Handler) sendFile(w http.ResponseWriter, r *http.Request, f *disk.Regular) {
	header, info := w.Header(), f.Info
	ranges, err := wantedRanges(r, info)
	if err != nil {
		header.Set("Content-Range", "bytes */"+strconv.FormatInt(info.Size, 10))
		h.refuse(w, http.StatusRequestedRangeNotSatisfiable, "no such range")
		return
	}
	out := &outgoing{h: h, w: w, file: f, strict: r.Header.Get("If-Match") != ""}
	switch {
	case r.Method == http.MethodHead:
		announce(w, info.Size)
		return
	case len(ranges) == 0:
		announce(w, info.Size)
		err = out.send(span{0, info.Size})
	case len(ranges) == 1:
		header["Content-Range"] = []string{ranges[0].contentRange(info.Size)}
		announce(w, ranges[0].length)
		w.WriteHeader(http.StatusPartialContent)
		err = out.send(ranges[0])
	default:
		err = out.sendParts(ranges)
	}
	h.cfg.Stats.Files.Add(1)
	h.cfg.Stats.FileBytes.Add(out.sent)
	if err != nil {
		h.abort(err)
	}
}

// outgoing is a file on its way to one client.
type outgoing struct {
	h      *Handler
	w      http.ResponseWriter
	file   *disk.Regular
	strict bool  // the client asked for exactly this state of the file
	sent   int64 // bytes
}

const (
	// heldBack bytes of a strict answer are sent after the file was checked
	// once more. Shorter files are sent from memory altogether.
	heldBack = 64 << 10
	// pieceSize is what is handed to sendfile(2) under one deadline: 17 KiB/s
	// is the slowest a client may read.
	pieceSize = 1 << 20
)

var heldBuffers = sync.Pool{New: func() any { return new([heldBack]byte) }}

// send sends one span of the file, by sendfile(2) but for the end of it. In a
// strict answer that end is sent only if the file still has its size and mtime
// after it was read: a client never gets all bytes of a file that changed
// meanwhile.
func (o *outgoing) send(s span) error {
	held := min(s.length, heldBack)
	if !o.strict && s.length > heldBack {
		held = 0
	}
	if err := o.stream(span{s.start, s.length - held}); err != nil || held == 0 {
		return err
	}
	give, err := o.keep()
	if err != nil {
		return err
	}
	defer give()
	buf := heldBuffers.Get().(*[heldBack]byte)
	defer heldBuffers.Put(buf)
	if n, err := o.file.ReadAt(buf[:held], s.start+s.length-held); int64(n) < held {
		return errors.Join(errChanged, err)
	}
	if o.strict {
		if err := o.unchanged(); err != nil {
			return err
		}
	}
	if held < s.length || o.sent > 0 {
		extend(o.w) // else it was done when the request came in
	}
	n, err := o.w.Write(buf[:held])
	o.sent += int64(n)
	return err
}

// keep counts the buffer of one answer. Beyond so many they are part of what is held
// for clients: nearly all are given back at once.
func (o *outgoing) keep() (give func(), err error) {
	h := o.h
	done := func() { h.tails.Add(-1) }
	if h.tails.Add(1) <= h.freeTails {
		return done, nil
	}
	one, err := h.held.take(&load{bytes: heldBack}, cutting(o.w))
	if err != nil {
		done()
		return nil, err
	}
	return func() { h.held.give(one); done() }, nil
}

// freeTails is how many buffers for files may be in use without being counted.
const freeTails = 256

// stream sends a span straight from the file. net/http turns the copy of a
// LimitedReader over a file into sendfile(2).
func (o *outgoing) stream(s span) error {
	if s.length == 0 {
		return nil
	}
	file := o.file.File()
	if _, err := file.Seek(s.start, io.SeekStart); err != nil {
		return err
	}
	for s.length > 0 {
		extend(o.w)
		part := min(s.length, pieceSize)
		n, err := io.Copy(o.w, &io.LimitedReader{R: file, N: part})
		o.sent += n
		if err == nil && n < part {
			err = errChanged
		}
		if err != nil {
			return err
		}
		s.length -= part
	}
	return nil
}

// unchanged returns errChanged if the file is no longer what was announced.
func (o *outgoing) unchanged() error {
	info, err := o.file.Stat()
	if err == nil && (info.Size != o.file.Size || info.MTime != o.file.MTime) {
		err = errChanged
	}
	return err
}

// sendParts sends several ranges as multipart/byteranges (RFC 9110, 14.6).
func (o *outgoing) sendParts(ranges []span) error {
	header := o.w.Header()
	kind := header.Get("Content-Type")
	parts := multipart.NewWriter(o.w)
	header.Set("Content-Type", "multipart/byteranges; boundary="+parts.Boundary())
	header.Set("Content-Length", strconv.FormatInt(partsLength(ranges, kind, o.file.Size, parts.Boundary()), 10))
	o.w.WriteHeader(http.StatusPartialContent)
	for _, s := range ranges {
		if _, err := parts.CreatePart(partHeader(s, kind, o.file.Size)); err != nil {
			return err
		}
		if err := o.send(s); err != nil {
			return err
		}
	}
	return parts.Close()
}

func partHeader(s span, kind string, size int64) textproto.MIMEHeader {
	return textproto.MIMEHeader{"Content-Type": {kind}, "Content-Range": {s.contentRange(size)}}
}

// partsLength returns the length of the whole multipart body.
func partsLength(ranges []span, kind string, size int64, boundary string) int64 {
	var count counter
	parts := multipart.NewWriter(&count)
	_ = parts.SetBoundary(boundary) // it came from such a writer
	for _, s := range ranges {
		_, _ = parts.CreatePart(partHeader(s, kind, size)) // a counter takes everything
		count += counter(s.length)
	}
	_ = parts.Close()
	return int64(count)
}

// counter is a Writer that counts bytes.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
