package watch

import (
	"errors"
	"fmt"

	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/notify"
)

// listen opens the source of events: the configured one, or the best that works.
func (w *watcher) listen() error {
	backends := []string{w.Backend}
	if w.Backend == "auto" {
		backends = []string{"fanotify", "inotify", "none"}
		if why := notify.Supported(w.root.FD()); why != nil {
			w.Log.Warn("no events here: the tree is known by audits only", "error", why,
				"remedy", "run watch on the machine that has the disk; here changes are found later, by one audit after another")
			backends = []string{"none"}
		}
	}
	var err error
	for _, w.backend = range backends {
		if w.source, err = w.openSource(w.backend); err == nil {
			break
		}
		if len(backends) > 1 {
			w.Log.Info("backend does not work here", "backend", w.backend, "error", err,
				"remedy", "none is needed: the next one is tried")
		}
	}
	if err != nil {
		remedy := "--backend auto takes what works here, and says what does not"
		if errors.Is(err, notify.ErrLimit) {
			remedy = "" // the error names it
		}
		return exit.With(exit.Local, fmt.Errorf("--backend %s: %w", w.Backend, err), remedy)
	}
	w.elsewhere = !w.hears() && notify.Supported(w.root.FD()) != nil
	return nil
}

// openSource opens the source of one backend.
func (w *watcher) openSource(backend string) (notify.Source, error) {
	switch backend {
	case "fanotify":
		return notify.Fanotify(w.root.FD(), w.sameProcess, w.wake)
	case "inotify":
		return notify.Inotify(w.wake)
	}
	return notify.None(w.wake)
}
