package mirror

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/glob"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/state"
)

// Release carries out exactly the deletions now held in c.Dest; nothing else
// of c but StateDir, Out and Log counts.
//
// While a mirror runs, it is told: Release leaves a copy of the list beside it,
// and the running mirror, which looks for that every second, deletes what is in
// it if the source still does not have it. Release returns when it did. Without
// one, Release takes the lock and deletes what is unchanged since it was held.
func Release(ctx context.Context, c Config) error {
	c = c.withDefaults()
	l, err := lookAt(c.Dest, c.StateDir)
	if err != nil {
		return err
	}
	defer l.close()
	held, err := readHeld(l.marker, heldName)
	if err != nil {
		return exit.With(exit.Local, err, "")
	}
	if len(held.entries) == 0 {
		fmt.Fprintln(c.Out, "nothing is held")
		return nil
	}
	lock, err := l.marker.Lock()
	if errors.Is(err, state.ErrLocked) {
		return tellRelease(ctx, &c, l, &held)
	}
	if err != nil {
		return exit.With(exit.Local, err, "")
	}
	_ = lock.Unlock()
	return releaseHere(&c)
}

// tellRelease leaves the list for the running mirror and waits until it took
// it.
func tellRelease(ctx context.Context, c *Config, l *look, held *heldList) error {
	dir := l.marker.Dir()
	if err := state.WriteFile(dir, releaseName, held.format()); err != nil {
		return exit.With(exit.Local, err, "")
	}
	ticker := time.NewTicker(waitLook)
	defer ticker.Stop()
	for {
		if _, err := dir.Stat(releaseName); errors.Is(err, fs.ErrNotExist) {
			break
		} else if err != nil {
			return exit.With(exit.Local, err, "")
		}
		if locked, err := l.marker.Locked(); err == nil && !locked {
			// It ended before it took the list.
			if err := dir.Unlink(releaseName); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return exit.With(exit.Local, err, "")
			}
			return releaseHere(c)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			_ = dir.Unlink(releaseName)
			return ctx.Err()
		}
	}
	return releasedAll(c, l, held)
}

// releasedAll reports what of the list is still held.
func releasedAll(c *Config, l *look, held *heldList) error {
	now, err := readHeld(l.marker, heldName)
	if err != nil {
		return exit.With(exit.Local, err, "")
	}
	fmt.Fprintf(c.Out, "deleted %d, held %d\n", max(held.total()-now.total(), 0), now.total())
	if len(now.entries) > 0 {
		return exit.With(exit.Held, fmt.Errorf("%d deletions held: %s", now.total(), now.why()), "look at mirror --status DEST")
	}
	return nil
}

// releaseHere deletes with the lock taken.
func releaseHere(c *Config) error {
	d, err := openDest(c)
	if err != nil {
		return err
	}
	defer d.close()
	was := *c
	was.restore(d.tree.Filters)
	if d.filters, err = glob.Recorded(was.Filters); err != nil {
		return exit.With(exit.Local, err, "")
	}
	held, err := readHeld(d.marker, heldName)
	if err != nil {
		return exit.With(exit.Local, err, "")
	}
	var kept heldList
	var deleted int64
	var errs []error
	for i := range held.entries {
		e := &held.entries[i]
		switch gone, err := d.releaseOne(&held, e); {
		case err != nil:
			errs = append(errs, exit.With(exit.Local, fmt.Errorf("%s: %w", quoted(e.path), err), ""))
			kept.entries = append(kept.entries, *e)
		case gone:
			deleted += e.entries
		default:
			c.Log.Warn("changed since it was held, so it stays", "path", quoted(e.path))
		}
	}
	if err := d.storeReleased(&kept, deleted); err != nil {
		errs = append(errs, exit.With(exit.Local, err, ""))
	}
	fmt.Fprintf(c.Out, "deleted %d, held %d\n", deleted, kept.total())
	return errors.Join(errs...)
}

// releaseOne deletes one entry if it is what was held.
func (d *dest) releaseOne(held *heldList, e *deletion) (gone bool, err error) {
	up := mtree.ParentPath(e.path)
	dir, err := d.dir(up)
	if disk.IsGone(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer dir.Close()
	info, err := dir.Stat(e.name())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	count, err := d.count(dir, e.name(), e.path)
	if err != nil {
		return false, err
	}
	now := deletion{path: e.path, kind: info.Kind, mtime: info.MTime, entries: count.Entries}
	if count.Tree {
		now.why = whyTree
	}
	if !held.has(&now) {
		return false, nil
	}
	if err := d.begin(dir, up, records.Record{}, 0); err != nil {
		return false, err
	}
	now.why = e.why
	if _, _, err := d.delete(dir, &now); err != nil {
		return false, err
	}
	return true, dir.SetTime(machine.Now())
}

func (d *dest) storeReleased(kept *heldList, deleted int64) error {
	if d.status.Counters != nil {
		d.status.Counters[countEntries] = max(d.entries()-deleted, 0)
		d.status.Counters[countHeld] = kept.total()
	}
	if !slices.ContainsFunc(kept.entries, func(e deletion) bool { return !e.byItself() }) && d.status.Deletions != nil {
		d.status.Deletions.Shut, d.status.Deletions.Recent = false, nil
	}
	err := d.file.Write(d.status)
	if len(kept.entries) > 0 {
		return errors.Join(err, state.WriteFile(d.marker.Dir(), heldName, kept.format()))
	}
	return errors.Join(err, d.marker.Remove(heldName))
}
