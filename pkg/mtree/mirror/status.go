package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/filetime"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/wire"
)

// look opens a copy for reading only.
type look struct {
	root   *disk.Dir
	marker *state.Marker
	state.Published
}

// lookAt opens the copy at dest without its lock; what is no copy is refused.
func lookAt(dest, stateDir string) (*look, error) {
	root, err := disk.OpenRoot(dest)
	if err != nil {
		return nil, exit.With(exit.Local, err, "give DEST")
	}
	l := &look{root: root}
	if err := outside(root, stateDir); err != nil {
		l.close()
		return nil, err
	}
	if l.marker, err = state.OpenMarker(root, stateDir); err == nil {
		l.Published, err = l.marker.Published()
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && l.Tree.Role != state.Copy:
		err = exit.With(exit.Refused, fmt.Errorf("%q is no copy", dest), "give the DEST of a mirror")
	case err != nil:
		err = exit.With(exit.Local, err, "")
	}
	if err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *look) close() {
	if l.marker != nil {
		_ = l.marker.Close()
	}
	_ = l.root.Close()
}

// PrintStatus writes what is known of the copy at dest, one "name: value" a
// line, and the deletions held. It asks nobody but the disk.
func PrintStatus(w io.Writer, dest, stateDir string) error {
	l, err := lookAt(dest, stateDir)
	if err != nil {
		return err
	}
	defer l.close()
	held, err := readHeld(l.marker, heldName)
	if err != nil {
		return exit.With(exit.Local, err, "")
	}
	links, err := readUncopied(l.marker)
	if err != nil {
		return exit.With(exit.Local, err, "")
	}
	s := &l.Status
	fmt.Fprintf(w, "state: %s\nsource: %s\n%s", l.State, state.SourceName(l.Tree.Upstream), l.tree())
	if s.Walked && l.State == wire.Unwatched {
		fmt.Fprintln(w, "stamps: do not prune, for those of the source do not: every pass is a full walk")
	}
	if s.Root != nil {
		fmt.Fprintf(w, "root: %s\n", *s.Root)
	}
	l.printLag(w)
	if ended := s.Counters[countEnded]; ended != 0 {
		fmt.Fprintf(w, "last change: %s\n", time.Unix(ended, 0).UTC().Format(time.RFC3339))
	}
	if s.Updated != nil {
		fmt.Fprintf(w, "updated: %s\n", s.Updated.Time().Format(time.RFC3339))
	}
	fmt.Fprintf(w, "entries: %d\nincomplete: %d\nfailed: %d\n", s.Counters[countEntries], s.Counters[countBehind], s.Counters[countFailed])
	if s.Error != "" {
		fmt.Fprintf(w, "error: %q\n", s.Error)
	}
	fmt.Fprintf(w, "not copied: %d\n", links.total())
	fmt.Fprintf(w, "held: %d\n", held.total())
	for i := range held.entries {
		e := &held.entries[i]
		if i == 0 || e.why != held.entries[i-1].why {
			fmt.Fprintf(w, "held because: %s\n", e.why)
		}
		fmt.Fprintf(w, "  %s %s, %d entries\n", e.kind, quoted(e.path), e.entries)
	}
	return nil
}

// tree says which tree it is a copy of.
func (l *look) tree() string {
	t := &l.Tree
	switch {
	case t.ID == "":
		return "tree: none, the source has no id\n"
	case t.Older != 0:
		return fmt.Sprintf("tree: %s epoch %d, the source is of an older lineage, epoch %d\n", t.ID, t.Epoch, t.Older)
	case t.Path != "" && t.Path != "/":
		return fmt.Sprintf("tree: %s epoch %d\npath: %q\n", t.ID, t.Epoch, t.Path)
	}
	return fmt.Sprintf("tree: %s epoch %d\n", t.ID, t.Epoch)
}

// printLag says until when the copy is known to be what the source published, and
// how long ago that was: as a live mirror tells, else as it was written last. That
// an idle source has nothing new is known anew every 45 s at least.
func (l *look) printLag(w io.Writer) {
	s := &l.Status
	at := s.Confirmed
	if told, err := l.marker.Told(); err == nil && told != 0 {
		now := mtree.Unix(told, 0)
		at = &now
	}
	if at == nil {
		at = s.Checkpoint
	}
	if at == nil {
		fmt.Fprintln(w, "lag: unknown")
	} else {
		fmt.Fprintf(w, "lag: %s\nconfirmed until: %s\n", max(0, machine.Now().Sub(*at)).Round(time.Millisecond), at.Time().Format(time.RFC3339))
	}
	if s.Away != nil {
		fmt.Fprintf(w, "source unreachable since: %s\n", s.Away.Time().Format(time.RFC3339))
	}
}

// How often WaitFor looks at the copy's root, and who keeps it.
const (
	waitLook  = 20 * time.Millisecond
	aliveLook = time.Second
)

// WaitFor returns when the copy at c.Dest holds everything up to stamp, which
// "watch --sync" printed at the source: when its root is complete with a stamp
// that is not older. Only Dest, StateDir and Log of c count. What is no copy is
// refused (exit.Refused), unless its mirror runs already. Where no mirror runs, the
// log says so and the wait goes on: one may be started from cron. Cost: three
// system calls 50 times a second.
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
		w.say()
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// waiting is a WaitFor.
type waiting struct {
	config *Config
	copy   *look // nil: none yet, or none any longer
	alive  bool  // a mirror keeps it
	said   bool  // that none does
	begun  bool
}

// look opens the copy anew, for its .tidemark may be another one by now, and sees
// whether a mirror keeps it.
func (w *waiting) look() error {
	w.close()
	l, err := lookAt(w.config.Dest, w.config.StateDir)
	if err == nil {
		w.copy = l
		w.alive, err = l.marker.Locked()
		w.begun = true
		return exit.With(exit.Local, err, "")
	}
	if exit.Of(err) != exit.Refused {
		return err
	}
	if w.alive = locked(w.config.Dest, w.config.StateDir); !w.alive && !w.begun {
		return err
	}
	w.begun = true
	return nil
}

// locked reports whether somebody keeps what is at dest, and it may become a copy: a
// mirror has the lock before it knows what it copies.
func locked(dest, stateDir string) bool {
	root, err := disk.OpenRoot(dest)
	if err != nil {
		return false
	}
	defer root.Close()
	m, err := state.OpenMarker(root, stateDir)
	if err != nil {
		return false
	}
	defer m.Close()
	if _, err := m.ReadTree(); !errors.Is(err, state.ErrNoTree) {
		return false
	}
	is, err := m.Locked()
	return err == nil && is
}

// say tells in the log when the copy has no mirror any longer, and when it has one.
func (w *waiting) say() {
	switch {
	case !w.alive && !w.said:
		w.config.Log.Warn("no mirror is running here: waiting until one has brought the stamp", "dest", w.config.Dest, "remedy", "start mirror")
	case w.alive && w.said:
		w.config.Log.Info("a mirror is running: waiting until it has brought the stamp")
	}
	w.said = !w.alive
}

func (w *waiting) arrived(stamp mtree.Stamp) (bool, error) {
	if w.copy == nil {
		return false, nil
	}
	r, err := w.copy.completed()
	return err == nil && r != nil && (*r == stamp || r.After(stamp) && !w.copy.ahead(*r)), err
}

func (w *waiting) close() {
	if w.copy != nil {
		w.copy.close()
		w.copy = nil
	}
}

// aheadSlack is by how much a stamp may lie above the clock it was taken from:
// the coarsest granule, by which stamps are made to grow.
const aheadSlack = 2 * time.Second

// ahead reports whether a stamp of the root lies in the source's future, as far
// as the copy knows its clock. Later changes may have earlier stamps than that.
func (l *look) ahead(root mtree.Stamp) bool {
	status, err := l.marker.ReadStatus()
	return err == nil && status.Checkpoint != nil && root.After(status.Checkpoint.Add(clockLag+aheadSlack))
}

// completed returns the stamp of the copy's root, nil while it is unfinished.
func (l *look) completed() (*mtree.Stamp, error) {
	info, err := l.root.Self()
	if err != nil {
		return nil, err
	}
	r, ok := records.Of(l.root)
	if !ok && errors.Is(records.Probe(l.root), records.ErrNoXattr) {
		status, err := l.marker.ReadStatus()
		if err != nil || status.Root == nil {
			return nil, err
		}
		r, ok = records.Record{Stamp: *status.Root}, true
	}
	if !ok || !filetime.SameStored(info.MTime, r.Stamp) {
		return nil, nil
	}
	return &r.Stamp, nil
}
