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
func (p *pass) unfold(dir *disk.Dir, n *node, v *view, have []mtree.Entry) ([]mtree.Entry, error) {
	if p.dest.Staging == nil || !p.dest.Staging.Folds || n.fresh {
		return have, nil
	}
	present, wanted := names(have), names(v.listing.Entries)
	kept := v.listing.Entries[:0:0]
	respelled := false
	for _, e := range v.listing.Entries {
		if present[e.Name] || p.filters.Excluded(mtree.JoinPath(n.path, e.Name), e.Kind == mtree.Dir) || !dir.Respelled(e.Name) {
			kept = append(kept, e)
			continue
		}
		old := spelledBefore(have, &e, wanted)
		if old == "" {
			v.failed = append(v.failed, failure{mtree.JoinPath(n.path, e.Name), replica.Local(disk.ErrCollides)})
			continue
		}
		if err := p.respell(dir, n, v, old, e.Name); err != nil {
			return nil, err
		}
		respelled = true
		kept = append(kept, e)
	}
	v.listing.Entries = kept
	if respelled {
		return p.present(dir, n, &v.listing)
	}
	return have, nil
}

func (p *pass) respell(dir *disk.Dir, n *node, v *view, old, name string) error {
	info, err := dir.Self()
	if err == nil {
		err = p.open(n, dir, info, recordOf(&v.listing), allDoubts(v.deep, v.more))
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
