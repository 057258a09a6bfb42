package work

import (
	"tidemark/pkg/mtree/mirror/internal/replica"
)

// DeleteResult is what became of the deletions of one directory.
type DeleteResult struct {
	Deleted  int64 // entries, with all below them
	Released int64 // of these, entries that somebody released
	Replaced int64 // directories whose name a file or symlink has now
	Failed   []Failure
}

// Delete carries out deletions in one directory.
func (env *Env) Delete(t Target, deletions []replica.Deletion) *DeleteResult {
	r := &DeleteResult{}
	dir, err := env.openToChange(&t)
	if err != nil {
		for i := range deletions {
			env.Replica.Abandon(&deletions[i]) // guard: TestWhatReplacesNothingIsDropped
		}
		r.Failed = append(r.Failed, Failure{t.Path, replica.Local(err)})
		return r
	}
	defer dir.Close()
	for i := range deletions {
		d := &deletions[i]
		n, replaced, err := env.Replica.Delete(dir, d)
		r.Deleted += n
		if d.Released {
			r.Released += n
		}
		if replaced {
			r.Replaced++
		} else if err != nil {
			env.Replica.Abandon(d) // guard: TestWhatReplacesNothingIsDropped
		}
		if err != nil {
			r.Failed = append(r.Failed, Failure{d.Path, replica.Local(err)})
		}
	}
	return r
}
