package pass

// unfinished remembers the directories that passes left incomplete since the last one that
// completed the copy. Above one of them all are: a part of a listing (work.Env.Visit) says
// nothing of what is below other names, so none is used for these. The zero value has none.
type unfinished struct {
	paths map[string]bool
	many  bool // there are too many to remember: all count
}

// mostUnfinished bounds how many directories are remembered.
const mostUnfinished = 10_000

// has reports whether the directory at path counts as one of them.
func (u *unfinished) has(path string) bool { return u.many || u.paths[path] }

// note adds those that a pass left incomplete; one that is complete leaves none.
func (u *unfinished) note(complete bool, left []*node) {
	if complete { // guard (always): TestWhatStaysUnfinished
		*u = unfinished{}
		return
	}
	if len(u.paths)+len(left) > mostUnfinished {
		*u = unfinished{many: true}
	}
	if u.many {
		return
	}
	if u.paths == nil {
		u.paths = map[string]bool{"": true}
	}
	for _, n := range left {
		u.paths[n.Path] = true
	}
}
