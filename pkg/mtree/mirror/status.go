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
)

// look opens a copy for reading only.
type look struct {
	root   *disk.Dir
	marker *disk.Marker
	disk.Published
}

// lookAt opens the copy at dest without its lock; what is no copy is refused.
func lookAt(dest, stateDir string) (*look, error) {
	root, err := disk.OpenRoot(dest)
	if err != nil {
		return nil, exit.With(exit.Local, err, "give DEST")
	}
	l := &look{root: root}
	if l.marker, err = disk.OpenMarker(root, stateDir); err == nil {
		l.Published, err = l.marker.Published()
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && l.Tree.Role != disk.Copy:
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
	fmt.Fprintf(w, "state: %s\nsource: %s\ntree: %s epoch %d\n", l.State, l.Tree.Upstream, l.Tree.ID, l.Tree.Epoch)
	if s.Walked && l.State == disk.Unwatched {
		fmt.Fprintln(w, "stamps: do not prune, for those of the source do not: every pass is a full walk")
	}
	if s.Root != nil {
		fmt.Fprintf(w, "root: %s\n", *s.Root)
	}
	fmt.Fprintf(w, "lag: %s\n", l.lag())
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

// lag says how far the copy may be behind. A live mirror without trouble is up
// to date but for what is under way; it writes nothing while nothing changes.
func (l *look) lag() string {
	s := &l.Status
	switch {
	case l.State == disk.Mirrored && s.Error == "" && s.Counters[countBehind] == 0:
		return "none known"
	case s.Checkpoint == nil:
		return "unknown"
	}
	return max(0, disk.Now().Sub(*s.Checkpoint)).Round(time.Millisecond).String()
}

// waitLook is how often WaitFor looks at the copy's root.
const waitLook = 20 * time.Millisecond

// WaitFor returns when the copy at dest holds everything up to stamp, which
// "watch --sync" printed at the source: when its root is complete with a stamp
// that is not older. Cost: three system calls 50 times a second.
func WaitFor(ctx context.Context, dest, stateDir string, stamp mtree.Stamp) error {
	l, err := lookAt(dest, stateDir)
	if err != nil {
		return err
	}
	defer l.close()
	ticker := time.NewTicker(waitLook)
	defer ticker.Stop()
	for {
		r, err := l.completed()
		if err != nil {
			return exit.With(exit.Local, err, "")
		}
		if r != nil && (*r == stamp || r.After(stamp) && !l.ahead(*r)) {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
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
	r, ok := l.root.Record()
	if !ok && errors.Is(l.root.ProbeRecord(), disk.ErrNoXattr) {
		status, err := l.marker.ReadStatus()
		if err != nil || status.Root == nil {
			return nil, err
		}
		r, ok = disk.Record{Stamp: *status.Root}, true
	}
	if !ok || !disk.SameStored(info.MTime, r.Stamp) {
		return nil, nil
	}
	return &r.Stamp, nil
}
