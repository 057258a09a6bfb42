package remote

import (
	"fmt"
	"io"
	"net/http"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/wire"
)

// head reads what the header of an answer says of the tree.
func head(resp *http.Response) (root source.Root, err error) {
	h := resp.Header
	root.Validator, root.State = h.Get("ETag"), wire.State(h.Get(wire.HeaderState))
	root.Answered = h.Get(wire.HeaderNow)
	root.Counted, _ = wire.ParseEntries(h.Get(wire.HeaderEntries))
	root.Unread = wire.ParseUnread(h.Get(wire.HeaderUnread))
	root.Server, root.Upstreams = h.Get("Server"), wire.FormatUpstreams(wire.ParseUpstreams(h.Get(wire.HeaderUpstream)))
	if isServe(resp) {
		root.Server = nameOfServe
	}
	root.Runs, root.TreePath = wire.ParseRuns(h.Get(wire.HeaderRuns)), wire.ParseTreePath(h.Get(wire.HeaderPath))
	root.Fingerprint = fingerprintOf(resp)
	root.Tree, err = treeOf(resp)
	return root, err
}

// fingerprintOf reads with which options and rights serve answered; "" if that is not known. An
// answer to ?since has no ETag.
func fingerprintOf(resp *http.Response) string {
	if tag, ok := wire.ParseListingTag(resp.Header.Get("ETag")); ok {
		return tag.Fingerprint
	}
	return resp.Header.Get(wire.HeaderOptions)
}

// treeOf reads which tree an answer belongs to.
func treeOf(resp *http.Response) (t source.Tree, err error) {
	if t.ID, err = wire.ParseTree(resp.Header.Get(wire.HeaderTree)); err != nil {
		return t, err
	}
	t.Epoch, err = wire.ParseEpoch(resp.Header.Get(wire.HeaderEpoch))
	return t, err
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
	if stamp, bad := mtree.ParseStamp(resp.Header.Get(wire.HeaderStamp)); err == nil && bad == nil && stamp != l.Stamp {
		err = fmt.Errorf("%w: header and text are of different answers", mtree.ErrListing)
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

// bounded reads at most left bytes. If there are more, it fails; it does not just end.
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

// isServe reports whether an answer comes from serve; it may be an error of serve.
func isServe(resp *http.Response) bool { return resp.Header.Get(wire.HeaderVersion) != "" }

// nameOfServe is the name of serve in source.Root.Server.
const nameOfServe = "tidemark"
