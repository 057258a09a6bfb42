package watch

import (
	"time"

	"tidemark/pkg/mtree/watch/internal/trigger"
)

// printTo begins to print. patience says how long a slow reader is waited for.
func (w *watcher) printTo(patience time.Duration) {
	w.printer = trigger.NewPrinter(w.Print, patience, w.Log, &w.Stats.PrintLost)
}

// triggered reports whether the paths of changes are needed.
func (w *watcher) triggered() bool { return w.Exec != "" || w.Print != nil }

// trigger hands the changes of a published batch to --print and --exec.
func (w *watcher) trigger(changes []trigger.Change) error {
	if len(changes) == 0 {
		return nil
	}
	if err := w.printer.Print(changes); err != nil {
		return err
	}
	w.hook.Add(changes)
	return nil
}
