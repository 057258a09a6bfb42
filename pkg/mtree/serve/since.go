package serve

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/lister"
	"tidemark/pkg/mtree/serve/internal/negotiate"
	"tidemark/pkg/mtree/serve/internal/pages"
	"tidemark/pkg/mtree/serve/internal/render"
	"tidemark/pkg/mtree/wire"
)

// maxSince bounds one answer to ?since, in bytes before compression; what is
// left is told to the next request.
const maxSince = pages.MaxWhole

// since answers ?since=STAMP: one whole listing for each directory at or below
// this one whose stamp is above STAMP, parents first. A directory that changed
// has a stamp above every older stamp of its parents, so the walk goes down
// only where that is so.
//
// With &wait it is the long poll that passes any cache, for its condition is in
// the URL: nginx and varnish drop If-None-Match from what they might store. A
// time-out without that header is answered by no listing and the same #stamp.
func (h *Handler) since(w http.ResponseWriter, r *http.Request, v *view) {
	v.format, v.explicit = render.Text, true
	from, err := mtree.ParseStamp(v.query["since"])
	after := v.query["after"]
	if err != nil || mtree.CheckPath(after) != nil {
		h.send(w, v.base.refused(http.StatusBadRequest, "want ?txt&since=STAMP[&after=PATH][&wait=SECONDS]"))
		return
	}
	v.noStore = true
	end := differs
	if _, wait := v.waitOf(); wait {
		end = h.await(w, r, v, func(*disk.Dir) (bool, error) {
			return v.self.MTime != from || !v.snap.State.Prunes() || h.otherEpoch(r, v), nil
		})
	}
	if end == answered {
		return
	}
	if v.self, err = h.lookAt(v.snap, v.path); err != nil {
		h.fail(w, v.base, err)
		return
	}
	a := h.listingReply(v)
	a.policy = ""
	switch {
	case !v.snap.State.Prunes() || from.After(v.self.MTime) || h.otherEpoch(r, v):
		h.send(w, a.refused(http.StatusGone, "nothing is known since then: compare everything"))
	case end == timedOut && r.Header.Get("If-None-Match") != "":
		h.send(w, a.notModified())
	default:
		h.tellSince(w, r, v, a, from, after)
	}
}

func (h *Handler) lookAt(s *snapshot, path string) (disk.Info, error) {
	dir, err := h.openDir(path)
	if err != nil {
		return disk.Info{}, err
	}
	defer dir.Close()
	return h.lister(s).Self(dir, path)
}

// otherEpoch reports whether the client's stamps are of another epoch or tree:
// by ?epoch=N, or by an ETag of ours in If-None-Match.
func (h *Handler) otherEpoch(r *http.Request, v *view) bool {
	if epoch, given := v.query["epoch"]; given && epoch != strconv.FormatUint(v.snap.Tree.Epoch, 10) {
		return true
	}
	tags := negotiate.Field(r, "If-None-Match")
	return tags != "" && !negotiate.AnyTag(tags, func(tag string) bool {
		known, ok := wire.ParseListingTag(tag)
		return ok && known.Fingerprint == v.snap.e
	})
}

func (h *Handler) tellSince(w http.ResponseWriter, r *http.Request, v *view, a reply, from mtree.Stamp, after string) {
	if v.coding == render.Gzip {
		one, err := h.room.Take(&pages.Load{Bytes: render.GzipMemory}, cutting(w))
		if err != nil {
			h.fail(w, a, err)
			return
		}
		defer one.Give()
	}
	out := h.newSink(w, a)
	defer out.release()
	t := &telling{h: h, r: r, lister: h.lister(v.snap), root: v.path, from: from, after: after, out: out}
	var err error
	if v.self.MTime.After(from) {
		err = t.walk("", nil)
	}
	if err != nil && !out.sent {
		h.fail(w, a, err)
		return
	}
	if err == nil {
		trailer := mtree.Trailer{Stamp: v.self.MTime, More: t.cut, After: t.last}
		err = out.end(mtree.AppendTrailer(t.body, trailer))
	}
	if err != nil {
		h.abort(err)
	}
}

// telling is a walk for one answer to ?since.
type telling struct {
	h      *Handler
	r      *http.Request
	lister *lister.Lister
	root   string      // path of the directory that was asked
	from   mtree.Stamp // tell what is above
	after  string      // begin behind this path
	out    *sink
	body   []byte
	told   int    // bytes
	last   string // path of the last listing told
	cut    bool   // there is more
}

// walk tells the directory at path, relative to the one that was asked, and
// then those below it, in the order of their names. A directory that has gone
// or may not be read is passed over: its parent's listing, or an answer of its
// own, tells that. aside is the directory being read already, or nil.
func (t *telling) walk(path string, aside *reading) error {
	defer aside.drop()
	order := mtree.TreeOrder(path, t.after)
	if order < 0 && !isWithin(t.after, path) {
		return nil
	}
	if t.told > maxSince && t.last != "" {
		t.cut = true
		return nil
	}
	block, err := t.read(path, aside)
	switch {
	case path != "" && (disk.IsAbsent(err) || disk.IsDenied(err)):
		return nil
	case err == errBusy && t.last != "":
		t.cut = true
		return nil
	case err != nil:
		return err
	}
	if order > 0 || t.after == "" {
		if err := t.tell(path, block); err != nil {
			return err
		}
	}
	return t.walkEach(path, t.above(block.Below))
}

// walkEach walks directories of one, each while the next is read.
func (t *telling) walkEach(path string, names []string) error {
	var next *reading
	for i, name := range names {
		this := next
		if next = nil; i+1 < len(names) && t.told <= maxSince {
			next = t.readAside(mtree.JoinPath(path, names[i+1]))
		}
		if err := t.walk(mtree.JoinPath(path, name), this); err != nil || t.cut {
			next.drop()
			return err
		}
	}
	return nil
}

// reading is a directory being read by a goroutine of its own.
type reading struct {
	done  chan struct{}
	block *pages.Page
	err   error
}

// errLater says that a directory is too large to be read before it is told.
var errLater = errors.New("not read ahead")

// readAside begins to read the directory at path, nil if it is none that will be
// told.
func (t *telling) readAside(path string) *reading {
	if mtree.TreeOrder(path, t.after) < 0 {
		return nil
	}
	r := &reading{done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.block, r.err = t.readNow(path, true)
	}()
	return r
}

// drop waits for the end of a reading, whether it was needed or not. r may be
// nil.
func (r *reading) drop() {
	if r != nil {
		<-r.done
	}
}

// read returns the listing of the directory at path: what aside brings, unless
// it is nil or did not want to.
func (t *telling) read(path string, aside *reading) (*pages.Page, error) {
	if aside != nil {
		if <-aside.done; aside.err != errLater {
			return aside.block, aside.err
		}
	}
	return t.readNow(path, false)
}

// tell sends the listing of the directory at path.
func (t *telling) tell(path string, block *pages.Page) (err error) {
	t.last = path
	give, err := t.h.hold(t.out.w, block)
	if err != nil {
		return err
	}
	defer give()
	for _, piece := range block.Pieces {
		t.told += len(piece)
		if len(piece) < sinkPiece {
			t.body, err = t.out.write(append(t.body, piece...))
		} else {
			err = errors.Join(t.out.flush(t.body), t.out.flush(piece))
			t.body = t.body[:0]
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// above returns the directories to go down to.
func (t *telling) above(below []pages.Subdir) (names []string) {
	for _, dir := range below {
		if dir.Stamp.After(t.from) {
			names = append(names, dir.Name)
		}
	}
	return names
}

// sharedSize is the size of a directory, in bytes as stat tells them, from which on
// those who want it told at one time share its reading. Of a smaller one the reading
// takes little memory.
const sharedSize = 64 << 10

// readNow reads the directory at path; ahead of its turn only if it is not large.
func (t *telling) readNow(path string, ahead bool) (*pages.Page, error) {
	full := joined(t.root, path)
	dir, err := t.h.openDir(full)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	info, err := dir.Self()
	switch {
	case err != nil:
		return nil, err
	case info.Size <= min(sharedSize, t.h.largeSize):
		return t.block(dir, path, full, t.from)
	case info.Size > t.h.largeSize && ahead:
		return nil, errLater
	}
	key := pages.FlightKey{Key: blockKey(path, full), Fingerprint: t.h.tree.now().e}
	return t.h.share(t.r, key, pages.Time{}, func() (*pages.Page, error) {
		leave, err := t.h.passLarge(t.r, info.Size)
		if err != nil {
			return nil, err
		}
		defer leave()
		p, err := t.block(dir, path, full, mtree.MinStamp)
		if err != nil {
			return nil, err
		}
		return t.h.live.Same(p), nil
	})
}

// blockKey names the listing of the directory at full as it stands in an answer to
// ?since, under path.
func blockKey(path, full string) pages.Key {
	return pages.Key{Path: full, Format: render.Format("since " + path)}
}

// block renders the listing of one directory as it stands in an answer, with the
// directories in it whose stamps are above from.
func (t *telling) block(dir *disk.Dir, path, full string, from mtree.Stamp) (*pages.Page, error) {
	t.h.cfg.Stats.Listings.Add(1)
	l, err := t.lister.Read(dir, full)
	if err != nil {
		return nil, err
	}
	l.Path = path
	return blockOf(blockKey(path, full), &l, from), nil
}

// blockOf renders a listing as it stands in an answer.
func blockOf(key pages.Key, l *mtree.Listing, from mtree.Stamp) *pages.Page {
	p := pages.New(key, l, render.New(render.Text, l, render.Options{}), false)
	p.Below = pages.Subdirs(l, from)
	return p
}

// isWithin reports whether path is dir or below it.
func isWithin(path, dir string) bool {
	return dir == "" || path == dir || strings.HasPrefix(path, dir+"/")
}
