package serve

import "tidemark/pkg/mtree/wire"

// treeStates are the states of a tree that serve publishes.
var treeStates = []string{
	string(wire.Watched), string(wire.Auditing), string(wire.Degraded), string(wire.Audited), string(wire.Unwatched),
	string(wire.Filling), string(wire.Mirrored), string(wire.Stale),
}

// States calls yield with the state of the tree, as clients see it now: it tells of a watcher or mirror that
// is gone, and so cannot tell itself.
func (h *Handler) States(yield func(name, help, now string, all []string)) {
	yield("tree_state", "1 for the state of the tree, as clients see it.", string(h.tree.Now().State), treeStates)
}

// Each calls yield with the numbers of the tree, beside those of Stats.
func (h *Handler) Each(yield func(name, help string, value int64)) {
	s := h.tree.Now()
	replaced := int64(0)
	if s.Replaced {
		replaced = 1
	}
	yield("root_replaced", "1: nothing is published, because another directory is at the path of the root.", replaced)
	yield("unread_directories", "Directories that are not published, because watch cannot read them.", int64(s.UnreadDirs()))
	yield("waiting_max", "How many requests may wait for a change at once.", int64(h.cfg.MaxWaiters))
	if at := s.Status.Current(); at != nil {
		sec, _ := at.Unix()
		yield("checkpoint_timestamp_seconds", "Up to when all changes are published, Unix seconds; it moves with changes and audits.", sec)
	}
}
