package work

import (
	"slices"
	"strings"
	"sync"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/lister"
	"tidemark/pkg/mtree/internal/records"
)

// present reads the entries of the copy at path, except those that filters exclude. files
// says whether there are files among these, dirs are the names of directories among them.
func (env *Env) present(dir *disk.Dir, path string, listing *mtree.Listing) (have []mtree.Entry, files bool, dirs []string, err error) {
	var mu sync.Mutex
	have, err = lister.Present(dir, path, func(path string, isDir bool) bool {
		is := env.Filters.Excluded(path, isDir)
		if is {
			mu.Lock()
			defer mu.Unlock()
			if files = files || !isDir; isDir {
				dirs = append(dirs, strings.Clone(mtree.BaseName(path)))
			}
		}
		return is
	})
	if path == "" {
		have = withoutLostFound(have, listing)
	}
	return have, files, dirs, err
}

// InRoot returns the names that the copy has in its root now, without those that are none
// of a copy: what filters exclude, and a lost+found that the source does not list. What cannot
// be read is left out.
func (env *Env) InRoot() map[string]bool {
	names := map[string]bool{}
	have, _, _, _ := env.present(env.Replica.Root, "", &env.Root.Listing)
	for i := range have {
		names[have[i].Name] = true
	}
	return names
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

// hasFiles reports whether there is a file among entries.
func hasFiles(entries []mtree.Entry) bool {
	return slices.ContainsFunc(entries, func(e mtree.Entry) bool { return e.Kind == mtree.File })
}

// wanted returns those entries of path's listing that no filter excludes.
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

// isReplaced reports whether the source's directory is not the one that was copied under
// this name.
func isReplaced(r records.Record, l *mtree.Listing) bool {
	return r.ID != "" && l.ID != "" && r.ID != l.ID // guard (returns false): TestSimulatedGuards/exchanged
}

// recordOf returns the record with which a listing completes a directory. It does not say
// how many entries the source leaves out; recordHidden adds that.
func recordOf(l *mtree.Listing) records.Record {
	return records.Record{Stamp: l.Stamp, Now: l.Now, ID: l.ID}
}
