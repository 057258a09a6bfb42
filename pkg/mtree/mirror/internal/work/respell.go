package work

import (
	"strings"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/mirror/internal/fetch"
	"tidemark/pkg/mtree/mirror/internal/replica"
)

// respell deals with names that differ in their case only, where the copy's file
// system ignores case. An entry that was renamed so at the source is renamed in the
// copy. If the source lists both names, the entry that the copy has stays; the other
// one is a failure and leaves the listing, so it is neither fetched nor deleted.
// respell returns the entries that the copy has now.
func (env *Env) respell(dir *disk.Dir, t *Target, v *VisitResult, have []mtree.Entry) (_ []mtree.Entry, err error) {
	if env.Replica.Staging == nil || !env.Replica.Staging.Folds || t.Fresh {
		return have, nil
	}
	present, wanted := names(have), names(v.Listing.Entries)
	kept := v.Listing.Entries[:0:0]
	respelled := false
	for _, e := range v.Listing.Entries {
		if present[e.Name] || env.Filters.Excluded(mtree.JoinPath(t.Path, e.Name), e.Kind == mtree.Dir) || !dir.Respelled(e.Name) {
			kept = append(kept, e)
			continue
		}
		old := spelledBefore(have, &e, wanted)
		if old == "" {
			v.Failed = append(v.Failed, fetch.Failure{Path: mtree.JoinPath(t.Path, e.Name), Err: replica.Local(disk.ErrCollides)})
			continue
		}
		if err := env.renameEntry(dir, t, v, old, e.Name); err != nil {
			return nil, err
		}
		v.Respelled = append(v.Respelled, Respelled{strings.Clone(old), strings.Clone(e.Name), e.Kind})
		respelled = true
		kept = append(kept, e)
	}
	v.Listing.Entries = kept
	if respelled {
		have, v.Unseen, _, err = env.present(dir, t.Path, &v.Listing)
		return have, err
	}
	return have, nil
}

// renameEntry gives an entry of the copy the spelling of the source.
func (env *Env) renameEntry(dir *disk.Dir, t *Target, v *VisitResult, old, name string) error {
	info, err := dir.Self()
	if err == nil {
		err = env.makeReady(dir, info, &Target{Path: t.Path, Record: v.record(), Doubts: v.Doubts})
	}
	if err == nil {
		err = dir.Rename(old, dir, name)
	}
	v.Changed = true
	return err
}

// spelledBefore returns the name in the copy that is another spelling of e, if the
// source no longer lists that name; "" if there is none.
func spelledBefore(have []mtree.Entry, e *mtree.Entry, wanted map[string]bool) string {
	for i := range have {
		h := &have[i]
		if !wanted[h.Name] && h.Kind == e.Kind && strings.EqualFold(h.Name, e.Name) {
			return h.Name
		}
	}
	return ""
}

// names returns the set of the entries' names.
func names(entries []mtree.Entry) map[string]bool {
	all := make(map[string]bool, len(entries))
	for i := range entries {
		all[entries[i].Name] = true
	}
	return all
}
