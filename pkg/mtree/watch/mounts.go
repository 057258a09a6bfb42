package watch

import (
	"context"
	"maps"
	"slices"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/notify"
	"tidemark/pkg/mtree/internal/state"
)

// mounts follows what is mounted below the root. No event of the tree tells that a
// mount came or went, and the directory's own time stays, yet all below its path is
// something else then: it counts as arrived, also without --cross-mounts, for what
// was changed in a directory while it was covered nobody could stamp. Owned by run.
type mounts struct {
	table  *machine.MountTable        // nil: the kernel does not tell
	at     map[string]machine.Mounted // Dir.Mounts, when it was looked at last
	twice  bool                       // something is in the tree at more than one place
	unread bool                       // at could not be read since: it is tried again
	news   []*notify.Heard            // where mounts came or went, not published
	noted  bool                       // the tree file says what at does
	missed []finding                  // parents of where they did while nobody watched
}

// followMounts begins to follow the mounts. was is what the last run left: where
// something else is mounted now, or nothing, all below counts as arrived.
func (w *watcher) followMounts(id identity) {
	var err error
	if w.mounts.table, err = machine.NewMountTable(); err == nil {
		err = w.readMounts()
	}
	if err != nil {
		w.Log.Warn("cannot tell which mounts came or went below the root: every directory is stamped anew", "err", err)
		w.mounts.unread, w.audits.next.all = w.mounts.table != nil, true
		return
	}
	if id.first {
		return // all is stamped anyway
	}
	changed := map[string]bool{}
	was, is := id.tree.Mounts, w.mountsNow()
	for _, m := range slices.Concat(was, is) {
		if !slices.Contains(was, m) || !slices.Contains(is, m) {
			if path, err := mtree.UnescapeName(m.Path); err == nil {
				changed[path] = true
			}
		}
	}
	for path := range changed {
		w.bordered[path] = true
		w.mounts.missed = append(w.mounts.missed, finding{path: mtree.ParentPath(path)})
	}
}

// mountsNow returns what the tree file is to record of the mounts.
func (w *watcher) mountsNow() (all []state.Mount) {
	for _, path := range slices.Sorted(maps.Keys(w.mounts.at)) {
		if path != "" && !w.hidden(path) {
			all = append(all, state.MountAt(w.root, path, w.CrossMounts))
		}
	}
	return all
}

// hidden reports whether it changes nothing what is mounted at path.
func (w *watcher) hidden(path string) bool {
	return w.exclude.Hides(path, true) || w.exclude.Hides(path, false)
}

// remounted publishes what came or went with mounts, when the table has changed.
func (w *watcher) remounted(ctx context.Context) error {
	if err := w.lookAtMounts(); err != nil || len(w.mounts.news) == 0 {
		return err
	}
	return w.settled(ctx)
}

// lookAtMounts notes where mounts came or went since it looked last. Those elsewhere
// on the machine cost a comparison.
func (w *watcher) lookAtMounts() error {
	m := &w.mounts
	if m.table == nil || !m.table.Changed() && !m.unread {
		return nil
	}
	was, came := m.at, false
	if err := w.readMounts(); err != nil {
		w.Log.Warn("cannot look which mounts came or went: trying again", "err", err)
		m.unread = true
		return nil
	}
	m.unread = false
	if m.at[""].What != was[""].What {
		if err := w.replaced(); err != nil {
			return err
		}
	}
	for path := range joined(was, m.at) {
		if path == "" || was[path].What == m.at[path].What {
			continue
		}
		m.noted, came = false, true
		if !w.hidden(path) {
			w.Log.Info("mounted or unmounted: all below counts as changed", "path", mtree.DirPath(path))
			m.news = append(m.news, &notify.Heard{
				Path: mtree.ParentPath(path), Dirty: true,
				Entries: []notify.Entry{{Name: mtree.BaseName(path), Arrived: true}},
			})
		}
	}
	if came {
		w.source.Remounted()
	}
	return nil
}

// readMounts reads what is mounted now.
func (w *watcher) readMounts() error {
	at, err := machine.Mounts(w.root.FD())
	if err == nil {
		w.mounts.at, w.mounts.twice = at, w.CrossMounts && overlap(at)
	}
	return err
}

// joined returns a map with the keys of both.
func joined(a, b map[string]machine.Mounted) map[string]machine.Mounted {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

// noteMounts writes which mounts there are, once all that came with them is
// published: the next start goes by it.
func (w *watcher) noteMounts() {
	if !w.mounts.noted && w.sound() {
		w.tree.Mounts, w.mounts.noted = w.mountsNow(), true
		_ = w.writeTree()
	}
}

// settled reports that what came and went with mounts is known and published.
func (m *mounts) settled() bool { return !m.unread && len(m.news) == 0 }
