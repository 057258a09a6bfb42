package mirror

import (
	"strings"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/mirror/internal/replica"
)

// unfold deals with names of the listing that the copy's file system takes for
// others. One that was only respelled at the source is respelled in the copy.
// Where both are wanted the first stays, and the other is a failure: it is neither
// fetched nor does it make way for anything. It returns what is present now.
func (w *work) unfold(dir *disk.Dir, t *target, v *visitResult, have []mtree.Entry) ([]mtree.Entry, error) {
	if w.dest.Staging == nil || !w.dest.Staging.Folds || t.fresh {
		return have, nil
	}
	present, wanted := names(have), names(v.listing.Entries)
	kept := v.listing.Entries[:0:0]
	respelled := false
	for _, e := range v.listing.Entries {
		if present[e.Name] || w.filters.Excluded(mtree.JoinPath(t.path, e.Name), e.Kind == mtree.Dir) || !dir.Respelled(e.Name) {
			kept = append(kept, e)
			continue
		}
		old := spelledBefore(have, &e, wanted)
		if old == "" {
			v.failed = append(v.failed, failure{mtree.JoinPath(t.path, e.Name), replica.Local(disk.ErrCollides)})
			continue
		}
		if err := w.respell(dir, t, v, old, e.Name); err != nil {
			return nil, err
		}
		respelled = true
		kept = append(kept, e)
	}
	v.listing.Entries = kept
	if respelled {
		return w.present(dir, t.path, &v.listing)
	}
	return have, nil
}

func (w *work) respell(dir *disk.Dir, t *target, v *visitResult, old, name string) error {
	info, err := dir.Self()
	if err == nil {
		err = w.makeReady(dir, info, &target{path: t.path, record: recordOf(&v.listing), doubts: v.doubts})
	}
	if err == nil {
		err = dir.Rename(old, dir, name)
	}
	v.changed = true
	return err
}

// spelledBefore returns the entry of the copy that is e by another spelling, and
// that the source no longer has.
func spelledBefore(have []mtree.Entry, e *mtree.Entry, wanted map[string]bool) string {
	for i := range have {
		h := &have[i]
		if !wanted[h.Name] && h.Kind == e.Kind && strings.EqualFold(h.Name, e.Name) {
			return h.Name
		}
	}
	return ""
}

func names(entries []mtree.Entry) map[string]bool {
	all := make(map[string]bool, len(entries))
	for i := range entries {
		all[entries[i].Name] = true
	}
	return all
}
