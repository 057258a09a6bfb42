package state

import (
	"slices"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/wire"
)

// Upstreams returns the source of a copy, and then the upstreams that this source
// named when the copy was last complete. It is empty for a tree that is no copy.
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

// Current returns the time up to which a source is known to be published, or a copy
// known to be its source; nil if that is not known. For a copy it may be later than
// the checkpoint of what it copied last, because its source says again and again that
// nothing is new.
func (s *Status) Current() *mtree.Stamp {
	if s.Checkpoint == nil || s.Confirmed != nil && s.Confirmed.After(*s.Checkpoint) {
		return s.Confirmed
	}
	return s.Checkpoint
}

// CameBy reports whether contents with these upstreams passed through t, a copy:
// upstreams name it, together with its source. A clone of its disk on another machine has
// the same name, but another source. Of several sources each may have been the one then.
func (t *Tree) CameBy(upstreams string) bool {
	return t.Copy != "" && slices.ContainsFunc(wire.ParseUpstreams(upstreams), func(u wire.Upstream) bool {
		return u.Copy == t.Copy && (u.Host == hostOf(t.Upstream) ||
			slices.ContainsFunc(t.Sources, func(name string) bool { return u.Host == hostOf(name) })) // guard (u.Host == hostOf(name) -> false): TestACopyCameByAnyOfItsSources
	})
}
