package watch

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/watch/internal/stamprule"
)

// identity is who the tree is and what is known of it from earlier runs.
type identity struct {
	tree   state.Tree
	status state.Status
	first  bool // no watcher ran here before: the id is new
	doubt  bool // continuity cannot be proved: every directory counts as changed
}

// openRoot opens the tree's root, and refuses a state directory in it.
func openRoot(path, stateDir string, crossMounts bool) (*disk.Dir, error) {
	root, err := disk.OpenRoot(path)
	if err != nil {
		return nil, exit.With(exit.Local, err, "name an existing directory that this user may read")
	}
	if err := state.CheckDir(root, stateDir, crossMounts); err != nil {
		_ = root.Close()
		return nil, exit.With(exit.Usage, err, "give a --state-dir outside of DIR, or none: DIR/.tidemark is not published")
	}
	return root, nil
}

// claim makes the marker, takes the lock and finds out who the tree is. On
// success the caller owns marker and lock.
func claim(c Config, root *disk.Dir) (m *state.Marker, lock *state.Lock, id identity, err error) {
	m, err = state.CreateMarker(root, c.StateDir)
	if errors.Is(err, state.ErrInTheWay) {
		return nil, nil, id, exit.With(exit.Local, err, "or use --state-dir DIR")
	}
	if err != nil {
		return nil, nil, id, exit.With(exit.Local, err, "the root must be writable for .tidemark, or use --state-dir DIR")
	}
	opened := m
	defer func() {
		if err != nil {
			_ = opened.Close()
		}
	}()
	info, err := state.RootOf(root)
	if err != nil {
		return nil, nil, id, exit.With(exit.Local, err, "")
	}
	// Asked before the lock is tried: a copy's lock is its mirror's.
	if _, err = identify(c, root, m, info); err != nil {
		return nil, nil, id, err
	}
	lock, err = m.Lock()
	if errors.Is(err, state.ErrLocked) {
		return nil, nil, id, exit.With(exit.Refused, err, "stop the other watcher first, or ask it with --status")
	}
	if err != nil {
		return nil, nil, id, exit.With(exit.Local, err, "")
	}
	if id, err = identify(c, root, m, info); err == nil {
		if id.status, err = m.ReadStatus(); errors.Is(err, fs.ErrNotExist) {
			err = nil
		} else if err != nil {
			c.Log.Warn("the status cannot be read: the tree is compared anew", "err", err)
			id.status, err = state.Status{}, nil
		}
	}
	if err != nil {
		_ = lock.Unlock()
		return nil, nil, id, err
	}
	return m, lock, id, nil
}

// identify reads the tree file and settles, without writing, who the tree is.
func identify(c Config, root *disk.Dir, m *state.Marker, at state.Root) (id identity, err error) {
	id.tree, err = readTree(c, root, m)
	switch {
	case errors.Is(err, state.ErrNoTree):
		return unmarked(c, root, at)
	case errors.Is(err, state.ErrNewerFormat):
		return id, exit.With(exit.Refused, err, "use that version")
	case err != nil:
		return id, exit.With(exit.Local, err, "if it is damaged, delete it: the id is kept on the root, too")
	}
	t, bound := &id.tree, id.tree.BoundTo(at)
	switch {
	case c.NewTree && !(bound && (t.Minted || t.Role == state.Copy && !c.Promote)):
		id.doubt = true
		id.mint(c, at)
		return id, nil
	case t.Role == state.Copy && !c.Promote:
		return id, isCopy(c, bound)
	case t.Role == state.Copy:
		id.doubt = true
	case !bound && !c.SameTree:
		return id, notThatTree(c)
	case !bound:
		id.doubt = true
	}
	id.keep(c, at)
	return id, nil
}

// readTree reads the tree file. That a tree is a copy is always read in the root
// itself, too, whatever --state-dir says; and who it is, where that says nothing.
func readTree(c Config, root *disk.Dir, m *state.Marker) (state.Tree, error) {
	t, err := m.ReadTree()
	if c.StateDir == "" || err != nil && !errors.Is(err, state.ErrNoTree) {
		return t, err
	}
	own, ownErr := state.OwnTree(root)
	switch {
	case errors.Is(ownErr, state.ErrNewerFormat), ownErr == nil && own.Role == state.Copy:
		return own, ownErr
	case err != nil && ownErr == nil && own.Epoch != 0: // not from the attribute, which has no epoch
		return own, nil
	}
	return t, err
}

// mint makes the tree a new one, whatever it was.
func (id *identity) mint(c Config, at state.Root) {
	id.tree = state.Tree{ID: state.NewTreeID(), Epoch: 1, Role: state.Source, Minted: c.NewTree}
	id.tree.Bind(at)
}

// keep makes the tree a source under the id that it has. What only a copy says
// of itself goes, but for the path: its own copies know it by that.
func (id *identity) keep(c Config, at state.Root) {
	t := &id.tree
	t.Upstream, t.NoID, t.Place, t.Older, t.Adopted, t.Filters, t.E, t.Copy = "", false, "", 0, "", nil, "", ""
	t.Role, t.Minted = state.Source, t.Minted && c.NewTree
	t.Bind(at)
}

// unmarked identifies a tree without a tree file: by what is kept on the root if
// .tidemark was removed, else as a new tree.
func unmarked(c Config, root *disk.Dir, at state.Root) (id identity, err error) {
	known, proven := state.Noted(root)
	_, completed := records.Of(root)
	isMirrors := completed && !(proven && known.Role == state.Source) || proven && known.Role == state.Copy
	switch {
	case c.NewTree && !(proven && (known.Minted || known.Role == state.Copy && !c.Promote)):
		id.first = true
		id.mint(c, at)
	case isMirrors && !c.Promote:
		return id, isCopy(c, proven)
	case known.ID == "":
		id.first = true
		id.mint(c, at)
	case !proven && !c.SameTree && !isMirrors:
		return id, notThatTree(c)
	default:
		// The epoch is lost with the file, or the one noted is an old one: it was the
		// clock's at most, or will be above it in a moment.
		id.tree, id.doubt = known, true
		id.tree.RaiseEpoch(c.Now())
		id.keep(c, at)
	}
	return id, nil
}

func isCopy(c Config, bound bool) error {
	remedy := "use --promote to make it a source"
	if !bound {
		remedy += ", or --new-tree if it is a tree of its own now"
	}
	return exit.With(exit.Refused, fmt.Errorf("%s is a mirror's copy", c.Root), remedy)
}

func notThatTree(c Config) error {
	return exit.With(exit.Refused,
		fmt.Errorf("%s is not the directory that its tree id was made for: copied, restored, replaced, or not mounted", c.Root),
		"use --same-tree if it is that tree all the same, --new-tree if it is another one now")
}

// ended returns the floor that the last run left: what it noted, or the root's
// stamp, which may have been written after that.
func (id *identity) ended(root, now mtree.Stamp) mtree.Stamp {
	floor := mtree.MinStamp
	if id.status.Floor != nil {
		floor = *id.status.Floor
	}
	if root.After(now) {
		return floor
	}
	return mtree.Later(floor, root)
}

// doubts reports why the checkpoint cannot be relied on, "" if it can.
func (id *identity) doubts(now mtree.Stamp) string {
	switch {
	case id.first:
		return ""
	case id.doubt:
		return "another root, or a lost tree file"
	case id.status.Checkpoint == nil:
		return "no checkpoint"
	case !id.status.CheckpointHolds():
		return "the checkpoint is older than the last boot"
	case id.status.Checkpoint.After(now):
		return "the checkpoint is ahead of the clock"
	case id.setBack(now, machine.Uptime()):
		return "the clock was set back while nobody watched"
	}
	return ""
}

// setBack reports whether the clock went on by less than the time that has passed
// in this boot: what changed after it was set back may carry a ctime from before
// the checkpoint. What an audit looks back covers a few seconds, and a clock that
// is slowed down to be right counts as one part in a thousand at most.
func (id *identity) setBack(now mtree.Stamp, up time.Duration) bool {
	s := &id.status
	if s.Updated == nil || s.Up == 0 || s.Boot != machine.BootID() || up < s.Up {
		return false
	}
	passed := up - s.Up
	return now.Sub(*s.Updated) < passed-passed/1000-stamprule.LookBack/2
}
