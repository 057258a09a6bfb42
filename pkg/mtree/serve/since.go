package serve

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
)

// maxSince bounds one answer to ?since, in bytes before compression; what is
// left is told to the next request.
const maxSince = maxWhole

// since answers ?since=STAMP: one whole listing for each directory at or below
// this one whose stamp is above STAMP, parents first. A directory that changed
// has a stamp above every older stamp of its parents, so the walk goes down
// only where that is so.
//
// With &wait it is the long poll that passes any cache, for its condition is in
// the URL: nginx and varnish drop If-None-Match from what they might store. A
// time-out without that header is answered by no listing and the same #stamp.
func (h *Handler) since(w http.ResponseWriter, r *http.Request, v *view) {
	v.format, v.explicit = text, true
	from, err := mtree.ParseStamp(v.query["since"])
	after := v.query["after"]
	if err != nil || mtree.CheckPath(after) != nil {
		h.refuse(w, http.StatusBadRequest, "want ?txt&since=STAMP[&after=PATH][&wait=SECONDS]")
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
		h.fail(w, err)
		return
	}
	header := w.Header()
	h.setTree(header, v.snap, v.path, v.self.MTime, v.now)
	h.setListing(header, v)
	switch {
	case !v.snap.State.Prunes() || from.After(v.self.MTime) || h.otherEpoch(r, v):
		h.refuse(w, http.StatusGone, "nothing is known since then: compare everything")
	case end == timedOut && r.Header.Get("If-None-Match") != "":
		h.notModified(w)
	default:
		h.tellSince(w, r, v, from, after)
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
	tags := field(r, "If-None-Match")
	return tags != "" && !anyTag(tags, func(tag string) bool { return strings.Contains(tag, "-"+v.snap.e) })
}

func (h *Handler) tellSince(w http.ResponseWriter, r *http.Request, v *view, from mtree.Stamp, after string) {
	header := w.Header()
	header["Content-Type"] = []string{contentType(text)}
	if v.coding != identity {
		header["Content-Encoding"] = []string{string(v.coding)}
	}
	out := newSink(w, v.coding)
	defer out.release()
	t := &telling{h: h, r: r, lister: h.lister(v.snap), root: v.path, from: from, after: after, out: out}
	defer t.leaveLarge()
	var err error
	if v.self.MTime.After(from) {
		err = t.walk("", nil)
	}
	if err != nil && !out.sent {
		delete(header, "Content-Encoding")
		h.fail(w, err)
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
	lister *disk.Lister
	root   string      // path of the directory that was asked
	from   mtree.Stamp // tell what is above
	after  string      // begin behind this path
	out    *sink
	body   []byte
	told   int    // bytes
	last   string // path of the last listing told
	cut    bool   // there is more
	leave  func() // the turnstile of large directories; nil: none is being told
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
	l, err := t.read(path, aside)
	if err != nil {
		t.leaveLarge()
	}
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
		if err := t.tell(&l); err != nil {
			return err
		}
	}
	names := t.below(l)
	t.leaveLarge()
	return t.walkEach(path, names)
}

// leaveLarge gives back the place for a large directory, which is held until its
// listing was told.
func (t *telling) leaveLarge() {
	if t.leave != nil {
		t.leave()
		t.leave = nil
	}
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
	done    chan struct{}
	listing mtree.Listing
	err     error
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
		r.listing, r.err = t.readNow(path, true)
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
func (t *telling) read(path string, aside *reading) (mtree.Listing, error) {
	if aside != nil {
		if <-aside.done; aside.err != errLater {
			return aside.listing, aside.err
		}
	}
	return t.readNow(path, false)
}

// tell sends a listing, in pieces where it is long.
func (t *telling) tell(l *mtree.Listing) (err error) {
	t.last = l.Path
	t.add(mtree.AppendSelf(t.body, *l))
	for i := range l.Entries {
		t.add(mtree.AppendEntry(t.body, &l.Entries[i]))
		if t.body, err = t.out.write(t.body); err != nil {
			return err
		}
	}
	t.add(mtree.AppendEnd(t.body, len(l.Entries)))
	t.body, err = t.out.write(t.body)
	return err
}

// add takes a body that has grown.
func (t *telling) add(body []byte) {
	t.told += len(body) - len(t.body)
	t.body = body
}

// below returns the directories of l to go down to, by themselves: a walk need
// not hold the listings above it.
func (t *telling) below(l mtree.Listing) (names []string) {
	for i := range l.Entries {
		if e := &l.Entries[i]; e.Kind == mtree.Dir && e.MTime.After(t.from) {
			names = append(names, strings.Clone(e.Name)) // the memory of the others is not to be kept
		}
	}
	return names
}

// readNow reads the directory at path; ahead of its turn only if it is not large.
func (t *telling) readNow(path string, ahead bool) (mtree.Listing, error) {
	full := joined(t.root, path)
	dir, err := t.h.openDir(full)
	if err != nil {
		return mtree.Listing{}, err
	}
	defer dir.Close()
	info, err := dir.Self()
	if err == nil && info.Size > t.h.largeSize {
		if ahead {
			return mtree.Listing{}, errLater
		}
		t.leave, err = t.h.passLarge(t.r, dir)
	}
	if err != nil {
		return mtree.Listing{}, err
	}
	t.h.cfg.Stats.Listings.Add(1)
	l, err := t.lister.Read(dir, full)
	l.Path = path
	return l, err
}

// isWithin reports whether path is dir or below it.
func isWithin(path, dir string) bool {
	return dir == "" || path == dir || strings.HasPrefix(path, dir+"/")
}
