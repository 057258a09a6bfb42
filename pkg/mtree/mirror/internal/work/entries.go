package work

import (
	"context"
	"io/fs"
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

// RootKeeps reports whether the copy's root has an entry besides those that go. What is none
// of a copy does not count: what filters exclude, and a lost+found that the source does not
// list. Nor does what cannot be read. Cost: getdents64 up to the first such entry. If the root was
// listed by a part and there is only a lost+found, a request: a part does not say whether the source
// lists that, too.
func (env *Env) RootKeeps(ctx context.Context, goes map[string]bool) (keeps bool) {
	root, listing, unsure := env.Replica.Root, &env.Root.Listing, false
	_ = root.Scan(func(raw []byte, kind mtree.Kind) error {
		name := string(raw)
		if goes[name] {
			return nil
		}
		if kind == mtree.Other { // perhaps this file system does not show what it is
			info, _ := root.Stat(name)
			kind = info.Kind
		}
		if env.Filters.Excluded(name, kind == mtree.Dir) {
			return nil
		}
		e := []mtree.Entry{{Name: name, Kind: kind}}
		if keeps = len(withoutLostFound(e, listing)) > 0; keeps {
			return fs.SkipAll
		}
		unsure = listing.IsPart()
		return nil
	})
	if keeps || !unsure {
		return keeps
	}
	whole, err := env.ask(ctx, &Target{})
	return err == nil && lists(&whole.Listing, lister.LostFound) // guard (returns false): TestTheLostFoundOfASource
}

// withoutLostFound drops the lost+found that mkfs made, unless the source has one.
func withoutLostFound(have []mtree.Entry, listing *mtree.Listing) []mtree.Entry {
	if lists(listing, lister.LostFound) {
		return have
	}
	kept := have[:0]
	for i := range have {
		if have[i].Name != lister.LostFound || have[i].Kind != mtree.Dir {
			kept = append(kept, have[i])
		}
	}
	return kept
}

// lists reports whether a listing has an entry of that name.
func lists(l *mtree.Listing, name string) bool {
	return slices.ContainsFunc(l.Entries, func(e mtree.Entry) bool { return e.Name == name })
}

// hasFiles reports whether there is a file among entries.
func hasFiles(entries []mtree.Entry) bool {
	return slices.ContainsFunc(entries, func(e mtree.Entry) bool { return e.Kind == mtree.File })
}

// wanted returns those entries of path's listing that no filter excludes, with the modes and owners
// that they shall have.
func (env *Env) wanted(path string, entries []mtree.Entry) []mtree.Entry {
	entries = env.Rights.Apply(entries, env.Replica.Umask) // guard: TestRightsOfACopy
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
