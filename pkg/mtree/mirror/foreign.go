package mirror

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/lister"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/wire"
)

// Other servers list directories, too: nginx, Apache, lighttpd, Caddy, rclone,
// Python's http.server and their like. Their listings have no ids, no ctimes and
// no stamps that prune, so every pass is a full walk; often a file's time is
// known to the minute only, in a zone that nobody tells, and its size rounded.
// What such an entry really is, is decided against the copy: an equal file stays
// as it is, and one that may differ is asked for.

// vague is how well a foreign listing knows a file.
type vague struct {
	step      time.Duration // in which its time is told: 1 ns, 1 s, 1 min; 0: not told
	local     bool          // in the server's zone, whatever that is
	low, high int64         // bounds of its size; high < 0: not told

	listed mtree.Stamp // the time that is told, read as UTC
	zones  *zones      // what is known of the server's
}

// zoneStep is what all zones' offsets from UTC are multiples of, zoneMost the
// largest of them.
const (
	zoneStep = 15 * time.Minute
	zoneMost = 14 * time.Hour
)

// fits reports whether a file of this size and mtime may be the one listed at
// the time listed.
func (g *vague) fits(listed, mtime mtree.Stamp, size int64) bool {
	if g.high >= 0 && size >= 0 && (size < g.low || size > g.high) {
		return false
	}
	if g.step == 0 {
		return true
	}
	off := g.off(listed, mtime)
	return off == 0 || g.local && off%zoneStep == 0 && off.Abs() <= zoneMost
}

// off is by how much the time listed is ahead of a file's.
func (g *vague) off(listed, mtime mtree.Stamp) time.Duration {
	return listed.Sub(mtime.Floor(max(g.step, 1)))
}

// young reports whether a file of the copy was fetched so soon after its last
// change that a later change may bear the same time.
func young(have *mtree.Entry, step time.Duration) bool {
	age := have.CTime.Sub(have.MTime)
	return age > -youngMost && age < max(step, time.Second)+time.Second
}

// youngMost is how far ahead of our clock a file's time may be to be taken for
// young: so much do clocks differ. Times further ahead are dates in the future, or
// in another zone, and would be fetched with every pass.
const youngMost = 10 * time.Minute

// srcApprox is what the listing of a server of another kind leaves open.
type srcApprox struct {
	server *httpSource
	dir    string
	files  map[string]vague
	unless map[string]bool // files to fetch only if they changed since their mtime
}

// of returns how well a file is known; is false if it is known exactly.
func (a *source.Approx) of(name string) (g vague, is bool) {
	if a != nil {
		g, is = a.files[name]
	}
	return g, is
}

// ifModified reports whether a file is to be fetched only if it changed since its
// mtime: else its error is source.ErrSame.
func (a *source.Approx) ifModified(name string) bool { return a != nil && a.unless[name] }

// Resolve settles what the listing leaves open, for the entries of the copy are
// known now: it gives an entry size and time of the copy's file where that may be it,
// and another time where the file must be asked for. Such a file is fetched only if
// it changed, where trusted says that size and time prove the copy's file. Cost: a
// HEAD for some files of each month, once for each run; see zones. It does nothing to
// an exact listing.
func (a *source.Approx) Resolve(ctx context.Context, l *mtree.Listing, have []mtree.Entry, trusted bool) {
	if a == nil {
		return
	}
	a.server.learnZones(ctx, a.dir, l, a.files, have)
	a.unless = clarify(l, a.files, have)
	if !trusted {
		a.unless = nil
	}
}

// clarify gives vague entries of a listing the size and time of the copy's file
// where that may be it, and another time where that must be asked for. The
// names returned are to be fetched only if they changed since.
func clarify(l *mtree.Listing, known map[string]vague, have []mtree.Entry) (unless map[string]bool) {
	unless = map[string]bool{}
	eachVague(l, known, have, func(e *mtree.Entry, g vague, h *mtree.Entry) {
		fits := g.fits(e.MTime, h.MTime, h.Size)
		switch {
		case !fits:
			if e.MTime == h.MTime {
				e.MTime = e.MTime.Add(1)
			}
		case young(h, g.step):
			e.Size, e.MTime = h.Size, h.MTime.Add(1)
		case g.step == 0, !g.zones.allow(e.MTime, g.off(e.MTime, h.MTime)):
			e.Size, e.MTime = h.Size, h.MTime.Add(1)
			unless[e.Name] = true
		default:
			e.Size, e.MTime = h.Size, h.MTime
		}
	})
	return unless
}

// eachVague calls yield for each vague file of a listing of which the copy has a
// file, too.
func eachVague(l *mtree.Listing, known map[string]vague, have []mtree.Entry, yield func(e *mtree.Entry, g vague, h *mtree.Entry)) {
	byName := make(map[string]*mtree.Entry, len(have))
	for i := range have {
		byName[have[i].Name] = &have[i]
	}
	for i := range l.Entries {
		e := &l.Entries[i]
		g, is := known[e.Name]
		h := byName[e.Name]
		if is && h != nil && h.Kind == mtree.File && e.Kind == mtree.File {
			yield(e, g, h)
		}
	}
}

// foreignAccept asks for what is exact, where the server can.
const foreignAccept = "application/json, text/html;q=0.9, */*;q=0.1"

// errOurs says that the answer to a question for other servers is one of serve.
var errOurs = errors.New("serve answers")

// foreignRoot asks a server of another kind for the root.
func (s *httpSource) foreignRoot(ctx context.Context, once bool) (source.Root, error) {
	root := source.Root{State: wire.Unwatched, OtherServer: true}
	l, err := s.askForeign(ctx, request{once: once, header: map[string]string{"Accept": foreignAccept}}, "", mtree.Stamp{}, &root.Server)
	root.Dir = l
	return root, err
}

// foreignListing asks a server of another kind for one directory.
func (s *httpSource) foreignListing(ctx context.Context, path string, least mtree.Stamp) (source.Dir, error) {
	r := request{path: wire.DirURLPath(path), header: map[string]string{"Accept": foreignAccept}}
	if least == source.Fresh {
		r.header["Cache-Control"] = "no-cache"
		least = mtree.Stamp{}
	}
	var server string
	return s.askForeign(ctx, r, path, least, &server)
}

func (s *httpSource) askForeign(ctx context.Context, r request, path string, least mtree.Stamp, server *string) (l source.Dir, err error) {
	err = s.turn.inTurn(ctx, func(room *room) error {
		resp, err := s.do(ctx, r)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if isOurs(resp) {
			return errOurs
		}
		*server = resp.Header.Get("Server")
		l, err = s.readForeign(resp, path, least, room)
		return askedFor(resp, err)
	})
	return l, err
}

// readForeign reads such a listing. Its stamp is the directory's own time, as its
// parent lists it, or else the latest time in it.
func (s *httpSource) readForeign(resp *http.Response, path string, least mtree.Stamp, room *room) (l source.Dir, err error) {
	text, err := io.ReadAll(&roomReader{&bounded{resp.Body, maxForeign}, room})
	if err == nil {
		err = room.take(foreignRoom(text))
	}
	if err != nil {
		return l, err
	}
	l.Hidden = 1 // they hide dotfiles, and do not say so
	l.approx = &srcApprox{server: s, dir: path}
	if l.Entries, l.approx.files, err = parseForeign(text, resp); err != nil {
		return l, err
	}
	lister.SortEntries(l.Entries)
	for i := range l.Entries {
		e := &l.Entries[i]
		g := l.approx.files[e.Name]
		g.listed, g.zones = e.MTime, &s.zones
		l.approx.files[e.Name] = g
		if i > 0 && e.Name == l.Entries[i-1].Name {
			return l, fmt.Errorf("%w: %q is there twice", mtree.ErrListing, e.Name)
		}
		l.Stamp = mtree.Later(l.Stamp, e.MTime)
	}
	if path != "" && least != (mtree.Stamp{}) {
		l.Stamp = least
	}
	return l, nil
}

// maxForeign bounds a foreign listing in bytes: it is held as a whole.
const maxForeign = 64 << 20

// foreignRoom is what the entries of a foreign listing take in memory while it is
// read, in bytes, besides its text: however the text is made, it has no more of them
// than of these marks.
func foreignRoom(text []byte) int {
	count := func(mark string) int { return bytes.Count(text, []byte(mark)) }
	const entry, element = 400, 110
	return max(entry*(count("<a")+count("<A")), entry*(count("<file")+count("<dir")), entry*count("{"), element*count(","))
}

func parseForeign(text []byte, resp *http.Response) ([]mtree.Entry, map[string]vague, error) {
	trimmed := bytes.TrimSpace(text)
	switch kind := resp.Header.Get("Content-Type"); {
	case strings.HasPrefix(kind, "application/json") && bytes.HasPrefix(trimmed, []byte("[")):
		return parseForeignJSON(trimmed)
	case strings.HasPrefix(kind, "text/xml"), strings.HasPrefix(kind, "application/xml"):
		return parseForeignXML(trimmed)
	case strings.HasPrefix(kind, "text/html"):
		return parseForeignHTML(trimmed, resp.Request.URL.EscapedPath())
	}
	return nil, nil, fmt.Errorf("%w: neither text, JSON, XML nor HTML that lists a directory", mtree.ErrListing)
}

// isOurs reports whether an answer says that serve gave it. That is always true.
func isOurs(resp *http.Response) bool { return resp.Header.Get(wire.HeaderVersion) != "" }

// notOurs reports whether the answer to a question for the root says that the
// server is of another kind.
func notOurs(root *source.Root, err error) bool {
	if err == nil || root.Server == ours {
		return false
	}
	var status *statusError
	if errors.As(err, &status) {
		return status.status < 500 && status.status != http.StatusUnauthorized && status.status != http.StatusForbidden && status.server != ours &&
			status.location == ""
	}
	return errors.Is(err, mtree.ErrListing)
}

// ours is what serve is called among servers.
const ours = "tidemark"
