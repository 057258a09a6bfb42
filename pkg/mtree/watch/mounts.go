package watch

import (
	"errors"
	"slices"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/notify"
)

// checkMounts records where mounts came or went since the last call.
func (w *watcher) checkMounts() error {
	change, err := w.mounts.Look()
	if err != nil {
		w.Log.Warn("cannot look which mounts came or went: trying again", "error", err,
			"remedy", "if it lasts: watch must be able to read /proc/self/mountinfo")
		return nil
	}
	if change.Root {
		if err := w.checkRoot(); err != nil {
			return err
		}
	}
	w.mountsChanged(change.Paths)
	if change.Read { // guard: TestAMountThatPassedABatch
		w.mountsChanged(slices.DeleteFunc(w.seenMounts, w.mounts.Has)) // guard: TestAMountThatPassed
		w.seenMounts = nil
	}
	if change.Any {
		w.mountsRecorded = false
		w.source.Remounted()
		w.hearFiles()
	}
	return nil
}

// mountsChanged records that something else is mounted at some paths.
func (w *watcher) mountsChanged(paths []string) {
	for _, path := range paths {
		w.Log.Info("mounted or unmounted: all below counts as changed", "path", mtree.DirPath(path))
		w.mountEvents = append(w.mountEvents, &notify.DirEvents{
			Path: mtree.ParentPath(path), Dirty: true,
			Entries: []notify.Entry{{Name: mtree.BaseName(path), Arrived: true}},
		})
	}
}

// noteMounts notes where something was seen mounted that is not known. What the next look does not know
// either came and went between two looks, so nobody saw what lies there.
func (w *watcher) noteMounts(seen []string) {
	for _, path := range seen {
		// guard (without w.mounts.Follows()): TestAMountThatPassedABatch
		if w.mounts.Follows() && !w.mounts.Has(path) && !slices.Contains(w.seenMounts, path) { // guard (without !w.mounts.Has(path)): TestAMountThatPassedABatch
			w.seenMounts = append(w.seenMounts, path)
		}
	}
}

// hearFiles hears the files that are mounted in the tree by themselves now. Where no directory is heard, it
// does nothing.
func (w *watcher) hearFiles() {
	if !w.hears() {
		return
	}
	mounted := w.mounts.Files()
	for _, path := range w.files.Armed() {
		if !slices.Contains(mounted, path) {
			w.files.Drop(path)
		}
	}
	for _, path := range mounted {
		if err := w.hearFile(path); err != nil && !disk.IsGone(err) && !errors.Is(err, notify.ErrGone) {
			w.Log.Warn("a file that is mounted in the tree cannot be heard: audits find what is written to it", "path", mtree.QuotePath(path), "error", err,
				"remedy", "let watch read the file, and raise the limit that the error names, if it names one")
		}
	}
}

// hearFile hears the file that is mounted at a path.
func (w *watcher) hearFile(path string) error {
	parent, err := w.root.OpenDirPath(mtree.ParentPath(path), true)
	if err != nil {
		return err
	}
	defer parent.Close()
	return w.files.Arm(path, parent.FD(), mtree.BaseName(path))
}

// heardFiles returns the changes of the files that are mounted by themselves.
func (w *watcher) heardFiles() (events []*notify.DirEvents, drained bool) {
	paths, drained := w.files.Take()
	for _, path := range paths {
		events = append(events, &notify.DirEvents{Path: mtree.ParentPath(path), Entries: []notify.Entry{{Name: mtree.BaseName(path), File: true}}})
	}
	return events, drained
}
