package replica

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/records"
)

// Release carries out the deletions of a list whose entries have not changed since they
// were held. An entry that changed stays, and is no longer held; one that cannot be
// deleted stays held. done is called after each deletion, with Stays set. Release returns how many
// entries were deleted and what is held now.
func (r *Replica) Release(held *HeldList, done func(*Deletion)) (deleted int64, kept HeldList, err error) {
	var errs []error
	for i := range held.Entries {
		d := &held.Entries[i]
		is, err := r.releaseOne(held, d)
		if is != nil {
			done(is)
		}
		switch {
		case err == nil:
			deleted += d.Entries
		case err == errChanged:
			r.log.Warn("changed since it was held, so it stays", "path", mtree.QuotePath(d.Path),
				"remedy", "none is needed: if the source still lacks it, the next pass holds it again")
		default:
			errs = append(errs, exit.With(exit.Local, fmt.Errorf("%s: %w", mtree.QuotePath(d.Path), err), ""))
			kept.Entries = append(kept.Entries, *d)
		}
	}
	if err := r.storeReleased(&kept, deleted); err != nil {
		errs = append(errs, exit.With(exit.Local, err, ""))
	}
	return deleted, kept, errors.Join(errs...)
}

// errChanged says that an entry is not what it was when it was held.
var errChanged = errors.New("changed since it was held")

// releaseOne deletes one entry, or returns errChanged. is is what was deleted; nil: nothing was.
func (r *Replica) releaseOne(held *HeldList, was *Deletion) (is *Deletion, err error) {
	up := mtree.ParentPath(was.Path)
	dir, err := r.Enter(up)
	if disk.IsGone(err) {
		return nil, errChanged
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	if err := r.makeReady(dir, up); err != nil {
		return nil, err
	}
	info, err := dir.Stat(was.Name())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errChanged
	}
	if err != nil {
		return nil, err
	}
	d, stays, err := r.Measure(dir, was.Path, info.Kind, info.MTime)
	if err != nil {
		return nil, err
	}
	if !held.Has(&d) {
		return nil, errChanged
	}
	if err := r.Begin(dir, up, records.Record{}, 0); err != nil {
		return nil, err
	}
	if _, _, err := r.Delete(dir, &d); err != nil {
		return nil, err
	}
	d.Stays = stays
	return &d, r.Stamp(dir, up, machine.Now())
}

// makeReady makes a directory writable for its owner, who may lack that right. It is unfinished
// then, and gets its mode back with its stamp.
func (r *Replica) makeReady(dir *disk.Dir, path string) error {
	info, err := dir.Self()
	if err != nil || info.Mode&0o700 == 0o700 {
		return err
	}
	return errors.Join(r.Begin(dir, path, records.Record{}, 0), allow(dir, info))
}

// storeReleased writes what is held now, and the status that goes with it.
func (r *Replica) storeReleased(kept *HeldList, deleted int64) error {
	r.mu.Lock()
	s := &r.status
	if s.Counters != nil {
		counters := CountersOf(s)
		counters.Entries, counters.Held = max(counters.Entries-deleted, 0), kept.Total()
		s.Counters = counters.fields()
	}
	if !slices.ContainsFunc(kept.Entries, func(d Deletion) bool { return !d.HasOwnReason() }) && s.Deletions != nil {
		s.Deletions.Shut, s.Deletions.Recent = false, nil
	}
	err := r.file.Write(*s)
	r.mu.Unlock()
	return errors.Join(err, r.SetHeld(kept))
}
