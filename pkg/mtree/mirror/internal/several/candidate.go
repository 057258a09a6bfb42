package several

import (
	"context"
	"errors"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/mirror/internal/source/remote"
	"tidemark/pkg/mtree/wire"
)

// candidate is one of several sources.
type candidate struct {
	name   string // state.SourceName
	open   func() (Origin, error)
	origin Origin // nil: it could not be opened yet, or is not open any more

	why   string      // why it is not used; "": it is, or it was not asked
	since mtree.Stamp // by the local clock: since when that is so
	stale bool        // it is a copy that no mirror keeps: it brings no news
	shows string      // the options fingerprint of its last answer to a pass; "": not known
}

// candidates returns the sources that the configuration names, in their order. A local directory that
// is missing is no error: it may be mounted later.
func candidates(c *Config) (list []*candidate, err error) {
	for _, one := range c.List {
		n := &candidate{name: one.Name, open: one.Open, since: c.Now()}
		for _, other := range list {
			if other.name == n.name {
				err = exit.With(exit.Usage, errors.New("SOURCE "+mtree.QuotePath(n.name)+" is given twice"), "leave one out")
			}
		}
		if err == nil {
			n.origin, err = n.open()
		}
		if exit.Of(err) == exit.Usage || exit.Of(err) == exit.Refused {
			for _, other := range list {
				other.close()
			}
			return nil, err
		}
		err = nil
		list = append(list, n)
	}
	return list, nil
}

// close closes the source. It is opened again when it is asked.
func (n *candidate) close() {
	if n.origin != nil {
		n.origin.Close()
		n.origin = nil
	}
}

// ask returns the root as it is now, within that time. With once, a request that fails is not repeated.
func (n *candidate) ask(ctx context.Context, within time.Duration, once bool) (root source.Root, err error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if n.origin == nil {
		if n.origin, err = n.open(); err != nil {
			n.origin = nil
			return root, err
		}
	}
	root, err = n.origin.Root(ctx, source.Poll{Once: once})
	if errors.Is(err, source.ErrOtherDirectory) {
		root, err = n.origin.Root(ctx, source.Poll{Once: once})
	}
	n.look(&root)
	return root, err
}

// look notes what an answer says of the source.
func (n *candidate) look(root *source.Root) { n.stale = root.State == wire.Stale }

// set notes why the source is not used.
func (n *candidate) set(why string, now mtree.Stamp) {
	if n.why != why {
		n.why, n.since = why, now
	}
}

// causeText says in a few words what an error of a source means, always the same for the same cause: it
// is written to disk if it changes.
func causeText(err error) string {
	switch status := remote.StatusText(err); {
	case status != "":
		return "it answers " + status
	case errors.Is(err, mtree.ErrListing):
		return "it gives no listing"
	case remote.IsAway(err), exit.Of(err) == exit.Unreachable:
		return "it does not answer"
	}
	return "it cannot be read"
}
