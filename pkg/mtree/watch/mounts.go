package watch

import (
	"tidemark/pkg/mtree"
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
	for _, path := range change.Paths {
		w.Log.Info("mounted or unmounted: all below counts as changed", "path", mtree.DirPath(path))
		w.mountEvents = append(w.mountEvents, &notify.DirEvents{
			Path: mtree.ParentPath(path), Dirty: true,
			Entries: []notify.Entry{{Name: mtree.BaseName(path), Arrived: true}},
		})
	}
	if change.Any {
		w.mountsRecorded = false
		w.source.Remounted()
	}
	return nil
}
