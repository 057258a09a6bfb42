package work

import (
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/lister"
	"tidemark/pkg/mtree/internal/records"
)

// present reads the entries that the copy has at path, without those that filters
// exclude.
func (env *Env) present(dir *disk.Dir, path string, listing *mtree.Listing) ([]mtree.Entry, error) {
	have, err := lister.Present(dir, path, env.Filters.Excluded)
	if path == "" {
		have = withoutLostFound(have, listing)
	}
	return have, err
}

// withoutLostFound drops the lost+found that mkfs made, unless the source has one.
func withoutLostFound(have []mtree.Entry, listing *mtree.Listing) []mtree.Entry {
	for i := range listing.Entries {
		if listing.Entries[i].Name == lister.LostFound {
			return have
		}
	}
	kept := have[:0]
	for i := range have {
		if have[i].Name != lister.LostFound || have[i].Kind != mtree.Dir {
			kept = append(kept, have[i])
		}
	}
	return kept
}

// wanted returns the entries of the listing of path that no filter excludes.
func (env *Env) wanted(path string, entries []mtree.Entry) []mtree.Entry {
	if env.Filters.Empty() {
		return entries
	}
	kept := make([]mtree.Entry, 0, len(entries))
	for i := range entries {
		if e := &entries[i]; !env.Filters.Excluded(mtree.JoinPath(path, e.Name), e.Kind == mtree.Dir) {
			kept = append(kept, *e)
		}
	}
	return kept
}

// isReplaced reports whether the source has another directory under the name than the
// one that was copied.
func isReplaced(r records.Record, l *mtree.Listing) bool {
	return r.ID != "" && l.ID != "" && r.ID != l.ID
}

// recordOf returns the record that a listing completes a directory with. What the
// source leaves out is not in it.
func recordOf(l *mtree.Listing) records.Record {
	return records.Record{Stamp: l.Stamp, Now: l.Now, ID: l.ID}
}
