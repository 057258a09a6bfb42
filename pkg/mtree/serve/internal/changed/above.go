package changed

import (
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/serve/internal/published"
)

// above checks, for one answer, that each directory above one that is told opens for reading. A
// walk tells nothing of what is below a directory that it cannot read, although that may be
// open to who knows its name; so the journal must not either. It remembers what is above the
// last path, and is cheap for paths in the order of a walk.
type above struct {
	tree   *published.Tree
	top    string   // where the walk begins: what is above that is not looked at
	opened []string // these opened, each is below the one before
	closed string   // this one did not open, because of err
	err    error    // nil: all opened
}

// check opens the directories from the top to the one above path, and returns the first that
// does not open. Cost: as OpenDir, for each that is not above the last path.
func (a *above) check(path string) (closed string, err error) {
	if path == a.top {
		return "", nil
	}
	if a.err != nil && isWithin(path, a.closed) {
		return a.closed, a.err
	}
	for n := len(a.opened); n > 0 && !isBelow(path, a.opened[n-1]); n-- {
		a.opened = a.opened[:n-1]
	}
	at := a.top
	if n := len(a.opened); n > 0 {
		at = towards(a.opened[n-1], path)
	}
	for ; at != path; at = towards(at, path) {
		dir, err := a.tree.OpenDir(at)
		if err != nil {
			if !disk.IsOutOfResources(err) { // that may be over for the next path
				a.closed, a.err = at, err
			}
			return at, err
		}
		_ = dir.Close()
		a.opened = append(a.opened, at)
	}
	return "", nil
}

// add says that the directory at path opened, the last that was checked.
func (a *above) add(path string) { a.opened = append(a.opened, path) }
