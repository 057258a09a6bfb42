package mirror

import (
	"context"
	"time"

	"tidemark/internal/logbook"
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/mirror/internal/replica"
)

// How often WaitFor looks at the copy's root, and whether a mirror keeps the copy.
const (
	waitLook  = 20 * time.Millisecond
	aliveLook = time.Second
)

// WaitFor returns when the copy at c.Dest holds everything up to stamp, which
// "watch --sync" printed at the source: when the copy's root is complete with a stamp that
// is not older. Of c only Dest, StateDir and Log count. A directory that is not a copy is
// refused (exit.Refused) after a second, in which a mirror may start to keep it. If no mirror runs, the log says
// so and the wait goes on, because cron may start one. Cost: three system calls, 50 times
// a second.
func WaitFor(ctx context.Context, c Config, stamp mtree.Stamp) error {
	c = c.withDefaults()
	w := waiting{config: &c, alive: true}
	defer w.close()
	ticker := time.NewTicker(waitLook)
	defer ticker.Stop()
	var next time.Time
	for {
		if now := time.Now(); !now.Before(next) {
			if err := w.look(); err != nil {
				return err
			}
			next = now.Add(aliveLook)
		}
		arrived, err := w.arrived(stamp)
		if err != nil {
			return exit.With(exit.Local, err, "")
		}
		if arrived {
			return nil
		}
		w.report()
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// waiting is a WaitFor under way.
type waiting struct {
	config   *Config
	copy     *replica.Look // nil: not made yet, or gone
	alive    bool          // a mirror keeps it
	reported bool          // the log says that no mirror keeps it
	begun    bool          // there was a copy, or a mirror that makes one
	looked   bool          // look was called
}

// look opens the copy anew, because its .tidemark may have been replaced, and checks
// whether a mirror keeps it.
func (w *waiting) look() error {
	w.close()
	l, err := replica.LookAt(w.config.Dest, w.config.StateDir)
	if err == nil {
		w.copy = l
		w.alive, err = l.IsKept()
		w.begun = true
		return exit.With(exit.Local, err, "")
	}
	first := !w.looked
	w.looked = true
	if first && (exit.Of(err) == exit.Refused || disk.IsGone(err)) { // guard: TestWaitForAMirrorThatStarts
		return nil // the mirror that makes it may have been started at this moment
	}
	if exit.Of(err) != exit.Refused {
		return err
	}
	if w.alive = replica.IsBeingMade(w.config.Dest, w.config.StateDir); !w.alive && !w.begun {
		return err
	}
	w.begun = true
	return nil
}

// report logs when the copy no longer has a mirror, and when it has one again.
func (w *waiting) report() {
	switch {
	case !w.alive && !w.reported:
		w.config.Log.Warn("no mirror is running here: waiting until one has brought the stamp", "dest", w.config.Dest, "remedy", "start mirror", logbook.About("mirror", "none"))
	case w.alive && w.reported:
		w.config.Log.Info("a mirror is running: waiting until it has brought the stamp", logbook.About("mirror", "runs"))
	}
	w.reported = !w.alive
}

// arrived reports whether the copy holds everything up to stamp.
func (w *waiting) arrived(stamp mtree.Stamp) (bool, error) {
	if w.copy == nil {
		return false, nil
	}
	return w.copy.HasReached(stamp)
}

// close closes the copy, if it is open.
func (w *waiting) close() {
	if w.copy != nil {
		w.copy.Close()
		w.copy = nil
	}
}
