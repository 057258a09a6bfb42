package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/lister"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/mirror/internal/source/autoindex"
	"tidemark/pkg/mtree/wire"
)

// errServe says that serve answered a question for servers of other kinds.
var errServe = errors.New("serve answers")

// otherRoot asks a server of another kind for the root.
func (s *Source) otherRoot(ctx context.Context, once bool) (source.Root, error) {
	root := source.Root{State: wire.Unwatched, OtherServer: true}
	var err error
	root.Dir, root.Server, err = s.askOther(ctx, request{once: once}, "", mtree.Stamp{})
	return root, err
}

// otherListing asks a server of another kind for one directory.
func (s *Source) otherListing(ctx context.Context, path string, least mtree.Stamp) (source.Dir, error) {
	r := request{path: wire.DirURLPath(path)}
	if least == source.Fresh {
		r.header = map[string]string{"Cache-Control": "no-cache"}
		least = mtree.Stamp{}
	}
	d, _, err := s.askOther(ctx, r, path, least)
	return d, err
}

// askOther sends one GET for such a listing. It also returns what the server calls
// itself.
func (s *Source) askOther(ctx context.Context, r request, path string, least mtree.Stamp) (d source.Dir, server string, err error) {
	if r.header == nil {
		r.header = map[string]string{}
	}
	r.header["Accept"] = autoindex.Accept
	err = s.turn.inTurn(ctx, func(room *room) error {
		resp, err := s.do(ctx, r)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if isServe(resp) {
			return errServe
		}
		server = resp.Header.Get("Server")
		d, err = s.readOther(resp, path, least, room)
		return askedFor(resp, err)
	})
	return d, server, err
}

// readOther reads such a listing. Its stamp is the directory's own time, as its parent
// lists it, or else the latest time in it.
func (s *Source) readOther(resp *http.Response, path string, least mtree.Stamp, room *room) (d source.Dir, err error) {
	skew := skewOf(resp.Header, time.Now())
	text, err := io.ReadAll(&roomReader{&bounded{resp.Body, autoindex.MaxText}, room})
	if err == nil {
		err = room.take(autoindex.RoomFor(text))
	}
	if err != nil {
		return d, err
	}
	entries, files, err := autoindex.Parse(text, resp.Header.Get("Content-Type"), resp.Request.URL.EscapedPath())
	if err != nil {
		return d, err
	}
	lister.SortEntries(entries)
	for i := range entries {
		if i > 0 && entries[i].Name == entries[i-1].Name {
			return d, fmt.Errorf("%w: %q is there twice", mtree.ErrListing, entries[i].Name)
		}
		d.Stamp = mtree.Later(d.Stamp, entries[i].MTime)
	}
	if path != "" && least != (mtree.Stamp{}) {
		d.Stamp = least
	}
	d.Hot = autoindex.MayBeCut(text, resp.Header.Get("Content-Type"), len(entries)) // guard: TestAListingThatMayBeCut
	d.Hidden = 1                                                                    // they hide dotfiles, and do not say so
	d.Entries, d.Approx = entries, autoindex.NewApprox(path, entries, files, &s.zones, skew, autoindex.Questions{Date: s.date, Gone: s.gone})
	return d, nil
}

// skewOf returns by how much our clock is ahead of that of a server whose header came now; 0 if it
// has no Date. The header was under way, and Date has no fractions of a second: so that is rather too
// much than too little. A cache says in Age how old the answer is, perhaps a second too old.
func skewOf(h http.Header, now time.Time) time.Duration {
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return 0
	}
	if age, err := strconv.ParseUint(h.Get("Age"), 10, 31); err == nil && age > 0 { // guard: TestTheClockOfAServer
		date = date.Add(time.Duration(age-1) * time.Second)
	}
	return now.Sub(date)
}

// date asks for the date of a file by HEAD.
func (s *Source) date(ctx context.Context, path string) (date mtree.Stamp, ok bool) {
	resp, err := s.do(ctx, request{method: http.MethodHead, path: wire.URLPath(path), plain: true})
	if err != nil {
		return date, false
	}
	_ = resp.Body.Close()
	t, err := http.ParseTime(resp.Header.Get("Last-Modified"))
	return mtree.FromTime(t), err == nil
}

// gone asks whether the server has nothing under the name of an entry that it does not list; nil: so it
// is. Only 404 and 410 say so: a refusal says nothing of what is there. But a server may give another
// file in its place (Apache's MultiViews), or a page for whatever it is asked.
func (s *Source) gone(ctx context.Context, path string, kind mtree.Kind) error {
	resp, err := s.look(ctx, path, kind)
	switch {
	case errors.Is(err, source.ErrGone):
		return nil
	case err != nil:
		return err
	case kind != mtree.Dir && isElsewhere(resp.Header.Get("Content-Location"), path): // guard: TestWhatIsNotListedAndNotGone
		return nil
	}
	if _, err := s.look(ctx, path+".no-such-name-"+strconv.FormatUint(rand.Uint64(), 36), kind); err == nil { // guard: TestWhatIsNotListedAndNotGone
		return nil
	}
	return fmt.Errorf("%s %s: %s", resp.Request.Method, resp.Request.URL.Redacted(), resp.Status)
}

// look asks what the server has at a path, by HEAD; a server that knows no HEAD by GET. No cache may
// answer. What fails is asked again by the next pass. The answer has no body.
func (s *Source) look(ctx context.Context, path string, kind mtree.Kind) (*http.Response, error) {
	r := request{path: wire.URLPath(path), method: http.MethodHead, header: map[string]string{"Cache-Control": "no-cache"}, plain: true, once: true}
	if kind == mtree.Dir {
		r.path = wire.DirURLPath(path)
	}
	r.pastCaches()
	resp, err := s.do(ctx, r)
	var status *StatusError
	if errors.As(err, &status) && (status.Status == http.StatusMethodNotAllowed || status.Status == http.StatusNotImplemented) {
		r.method = http.MethodGet
		resp, err = s.do(ctx, r)
	}
	if err != nil {
		return nil, err
	}
	_ = resp.Body.Close()
	return resp, nil
}

// isElsewhere reports whether a Content-Location names another file than the one at path.
func isElsewhere(location, path string) bool {
	u, err := url.Parse(location)
	return err == nil && u.Path != "" && mtree.BaseName(u.Path) != mtree.BaseName(path)
}

// isOther reports whether the answer to a question for the root says that the server
// is of another kind: err is the error of that question.
func isOther(root *source.Root, err error) bool {
	if err == nil || root.Server == nameOfServe {
		return false
	}
	var status *StatusError
	if errors.As(err, &status) {
		return status.Status < 500 && status.Status != http.StatusUnauthorized && status.Status != http.StatusForbidden && !status.byServe &&
			status.location == ""
	}
	return errors.Is(err, mtree.ErrListing)
}
