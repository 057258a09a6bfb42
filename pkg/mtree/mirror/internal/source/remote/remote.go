package remote

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/mirror/internal/source/autoindex"
	"tidemark/pkg/mtree/mirror/internal/source/prefetch"
	"tidemark/pkg/mtree/wire"
)

// Config says which server is asked, and how. URL is needed.
type Config struct {
	URL       string      // http(s)://host[:port]/dir/
	UserAgent string      // sent with each request
	TLS       *tls.Config // for https; nil: the system's
	Token     string      // sent as bearer token; "": none

	// Credentials is asked before each request which TLS and Token count now, instead
	// of those above. Several goroutines call it at once. nil: those above stay.
	Credentials func() (*tls.Config, string)

	Streams    int           // requests at once, for which connections are kept
	Requests   *atomic.Int64 // counts requests; nil: nobody wants to know
	FirstPause time.Duration // before a request is repeated; 0: 100 ms
	LargeRoom  int           // bytes of memory that one large listing may take; 0: 320 MiB
}

// Source is a tree that a server publishes: serve, or a program that speaks the same
// protocol (docs/protocol.md), or a server of another kind.
type Source struct {
	*client
	prefetched prefetch.Store
	other      atomic.Bool  // the last listing of the root came from a server of another kind
	noPost     atomic.Int64 // until when nothing is posted, Unix seconds: a proxy refuses it
	zones      autoindex.Zones
	turn       largeTurn
}

// maxListing bounds one listing in bytes, after decompression. A longer one is an
// error, never cut.
const maxListing = 512 << 20

// Open returns the source at c.URL. It sends no request. A URL that cannot be one is an
// error with exit.Usage.
func Open(c Config) (*Source, error) {
	u, err := url.Parse(c.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" {
		return nil, exit.With(exit.Usage, fmt.Errorf("bad SOURCE %q", redacted(c.URL)), "want http(s)://host[:port]/dir/")
	}
	if !strings.HasSuffix(u.Path, "/") {
		u = u.JoinPath("/")
	}
	return &Source{client: newClient(&c, u.String()), turn: newLargeTurn(cmp.Or(c.LargeRoom, defaultLargeRoom))}, nil
}

// Close ends what is under way and closes idle connections.
func (s *Source) Close() {
	s.prefetched.Clear()
	s.closeIdle()
}

// Root asks for the root directory: one GET, and another one where the server is not
// serve. Directories below are asked for in the way in which the root was listed last.
// Errors are those of package source; mtree.ErrListing where the answer is no listing;
// or *StatusError.
func (s *Source) Root(ctx context.Context, poll source.Poll) (source.Root, error) {
	s.prefetched.Clear()
	root, err := s.serveRoot(ctx, poll)
	if err != nil && isOther(&root, err) {
		if other, err := s.otherRoot(ctx, poll.Once); err == nil {
			s.other.Store(true)
			return other, nil
		}
	}
	if err == nil {
		s.other.Store(false)
	}
	return root, err
}

// List asks for a directory: one GET, or none if the listing came with the last answer
// to ?since; another one if it is older than least, and so comes from a cache. least is
// the stamp that its parent lists, or source.Fresh. Errors are those of Root.
func (s *Source) List(ctx context.Context, path string, least mtree.Stamp) (source.Dir, error) {
	if l, ok := s.prefetched.Take(ctx, path, least); ok {
		return l, nil
	}
	if s.other.Load() {
		l, err := s.otherListing(ctx, path, least)
		if err != errServe {
			return l, err
		}
	}
	l, err := s.serveListing(ctx, path, least == source.Fresh)
	if err == nil && least != source.Fresh && l.Stamp.Before(least) {
		l, err = s.serveListing(ctx, path, true)
	}
	return l, err
}

// serveRoot asks serve for the root.
func (s *Source) serveRoot(ctx context.Context, poll source.Poll) (source.Root, error) {
	r := request{query: wire.ListingQuery{}.String(), header: map[string]string{}, once: poll.Once}
	if poll.Known != "" {
		r.header["If-None-Match"] = poll.Known
		if poll.Wait > 0 {
			r.wait, r.once = poll.Wait, true
			r.query = wire.ListingQuery{Since: poll.Since, Wait: poll.Wait}.String()
			if poll.Since != nil {
				return s.rootSince(ctx, poll, r)
			}
		}
	}
	var root source.Root
	err := s.turn.inTurn(ctx, func(room *room) error {
		resp, err := s.do(ctx, r)
		if err != nil {
			root = source.Root{}
			return err
		}
		defer resp.Body.Close()
		if root, err = head(resp); err != nil {
			return err
		}
		if root.Unchanged = resp.StatusCode == http.StatusNotModified; root.Unchanged {
			root.Validator = poll.Known
			return nil
		}
		root.Listing, err = readListing(resp, room)
		return err
	})
	return root, err
}

// serveListing asks serve for a directory.
func (s *Source) serveListing(ctx context.Context, path string, fresh bool) (l source.Dir, err error) {
	r := request{path: wire.DirURLPath(path), query: wire.ListingQuery{}.String(), header: map[string]string{}}
	if fresh {
		r.header["Cache-Control"] = "no-cache"
	}
	err = s.turn.inTurn(ctx, func(room *room) error {
		resp, err := s.do(ctx, r)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if l.Tree, err = treeOf(resp); err != nil {
			return err
		}
		l.Listing, err = readListing(resp, room)
		return err
	})
	return l, err
}

// head reads what the header of an answer says of the tree.
func head(resp *http.Response) (root source.Root, err error) {
	h := resp.Header
	root.Validator, root.State = h.Get("ETag"), wire.State(h.Get(wire.HeaderState))
	root.Server, root.Upstreams = h.Get("Server"), wire.FormatUpstreams(wire.ParseUpstreams(h.Get(wire.HeaderUpstream)))
	if isServe(resp) {
		root.Server = nameOfServe
	}
	root.Runs, root.TreePath = wire.ParseRuns(h.Get(wire.HeaderRuns)), wire.ParseTreePath(h.Get(wire.HeaderPath))
	if tag, ok := wire.ParseListingTag(root.Validator); ok {
		root.Fingerprint = tag.Fingerprint
	}
	root.Tree, err = treeOf(resp)
	return root, err
}

// treeOf reads which tree an answer belongs to.
func treeOf(resp *http.Response) (t source.Tree, err error) {
	t.ID = resp.Header.Get(wire.HeaderTree)
	if text := resp.Header.Get(wire.HeaderEpoch); text != "" {
		if t.Epoch, err = strconv.ParseUint(text, 10, 64); err != nil {
			return t, fmt.Errorf("%w: epoch %.40q", mtree.ErrListing, text)
		}
	}
	return t, nil
}

// readListing reads exactly one whole listing, and takes room for it.
func readListing(resp *http.Response, room *room) (l mtree.Listing, err error) {
	d := mtree.NewDecoder(&bounded{resp.Body, maxListing})
	d.Room = room.take
	if l, err = d.Next(); err == io.EOF {
		err = mtree.ErrTruncated
	}
	if err == nil {
		if _, err = d.Next(); err == io.EOF {
			err = nil
		} else if err == nil {
			err = fmt.Errorf("%w: text after the #end line", mtree.ErrListing)
		}
	}
	if err == nil && l.Path != "" {
		err = fmt.Errorf("%w: it is of another directory", mtree.ErrListing)
	}
	return l, askedFor(resp, err)
}

// askedFor adds the question to an error of reading its answer.
func askedFor(resp *http.Response, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("GET %s: %w", resp.Request.URL.Redacted(), err)
}

// bounded reads at most left bytes. If there are more it fails, rather than ends.
type bounded struct {
	in   io.Reader
	left int64
}

func (b *bounded) Read(buf []byte) (int, error) {
	n, err := b.in.Read(buf)
	if b.left -= int64(n); b.left < 0 {
		return 0, fmt.Errorf("%w: longer than any that is accepted", mtree.ErrListing)
	}
	return n, err
}

// Serves reports whether the server gives out a file with this text at path. Servers of
// other kinds do not list dotfiles, but give them out.
func (s *Source) Serves(ctx context.Context, path string, text []byte) bool {
	resp, err := s.do(ctx, request{path: wire.URLPath(path), once: true})
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	theirs, err := io.ReadAll(io.LimitReader(resp.Body, int64(len(text))+1))
	return err == nil && resp.StatusCode == http.StatusOK && bytes.Equal(bytes.TrimSpace(theirs), bytes.TrimSpace(text))
}

// redacted returns a URL as it may be shown: without its password, even if it cannot
// be parsed.
func redacted(source string) string {
	u, err := url.Parse(source)
	if err != nil || u.Host == "" {
		return credentials.ReplaceAllString(source, "://***@")
	}
	return u.Redacted()
}

var credentials = regexp.MustCompile(`://.*@`)
