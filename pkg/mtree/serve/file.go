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
	"tidemark/pkg/mtree/serve/internal/negotiate"
	"tidemark/pkg/mtree/serve/internal/pages"
	"tidemark/pkg/mtree/wire"
)

// file answers GET and HEAD of a URL without a slash at its end: the regular
// file there, or a redirection to the directory.
func (h *Handler) file(w http.ResponseWriter, r *http.Request, t *target) {
	f, info, err := h.openFile(t.path)
	if err != nil {
		h.noFile(w, r, t, info, err)
		return
	}
	defer f.Close()
	date, open := negotiate.FileDate(info.MTime, h.now())
	a := reply{tag: tagOf(info).String(), date: negotiate.HTTPDate(date), cache: h.caching("public, no-cache"), ranges: "bytes"}
	switch negotiate.Precondition(r, a.tag, date, open) {
	case http.StatusPreconditionFailed:
		h.send(w, a.refused(http.StatusPreconditionFailed, "the file is another by now"))
		return
	case http.StatusNotModified:
		h.send(w, a.notModified())
		return
	}
	a.kind, a.policy = fileType(t.path), "sandbox" // its scripts are not ours
	h.sendFile(w, r, f, a)
}

// noFile answers where a URL without a slash names no regular file: if it is a
// directory by sending the client to the directory's URL.
func (h *Handler) noFile(w http.ResponseWriter, r *http.Request, t *target, info disk.Info, err error) {
	switch {
	case info.Kind == mtree.Dir && !h.hidden(t.path, true):
		h.send(w, redirection(r, http.StatusMovedPermanently, append(wire.AppendURLPath(nil, mtree.BaseName(t.path)), '/')))
	case mayBeLink(info, err) && !t.doubled:
		h.throughLink(w, r, t, mtree.ParentPath(t.path), err)
	default:
		h.fail(w, reply{}, err)
	}
}

// throughLink sends the client to where the symlinks in a path lead, if that is
// a published directory; from is the directory of the URL asked. Listings are
// given under their own path only, so that nobody who goes down goes round in
// circles.
func (h *Handler) throughLink(w http.ResponseWriter, r *http.Request, t *target, from string, err error) {
	real, kind := h.resolve(t.path)
	if kind != mtree.Dir {
		h.fail(w, reply{}, err)
		return
	}
	h.send(w, redirection(r, http.StatusFound, relative(from, real)))
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

// redirection sends the client to another URL of the tree. It is relative, so that
// it holds behind any prefix, and never begins with a slash, so that it cannot
// be another host's.
func redirection(r *http.Request, status int, href []byte) reply {
	location := string(href)
	if r.URL.RawQuery != "" {
		location += "?" + plainQuery(r.URL.RawQuery)
	}
	return reply{status: status, location: location, cache: "no-cache"}
}

// sendFile sends the file or the ranges asked for.
func (h *Handler) sendFile(w http.ResponseWriter, r *http.Request, f *disk.Regular, a reply) {
	ranges, err := negotiate.Ranges(r, a.tag, f.Size)
	if err != nil {
		a.part = "bytes */" + strconv.FormatInt(f.Size, 10)
		h.send(w, a.refused(http.StatusRequestedRangeNotSatisfiable, "no such range"))
		return
	}
	whole := a.withLength(f.Size)
	if r.Method == http.MethodHead {
		h.send(w, whole)
		return
	}
	out := &outgoing{h: h, w: w, file: f, strict: r.Header.Get("If-Match") != ""}
	switch len(ranges) {
	case 0:
		h.start(w, &whole)
		err = out.send(negotiate.Span{Length: f.Size})
	case 1:
		part := a.withLength(ranges[0].Length)
		part.status, part.part = http.StatusPartialContent, ranges[0].ContentRange(f.Size)
		h.start(w, &part)
		err = out.send(ranges[0])
	default:
		err = out.sendParts(a, ranges)
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
// strict answer that end is sent only if the file is unchanged after it was read.
func (o *outgoing) send(s negotiate.Span) error {
	held := min(s.Length, heldBack)
	if !o.strict && s.Length > heldBack {
		held = 0
	}
	if err := o.stream(negotiate.Span{Start: s.Start, Length: s.Length - held}); err != nil || held == 0 {
		return err
	}
	give, err := o.keep()
	if err != nil {
		return err
	}
	defer give()
	buf := heldBuffers.Get().(*[heldBack]byte)
	defer heldBuffers.Put(buf)
	if n, err := o.file.ReadAt(buf[:held], s.Start+s.Length-held); int64(n) < held {
		return errors.Join(errChanged, err)
	}
	if o.strict {
		if err := unchanged(o.file); err != nil {
			return err
		}
	}
	if held < s.Length || o.sent > 0 {
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
	one, err := h.room.Take(&pages.Load{Bytes: heldBack}, cutting(o.w))
	if err != nil {
		done()
		return nil, err
	}
	return func() { one.Give(); done() }, nil
}

// freeTails is how many buffers for files may be in use without being counted.
const freeTails = 256

// stream sends a span straight from the file. net/http turns the copy of a
// LimitedReader over a file into sendfile(2).
func (o *outgoing) stream(s negotiate.Span) error {
	if s.Length == 0 {
		return nil
	}
	file := o.file.File()
	if _, err := file.Seek(s.Start, io.SeekStart); err != nil {
		return err
	}
	for s.Length > 0 {
		extend(o.w)
		part := min(s.Length, pieceSize)
		n, err := io.Copy(o.w, &io.LimitedReader{R: file, N: part})
		o.sent += n
		if err == nil && n < part {
			err = errChanged
		}
		if err != nil {
			return err
		}
		s.Length -= part
	}
	return nil
}

// sendParts sends several ranges as multipart/byteranges (RFC 9110, 14.6).
func (o *outgoing) sendParts(a reply, ranges []negotiate.Span) error {
	kind := a.kind
	parts := multipart.NewWriter(o.w)
	a = a.withLength(partsLength(ranges, kind, o.file.Size, parts.Boundary()))
	a.status, a.kind = http.StatusPartialContent, "multipart/byteranges; boundary="+parts.Boundary()
	o.h.start(o.w, &a)
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

func partHeader(s negotiate.Span, kind string, size int64) textproto.MIMEHeader {
	return textproto.MIMEHeader{"Content-Type": {kind}, "Content-Range": {s.ContentRange(size)}}
}

// partsLength returns the length of the whole multipart body.
func partsLength(ranges []negotiate.Span, kind string, size int64, boundary string) int64 {
	var count counter
	parts := multipart.NewWriter(&count)
	_ = parts.SetBoundary(boundary) // it came from such a writer
	for _, s := range ranges {
		_, _ = parts.CreatePart(partHeader(s, kind, size)) // a counter takes everything
		count += counter(s.Length)
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
