package state

import (
	"errors"
	"io/fs"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/wire"
)

// Published is what a tree says about itself to its readers.
type Published struct {
	State  wire.State
	Tree   Tree // ID is "" if watch never ran, here or at a copy's source
	Status Status
	Bound  bool // the tree file was written for this root
}

// IsCopy reports whether a mirror keeps the tree's directories, with a record on each
// that is complete. A tree into which a copy's files were copied is no copy.
func (p *Published) IsCopy() bool { return p.Tree.Role == Copy && p.Bound }

// ReadPublished reads tree, lock and status of the tree at root (marker in stateDir if
// that is not ""). A tree without a marker is unwatched, which is no error. Cost: about
// 15 system calls.
func ReadPublished(root *disk.Dir, stateDir string) (Published, error) {
	none := Published{State: wire.Unwatched}
	m, err := OpenMarker(root, stateDir)
	if errors.Is(err, fs.ErrNotExist) {
		return none, nil
	}
	if err != nil {
		return none, err
	}
	defer m.Close()
	return m.Published()
}

// Published is ReadPublished for an open marker.
func (m *Marker) Published() (Published, error) {
	p := Published{State: wire.Unwatched}
	tree, err := m.ReadTree()
	if errors.Is(err, ErrNoTree) {
		return p, nil
	}
	if err != nil {
		return p, err
	}
	p.Tree = tree
	if p.Status, err = m.ReadStatus(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return p, err
	}
	locked, err := m.Locked()
	if err != nil {
		return p, err
	}
	root, err := RootOf(m.root)
	if err != nil {
		return p, err
	}
	p.Bound = tree.BoundTo(root)
	p.State = publishedState(tree, p.Status, locked, p.Bound, m.root)
	if tree.Role == Copy && locked {
		if sec, _ := m.Announced(); sec != 0 {
			at := mtree.Unix(sec, 0)
			p.Status.Confirmed = &at
		}
	}
	if tree.NoID {
		// The mirror made the id up. A copy that recorded it would refuse the tree once the
		// tree has an id of its own.
		p.Tree.ID, p.Tree.Epoch = "", 0
	}
	return p, nil
}

// HasExceptions reports whether the tree has a line in .tidemark/stamps or unread: see
// the type Exceptions. Where no stamps prune, these lines prove nothing. The program that
// writes the first line announces it in the status, and waits StatusLag before it relies
// on that.
func (p *Published) HasExceptions() bool {
	return p.State != wire.Unwatched && (p.Tree.Role == Source || p.IsCopy()) && p.Status.Stamps+p.Status.Unread > 0
}

// Crosses reports whether a reader that crosses mounts may do so in this tree. If a watch
// keeps the stamps, it may if that watch hears beyond mounts. A mirror keeps no stamps
// beyond mounts of its copy.
func (p *Published) Crosses() bool {
	if p.State == wire.Unwatched {
		return true
	}
	return p.Tree.Role == Source && p.Status.CrossMounts != nil && *p.Status.CrossMounts
}

// publishedState returns the state of a tree as its readers see it.
func publishedState(tree Tree, status Status, locked, bound bool, root *disk.Dir) wire.State {
	switch {
	case !bound: // copied, restored or moved: what changed since is not known
		return wire.Unwatched
	case tree.Role == Copy:
		return copyState(status, locked)
	}
	return sourceState(status, locked, root)
}

func copyState(status Status, locked bool) wire.State {
	switch {
	case status.State != wire.Mirrored:
		return wire.Filling
	case status.Walked:
		return wire.Unwatched
	case locked:
		return wire.Mirrored
	}
	return wire.Stale
}

func sourceState(status Status, locked bool, root *disk.Dir) wire.State {
	switch {
	case locked && status.State != "":
		return status.State
	case locked, status.State == wire.Unwatched: // it has not said that stamps hold
	case status.State == wire.Degraded: // its stamps are no better than those of its last watcher
		return wire.Degraded
	case status.CheckpointHolds(machine.Stay(root.FD())):
		return wire.Audited
	}
	return wire.Unwatched
}

// Counted returns how much the tree has; nil if nobody counted it, or if what is here was put here
// from elsewhere.
func (p *Published) Counted() *Entries {
	if !p.Bound || p.Tree.Role == Copy && !p.IsCopy() {
		return nil
	}
	return p.Status.Entries
}

// UnreadDirs returns how many directories of the tree are not published, because watch may
// not read them; in a copy also how many its source does not publish.
func (p *Published) UnreadDirs() int { return max(p.Status.Unread, p.Status.SourceUnread) }
