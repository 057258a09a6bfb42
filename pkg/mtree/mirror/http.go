package mirror

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/wire"
)

// httpSource is a tree published by serve, or by a program that speaks the same
// protocol (docs/protocol.md), or by a server of another kind.
type httpSource struct {
	*client
	ahead   ahead        // listings that came with an answer to ?since
	foreign atomic.Bool  // the root was listed by a server of another kind last
	noPost  atomic.Int64 // until when nothing is posted, Unix seconds: a proxy refuses it
	zones   zones        // of a server of another kind
	turn    largeTurn
}

// Bounds of what an answer may be. Beyond them it is an error, never cut.
const (
	maxListing = 512 << 20 // bytes of one listing, after decompression
)

func openHTTP(c *Config) (*httpSource, error) {
	u, err := url.Parse(c.Source)
	if err != nil || !isURL(c.Source) || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" {
		return nil, exit.With(exit.Usage, fmt.Errorf("bad SOURCE %q", redacted(c.Source)), "want http(s)://host[:port]/dir/")
	}
	if !strings.HasSuffix(u.Path, "/") {
		u = u.JoinPath("/")
	}
	return &httpSource{client: newClient(c, u.String()), turn: newLargeTurn(c.largeRoom)}, nil
}

func (s *httpSource) close() {
	s.ahead.clear()
	s.closeIdle()
}

// Root implements source. The root is asked for as serve is asked, which costs another
// GET for servers that are not ours; what is below it is asked for as the root was
// listed last.
func (s *httpSource) Root(ctx context.Context, poll source.Poll) (source.Root, error) {
	s.ahead.clear()
	root, err := s.ourRoot(ctx, poll)
	if err != nil && notOurs(&root, err) {
		if other, err := s.foreignRoot(ctx, poll.Once); err == nil {
			s.foreign.Store(true)
			return other, nil
		}
	}
	if err == nil {
		s.foreign.Store(false)
	}
	return root, err
}

// List implements source: one GET, or none if the listing came with the last
// answer to ?since; another one if it came from a cache.
func (s *httpSource) List(ctx context.Context, path string, least mtree.Stamp) (source.Dir, error) {
	if l, ok := s.ahead.take(ctx, path, least); ok {
		return l, nil
	}
	if s.foreign.Load() {
		l, err := s.foreignListing(ctx, path, least)
		if err != errOurs {
			return l, err
		}
	}
	l, err := s.ourListing(ctx, path, least == source.Fresh)
	if err == nil && least != source.Fresh && l.Stamp.Before(least) {
		l, err = s.ourListing(ctx, path, true)
	}
	return l, err
}

// ourRoot asks serve for the root.
func (s *httpSource) ourRoot(ctx context.Context, poll source.Poll) (source.Root, error) {
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
		root.Listing, err = parseOne(resp, room)
		return err
	})
	return root, err
}

// ourListing asks serve for a directory.
func (s *httpSource) ourListing(ctx context.Context, path string, fresh bool) (l source.Dir, err error) {
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
		l.Listing, err = parseOne(resp, room)
		return err
	})
	return l, err
}

// head reads what a tree says of itself in the header of an answer.
func head(resp *http.Response) (root source.Root, err error) {
	h := resp.Header
	root.Validator, root.State = h.Get("ETag"), wire.State(h.Get(wire.HeaderState))
	root.Server, root.Upstreams = h.Get("Server"), wire.FormatUpstreams(wire.ParseUpstreams(h.Get(wire.HeaderUpstream)))
	if isOurs(resp) {
		root.Server = ours
	}
	root.Runs, root.TreePath = wire.ParseRuns(h.Get(wire.HeaderRuns)), wire.ParseTreePath(h.Get(wire.HeaderPath))
	if tag, ok := wire.ParseListingTag(root.Validator); ok {
		root.Fingerprint = tag.Fingerprint
	}
	root.Tree, err = treeOf(resp)
	return root, err
}

// treeOf reads which tree an answer is of.
func treeOf(resp *http.Response) (t source.Tree, err error) {
	t.ID = resp.Header.Get(wire.HeaderTree)
	if text := resp.Header.Get(wire.HeaderEpoch); text != "" {
		if t.Epoch, err = strconv.ParseUint(text, 10, 64); err != nil {
			return t, fmt.Errorf("%w: epoch %.40q", mtree.ErrListing, text)
		}
	}
	return t, nil
}

// parseOne reads exactly one whole listing.
func parseOne(resp *http.Response, room *room) (l mtree.Listing, err error) {
	d := mtree.NewDecoder(&bounded{resp.Body, maxListing})
	d.Room = room.take
	if l, err = d.Next(); err == io.EOF {
		err = mtree.ErrTruncated
	}
	if err == nil {
		if _, err = d.Next(); err == io.EOF {
			err = nil
		} else if err == nil {
			err = fmt.Errorf("%w: text behind the #end line", mtree.ErrListing)
		}
	}
	if err == nil && l.Path != "" {
		err = fmt.Errorf("%w: it is of another directory", mtree.ErrListing)
	}
	return l, askedFor(resp, err)
}

// askedFor names the question in an error of reading its answer.
func askedFor(resp *http.Response, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("GET %s: %w", resp.Request.URL.Redacted(), err)
}

// bounded fails, rather than ends, when more is read than expected.
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

// Renewed implements source.
func (s *httpSource) Renewed() bool { return s.renewed() }

// Serves implements source: servers of other kinds hide dotfiles in their listings,
// and give them out.
func (s *httpSource) Serves(ctx context.Context, path string, text []byte) bool {
	resp, err := s.do(ctx, request{path: wire.URLPath(path), once: true})
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	theirs, err := io.ReadAll(io.LimitReader(resp.Body, int64(len(text))+1))
	return err == nil && resp.StatusCode == http.StatusOK && bytes.Equal(bytes.TrimSpace(theirs), bytes.TrimSpace(text))
}
