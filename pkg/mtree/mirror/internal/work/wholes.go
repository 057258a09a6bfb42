package work

import (
	"sync"

	"tidemark/pkg/mtree"
)

// Wholes remembers when directories were listed whole last whose records cannot say so: they keep
// an older `now`, because the copy has files there that the visit did not compare (keepKnown).
// Without it, parts would not suffice for such a directory any more, a day after its first
// listing. The zero value is empty. Several goroutines may use it.
type Wholes struct {
	mu sync.Mutex
	at map[string]mtree.Stamp // by path: `now` of the listing
}

// mostWholes bounds the memory, to about 2 MB. With more directories everything is forgotten,
// which costs whole listings and nothing else.
const mostWholes = 10_000

// Note records that a directory was completed with a whole listing; needed says that its record does
// not say so.
func (w *Wholes) Note(path string, now mtree.Stamp, needed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !needed { // guard: TestWholes
		delete(w.at, path)
		return
	}
	if w.at == nil || len(w.at) >= mostWholes { // guard (without len(w.at)): TestWholes
		w.at = map[string]mtree.Stamp{}
	}
	w.at[path] = now
}

// Forget says that nothing counts that was noted of a directory.
func (w *Wholes) Forget(path string) { w.Note(path, mtree.Stamp{}, false) }

// At returns when a directory was listed whole, the zero Stamp if nothing is remembered.
func (w *Wholes) At(path string) mtree.Stamp {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at[path]
}
