package work

import (
	"tidemark/pkg/mtree/mirror/internal/fetch"
	"tidemark/pkg/mtree/mirror/internal/replica"
)

// DeleteResult is what became of the deletions of one directory.
type DeleteResult struct {
	Deleted  int64     // entries, with all below them
	Released int64     // of these, entries that somebody released
	Replaced int64     // directories whose name a file or symlink has now
	Each     []Deleted // by the indices of the deletions; nil: the directory could not be opened
	Failed   []fetch.Failure
}

// Deleted is what became of one deletion.
type Deleted struct {
	Entries  int64 // that are gone
	Replaced bool  // something else has the name
	Failed   bool  // the entry is there, though some of what is below it may be gone
}

// Delete carries out deletions in one directory.
func (env *Env) Delete(t Target, deletions []replica.Deletion) *DeleteResult {
	r := &DeleteResult{}
	at := t.ToChange()
	dir, err := env.writer().OpenToChange(&at)
	if err != nil {
		for i := range deletions {
			env.Replica.Abandon(&deletions[i]) // guard: TestWhatReplacesNothingIsDropped
		}
		r.Failed = append(r.Failed, fetch.Failure{Path: t.Path, Err: replica.Local(err)})
		return r
	}
	defer dir.Close()
	r.Each = make([]Deleted, len(deletions))
	for i := range deletions {
		d := &deletions[i]
		n, replaced, err := env.Replica.Delete(dir, d)
		r.Each[i] = Deleted{n, replaced, err != nil && !replaced}
		r.Deleted += n
		if d.Released {
			r.Released += n
		}
		if replaced {
			r.Replaced++
			env.writer().NoteReplacement(d.Path)
		} else if err != nil {
			env.Replica.Abandon(d) // guard: TestWhatReplacesNothingIsDropped
		}
		if err != nil {
			r.Failed = append(r.Failed, fetch.Failure{Path: d.Path, Err: replica.Local(err)})
		}
	}
	return r
}
