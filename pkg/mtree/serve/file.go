package serve

import (
	"net/http"
	"strconv"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/serve/internal/negotiate"
	"tidemark/pkg/mtree/serve/internal/published"
	"tidemark/pkg/mtree/serve/internal/render"
	"tidemark/pkg/mtree/wire"
)

// file answers GET and HEAD of a URL without a slash at its end: with the regular file
// there, or with a redirection to the directory.
func (h *Handler) file(w http.ResponseWriter, r *http.Request, t *target) {
	f, real, info, err := h.tree.OpenFile(t.path)
	if err != nil {
		h.noFile(w, r, t, info, err)
		return
	}
	defer f.Close()
	date, early := negotiate.Date(info.MTime, h.now())
	a := &reply{at: treePath(h.tree.Now(), t.path), from: ledTo(t, real), tag: tagOf(info).String(), date: negotiate.HTTPDate(date), cache: h.caching("public, no-cache"), ranges: "bytes"}
	switch negotiate.Precondition(r, a.tag, date, early) {
	case http.StatusPreconditionFailed:
		// A change of which watch heard nothing, such as another hard link, moves no stamp:
		// a listing in the cache would name this tag until the next stamp.
		h.cache.Forget(mtree.ParentPath(t.path))
		h.send(w, a.refused(http.StatusPreconditionFailed, "the file is another by now"))
		return
	case http.StatusNotModified:
		h.send(w, a.notModified())
		return
	}
	a.kind, a.policy = render.FileType(t.path), "sandbox" // the file's scripts must not run as ours
	h.sendFile(w, r, f, a)
}

// noFile answers if a URL without a slash names no regular file. If it names a directory,
// the client is sent to the directory's URL.
func (h *Handler) noFile(w http.ResponseWriter, r *http.Request, t *target, info disk.Info, err error) {
	switch {
	case info.Kind == mtree.Dir && !h.tree.Hides(t.path, true):
		h.send(w, redirection(r, http.StatusMovedPermanently, append(wire.AppendURLPath(nil, mtree.BaseName(t.path)), '/')))
	case published.MayBeLink(info, err) && !t.doubled:
		h.throughLink(w, r, t, mtree.ParentPath(t.path), err)
	default:
		h.fail(w, &reply{}, err)
	}
}

// sendFile sends the file or the ranges that are asked for.
func (h *Handler) sendFile(w http.ResponseWriter, r *http.Request, f *disk.Regular, a *reply) {
	ranges, err := negotiate.Ranges(r, a.tag, f.Size)
	if err != nil {
		a.part = "bytes */" + strconv.FormatInt(f.Size, 10)
		h.send(w, a.refused(http.StatusRequestedRangeNotSatisfiable, "no such range"))
		return
	}
	if r.Method == http.MethodHead {
		h.send(w, a.withLength(f.Size))
		return
	}
	out := &transfer{h: h, w: w, file: f, strict: r.Header.Get("If-Match") != ""}
	switch len(ranges) {
	case 0:
		h.start(w, a.withLength(f.Size))
		err = out.send(negotiate.Span{Length: f.Size})
	case 1:
		a.status, a.part = http.StatusPartialContent, ranges[0].ContentRange(f.Size)
		h.start(w, a.withLength(ranges[0].Length))
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
