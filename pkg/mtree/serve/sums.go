package serve

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"os"
	"sync"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/serve/internal/pages"
	"tidemark/pkg/mtree/wire"
)

// sumFlush is how long sums are gathered before they are sent: large files take long, and
// a client should see progress.
const sumFlush = time.Second

// dirSums answers GET ?sums: the files of one directory.
func (h *Handler) dirSums(w http.ResponseWriter, r *http.Request, q *dirRequest) {
	if !h.ready(w, q) {
		return
	}
	if r.Method == http.MethodHead {
		h.send(w, h.bulkReply(q, wire.SumsType)) // no file is hashed for a HEAD
		return
	}
	leave, ok := h.enter(w, r, q)
	if !ok {
		return
	}
	defer leave()
	l, err := h.readDir(r, h.tree.Lister(q.snap), q.path)
	if err != nil {
		h.fail(w, q.base(), err)
		return
	}
	var paths []string
	for i := range l.Entries {
		if l.Entries[i].Kind == mtree.File {
			paths = append(paths, l.Entries[i].Name)
		}
	}
	r, cut, end := untilCut(w, r)
	defer end()
	one, err := h.room.Take(&pages.Load{Bytes: listingMemory(&l)}, cut)
	if err != nil {
		h.fail(w, q.base(), err)
		return
	}
	defer one.Give()
	h.sendSums(w, r, q, paths)
}

// sendSums sends a line of sha256sum(1) for each file; with &tags a comment before it says
// which version of the file was hashed. A file that is missing, unreadable, not regular or
// changes meanwhile is left out.
func (h *Handler) sendSums(w http.ResponseWriter, r *http.Request, q *dirRequest, paths []string) {
	out := h.newSink(w, h.bulkReply(q, wire.SumsType))
	out.place = q.place
	var body []byte
	tags := q.has("tags")
	last := time.Now()
	for _, path := range paths {
		sum, info, err := h.sum(r.Context(), w, mtree.JoinPath(q.path, path))
		if err := r.Context().Err(); err != nil {
			h.abort(err)
		}
		if err != nil {
			continue
		}
		body = wire.AppendSum(body, &wire.Sum{Path: path, SHA256: sum, Tagged: tags, Tag: tagOf(info)})
		if time.Since(last) > sumFlush {
			last = time.Now()
			err = errors.Join(out.flush(body), http.NewResponseController(w).Flush())
			body = body[:0]
		} else {
			body, err = out.write(body)
		}
		if err != nil {
			h.abort(err)
		}
	}
	if err := out.end(body); err != nil {
		h.abort(err)
	}
}

// sum hashes one published regular file, and returns what it was. As many files are
// hashed at once as there are processors, for all requests together. While a request
// waits or hashes, the write deadline of w is extended: over HTTP/2 it ends the answer
// even while nothing is written.
func (h *Handler) sum(ctx context.Context, w http.ResponseWriter, path string) (sum [sha256.Size]byte, info disk.Info, err error) {
	if h.tree.Hides(path, false) {
		return sum, info, os.ErrNotExist
	}
	if err := h.enterHashing(ctx, w); err != nil {
		return sum, info, err
	}
	defer func() { <-h.hashing }()
	f, info, err := h.tree.OpenRegular(path)
	if err != nil {
		return sum, info, err
	}
	defer f.Close()
	sum, err = h.sumOpen(ctx, w, f)
	return sum, info, err
}

// sumOpen is sum for a file that is open.
func (h *Handler) sumOpen(ctx context.Context, w http.ResponseWriter, f *disk.Regular) (sum [sha256.Size]byte, err error) {
	var extended time.Time
	hash := sha256.New()
	buf := hashBuffers.Get().(*[hashBuffer]byte)
	defer hashBuffers.Put(buf)
	f.AwaitWrite(h.now())
	for at := int64(0); at < f.Size; {
		piece := buf[:min(int64(len(buf)), f.Size-at)]
		if _, err := f.ReadAt(piece, at); err != nil {
			return sum, errors.Join(errChanged, err)
		}
		hash.Write(piece)
		at += int64(len(piece))
		if err := ctx.Err(); err != nil {
			return sum, err
		}
		if time.Since(extended) > extendEvery {
			extended = time.Now()
			extend(w)
		}
	}
	if err := unchanged(f); err != nil {
		return sum, err
	}
	h.cfg.Stats.Sums.Add(1)
	hash.Sum(sum[:0])
	return sum, nil
}

// enterHashing waits for a slot in hashing.
func (h *Handler) enterHashing(ctx context.Context, w http.ResponseWriter) error {
	select {
	case h.hashing <- struct{}{}:
		return nil
	default:
	}
	tick := time.NewTicker(extendEvery)
	defer tick.Stop()
	for {
		extend(w)
		select {
		case h.hashing <- struct{}{}:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

const hashBuffer = 128 << 10 // bytes

var hashBuffers = sync.Pool{New: func() any { return new([hashBuffer]byte) }}
