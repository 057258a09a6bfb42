package mirror

import (
	"tidemark/pkg/mtree/mirror/internal/replica"
)

// deleteResult is what became of the deletions of one directory.
type deleteResult struct {
	deleted  int64 // entries, with all below them
	released int64 // of these, entries that somebody released
	replaced int64 // directories whose name a file or symlink has now
	failed   []failure
}

// delete carries out deletions in one directory.
func (w *work) delete(t target, deletions []replica.Deletion) *deleteResult {
	r := &deleteResult{}
	dir, err := w.openToChange(&t)
	if err != nil {
		r.failed = append(r.failed, failure{t.path, replica.Local(err)})
		return r
	}
	defer dir.Close()
	for i := range deletions {
		d := &deletions[i]
		n, replaced, err := w.dest.Delete(dir, d)
		r.deleted += n
		if d.Released {
			r.released += n
		}
		if replaced {
			r.replaced++
		}
		if err != nil {
			r.failed = append(r.failed, failure{d.Path, replica.Local(err)})
		}
	}
	return r
}
