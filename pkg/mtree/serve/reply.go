package serve

import (
	"net/http"
	"strconv"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/serve/internal/published"
	"tidemark/pkg/mtree/serve/internal/render"
	"tidemark/pkg/mtree/wire"
)

// reply is an answer before it is written: its status, all of its header, and its body if
// that is there already. An endpoint builds it and gives it to send or start, which write
// it once. Each request has one reply: refused and notModified turn it into another
// answer, in place. It is passed by its address: by value it would grow the stack of each
// connection.
type reply struct {
	status int    // 0: 200
	why    string // of a refusal: its text; "": it is none
	about  about  // the directory that it is about

	tag    string        // ETag, in quotes; "": none
	date   string        // Last-Modified; "": none
	kind   string        // Content-Type; "": none
	coding render.Coding // Content-Encoding
	policy string        // Content-Security-Policy; "": none
	cache  string        // Cache-Control; "": none
	vary   string        // Vary; "": none
	ranges string        // Accept-Ranges; "": not said
	part   string        // Content-Range; "": none

	location  string // Location of a redirection
	at        string // Tidemark-Path of a file; "": not said
	from      string // Content-Location: where symlinks led; "": nowhere else
	options   string // Tidemark-Options; "": not said
	allow     string // Allow
	retry     string // Retry-After, in seconds; "": not said
	more      bool   // Tidemark-More is sent: a bound ended the search
	file      string // Content-Disposition names this file; "": it is not sent
	challenge bool   // WWW-Authenticate is sent: it names the ways to send a token
	close     bool   // the connection ends with this answer

	body   []byte // sent with the header by send
	length int64  // Content-Length if sized
	sized  bool
}

// about is what an answer says of a directory and of its tree. The zero value says
// nothing.
type about struct {
	tree       *published.Snapshot // nil: nothing is said
	path       string              // of the directory
	stamp, now mtree.Stamp
	runs       []string // value of Tidemark-Runs; nil: not said
}

// about returns what an answer says of the directory at path, which has this stamp. A 304
// says it too, because mirrors use it.
func (h *Handler) about(s *published.Snapshot, path string, stamp, now mtree.Stamp) about {
	a := about{tree: s, path: path, stamp: stamp, now: now}
	if s.Tree.ID != "" && path == "" {
		a.runs = h.tree.RunsAt(stamp)
	}
	return a
}

// withBody sets a whole body and returns a.
func (a *reply) withBody(body []byte) *reply {
	a.body = body
	return a.withLength(int64(len(body)))
}

// withLength sets the length of a body that is sent after the header, and returns a.
func (a *reply) withLength(length int64) *reply {
	a.length, a.sized = length, true
	return a
}

// refused turns a into the answer to a failed request, and returns it. The text is short
// and names no path of this host.
func (a *reply) refused(status int, text string) *reply {
	a.status, a.why = status, text
	a.tag, a.date, a.ranges, a.from, a.coding = "", "", "", "", render.Identity
	a.kind, a.cache = "text/plain; charset=utf-8", "no-cache"
	if status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests {
		a.retry = "5"
	}
	return a.withBody([]byte(strconv.Itoa(status) + " " + text + "\n"))
}

// notModified turns a into the 304 that takes its place, and returns it.
func (a *reply) notModified() *reply {
	a.status = http.StatusNotModified
	a.kind, a.coding, a.policy = "", render.Identity, ""
	a.body, a.length, a.sized = nil, 0, false
	return a
}

// send writes an answer with its body, if it has one.
func (h *Handler) send(w http.ResponseWriter, a *reply) {
	if b, is := w.(*browser); is && a.why != "" {
		b.asPage(a)
	}
	h.start(w, a)
	writeAll(w, a.body)
}

// start writes the status and the header of an answer, and counts it. Its body, if it has
// one, is to be written next. Nothing else touches the header of a ResponseWriter.
func (h *Handler) start(w http.ResponseWriter, a *reply) {
	f := fields{w.Header(), make([]string, 0, 17)}
	f.share(wire.HeaderVersion, versionOne)
	f.share("X-Content-Type-Options", noSniff)
	f.share("Referrer-Policy", noReferrer)
	f.share("Cross-Origin-Resource-Policy", sameOrigin)
	if a.about.tree != nil {
		f.setAbout(&a.about)
	}
	f.set("Etag", a.tag)
	f.set("Last-Modified", a.date)
	f.set("Content-Type", a.kind)
	f.set("Content-Encoding", string(a.coding))
	f.set("Content-Security-Policy", a.policy)
	f.set("Cache-Control", a.cache)
	f.set("Vary", a.vary)
	f.set("Accept-Ranges", a.ranges)
	f.set("Content-Range", a.part)
	f.set("Location", a.location)
	f.set(wire.HeaderPath, a.at)
	f.set("Content-Location", a.from)
	f.set(wire.HeaderOptions, a.options)
	f.set("Allow", a.allow)
	f.set("Retry-After", a.retry)
	if a.more {
		f.set(wire.HeaderMore, "1")
	}
	f.set("Content-Disposition", a.file)
	if a.challenge {
		f.share("Www-Authenticate", challenges)
	}
	if a.close {
		f.set("Connection", "close")
	}
	if a.sized {
		f.set("Content-Length", strconv.FormatInt(a.length, 10))
	}
	status := a.status
	if status == 0 {
		status = http.StatusOK
	}
	h.count(status)
	w.WriteHeader(status)
}

// count counts an answer by its status.
func (h *Handler) count(status int) {
	stats := h.cfg.Stats
	switch {
	case status >= 500:
		stats.Failed.Add(1)
	case status >= 400:
		stats.Refused.Add(1)
	case status == http.StatusNotModified:
		stats.NotModified.Add(1)
	}
}

// fields sets a header. The values of one answer share an array.
type fields struct {
	header http.Header
	values []string
}

// set sets one value, unless it is "".
func (f *fields) set(key, value string) {
	if value != "" {
		f.values = append(f.values, value)
		f.header[key] = f.values[len(f.values)-1 : len(f.values) : len(f.values)]
	}
}

// share sets values that many answers have, unless they are nil: net/http only reads them.
func (f *fields) share(key string, values []string) {
	if values != nil {
		f.header[key] = values
	}
}

// setAbout sets what an answer says of a directory.
func (f *fields) setAbout(a *about) {
	s := a.tree
	f.set(wire.HeaderStamp, a.stamp.String())
	f.share(wire.HeaderState, s.States)
	f.share(wire.HeaderUnread, s.Unreads)
	f.set(wire.HeaderNow, a.now.String())
	f.set(wire.HeaderUpstream, s.Chain)
	f.set(wire.HeaderPath, treePath(s, a.path))
	if a.path == "" { // no other directory has what the tree has
		f.share(wire.HeaderEntries, s.Entries)
	}
	if s.Tree.ID == "" {
		return
	}
	f.share(wire.HeaderTree, s.IDs)
	f.share(wire.HeaderEpoch, s.Epochs)
	f.share(wire.HeaderRuns, a.runs)
}

// treePath returns the value of Tidemark-Path for a file or directory; "": it is not known.
func treePath(s *published.Snapshot, path string) string {
	at := s.Tree.At(path)
	if at == "" {
		return ""
	}
	return wire.FormatTreePath(at)
}

// Values of headers that many answers have.
var (
	versionOne = []string{wire.Version}
	noSniff    = []string{"nosniff"}
	noReferrer = []string{"no-referrer"}
	sameOrigin = []string{"same-origin"}
	challenges = []string{`Basic realm="tidemark", charset="UTF-8"`, `Bearer realm="tidemark"`}
)

// caching returns policy, or its replacement if a token is needed: a shared cache must
// not give one client's answer to others.
func (h *Handler) caching(policy string) string {
	if h.guard.wanted {
		return "private, no-cache"
	}
	return policy
}
