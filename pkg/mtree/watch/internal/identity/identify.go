package identity

import (
	"errors"
	"fmt"

	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/state"
)

// identify reads the tree file and decides which tree this is. It writes nothing.
func identify(o Options, root *disk.Dir, m *state.Marker, at state.Root) (id Identity, err error) {
	id.Tree, err = readTree(o, root, m)
	switch {
	case errors.Is(err, state.ErrNoTree):
		return unmarked(o, root, at)
	case errors.Is(err, state.ErrNewerFormat):
		return id, exit.With(exit.Refused, err, "use that version")
	case disk.Errno(err) != 0: // not read, which says nothing of what is in it
		return id, exit.With(exit.Local, err, "it must be readable; nothing was changed")
	case err != nil:
		return id, exit.With(exit.Local, err, "if it is damaged, delete it: the id is kept on the root, too")
	}
	t, bound := &id.Tree, id.Tree.BoundTo(at)
	switch {
	case o.NewTree && !(bound && (t.Minted || t.Role == state.Copy && !o.Promote)):
		id.Doubt = true
		id.mint(o, at)
		return id, nil
	case t.Role == state.Copy && !o.Promote:
		return id, isCopy(o, bound)
	case t.Role == state.Copy:
		id.Doubt = true
	case !bound && !o.SameTree:
		return id, notThatTree(o)
	case !bound:
		id.Doubt = true
	}
	id.keep(o, at)
	return id, nil
}

// readTree reads the tree file. Whatever --state-dir says, the root's own .tidemark is
// read as well: it decides whether the tree is a copy, and which tree this is if the
// state directory does not say that.
func readTree(o Options, root *disk.Dir, m *state.Marker) (state.Tree, error) {
	t, err := m.ReadTree()
	if o.StateDir == "" || err != nil && !errors.Is(err, state.ErrNoTree) {
		return t, err
	}
	own, ownErr := state.OwnTree(root)
	switch {
	case errors.Is(ownErr, state.ErrNewerFormat), disk.Errno(ownErr) != 0, ownErr == nil && own.Role == state.Copy:
		return own, ownErr
	case err != nil && ownErr == nil && own.Epoch != 0: // not from the attribute, which has no epoch
		return own, nil
	}
	return t, err
}

// unmarked identifies a tree without a tree file. If .tidemark was removed, the root's
// attributes say which tree it is; else it is a new one.
func unmarked(o Options, root *disk.Dir, at state.Root) (id Identity, err error) {
	known, proven, err := state.Noted(root)
	if err != nil {
		return id, exit.With(exit.Local, err, "")
	}
	_, completed, err := records.Read(root)
	if err != nil {
		return id, exit.With(exit.Local, err, "")
	}
	isMirrors := completed && !proven || proven && known.Role == state.Copy
	switch {
	case o.NewTree && !(proven && (known.Minted || known.Role == state.Copy && !o.Promote)):
		id.First = true
		id.mint(o, at)
	case isMirrors && !o.Promote:
		return id, isCopy(o, proven)
	case known.ID == "":
		id.First = true
		id.mint(o, at)
	case !proven && !o.SameTree && !isMirrors:
		return id, notThatTree(o)
	default:
		// The epoch is lost with the file, or the noted one is old. The lost one was at
		// most the clock's reading then, so the next one is above it.
		id.Tree, id.Doubt = known, true
		id.Tree.RaiseEpoch(o.Now())
		id.keep(o, at)
	}
	return id, nil
}

// isCopy returns the error for a tree that belongs to a mirror; bound says that it is the
// directory that the mirror made.
func isCopy(o Options, bound bool) error {
	remedy := "use --promote to make it a source"
	if !bound {
		remedy += ", or --new-tree if it is a tree of its own now"
	}
	return exit.With(exit.Refused, fmt.Errorf("%s is a mirror's copy", o.Root), remedy)
}

// notThatTree returns the error for a directory for which the tree id was not made.
func notThatTree(o Options) error {
	return exit.With(exit.Refused,
		fmt.Errorf("%s is not the directory that its tree id was made for: copied, restored, replaced, or not mounted", o.Root),
		"use --same-tree if it is that tree all the same, --new-tree if it is another one now")
}
