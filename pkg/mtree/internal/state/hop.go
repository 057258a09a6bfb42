package state

import (
	"net/url"
	"slices"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/wire"
)

// Upstreams returns where a copy was made from, and then how that came about as its
// own source told it when the copy was complete last. It is empty for a tree
// that is no copy.
func (p *Published) Upstreams() []wire.Upstream {
	if p.Tree.Role != Copy {
		return nil
	}
	first := wire.Upstream{Host: hostOf(p.Tree.Upstream), Checkpoint: p.Status.Current(), Copy: p.Tree.Copy}
	if p.Status.Root != nil {
		first.Root = *p.Status.Root
	}
	return append([]wire.Upstream{first}, wire.ParseUpstreams(p.Status.Upstreams)...)
}

// hostOf returns the host of a source.
func hostOf(source string) string {
	if u, err := url.Parse(source); err == nil && u.Host != "" {
		return u.Host
	}
	return "local"
}

// Current returns until when a tree is known to be what it was made from, or heard
// to be as published: of a copy that may be later than what it copied last, for its
// source says again and again that nothing is new. nil: not known.
func (s *Status) Current() *mtree.Stamp {
	if s.Checkpoint == nil || s.Confirmed != nil && s.Confirmed.After(*s.Checkpoint) {
		return s.Confirmed
	}
	return s.Checkpoint
}

// CameBy reports whether what the chain tells of came by way of t, a copy: the
// chain names it, with the source that it has. A clone of its disk on another
// machine has its name, and another source.
func (t *Tree) CameBy(chain string) bool {
	return t.Copy != "" && slices.ContainsFunc(wire.ParseUpstreams(chain), func(h wire.Upstream) bool {
		return h.Copy == t.Copy && h.Host == hostOf(t.Upstream)
	})
}
