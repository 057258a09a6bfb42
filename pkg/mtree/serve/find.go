package serve

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/glob"
	"tidemark/pkg/mtree/internal/lister"
	"tidemark/pkg/mtree/wire"
)

// Bounds of one search by name.
const (
	maxFound    = 1000             // entries in an answer
	maxFindRead = 1 << 20          // entries that are looked at
	maxPending  = 1 << 17          // directories that wait to be looked at
	maxFindTime = 10 * time.Second // how long it goes on
)

// find answers ?find=GLOB: entries at or below the directory whose names match, those of higher directories
// first. It ends at a bound, and says so: the answer is then not all that there is.
func (h *Handler) find(w http.ResponseWriter, r *http.Request, q *dirRequest) {
	want := q.query["find"]
	if q.has("form") { // browsers send a blank as a plus, and a plus as %2B
		want = wire.ParseQuery(strings.ReplaceAll(r.URL.RawQuery, "+", "%20"))["find"]
	}
	matches, err := matcher(want)
	if err != nil {
		h.send(w, q.base().refused(http.StatusBadRequest, err.Error()))
		return
	}
	if !h.ready(w, q) {
		return
	}
	leave, ok := h.enter(w, r, q)
	if !ok {
		return
	}
	defer leave()
	f := &finding{h: h, root: q.path, lister: h.tree.Lister(q.snap), matches: matches, begins: fixedNames(want), dirs: []string{""}, until: time.Now().Add(h.findMost.time), most: h.findMost}
	if err := f.run(r); err != nil {
		h.fail(w, q.base(), err)
		return
	}
	q.find, q.more = want, f.more
	h.sendFound(w, q, f.found, leave)
}

// errFind says what a search takes.
var errFind = errors.New("want ?find=GLOB, or a word")

// Bounds of a GLOB that a client sends: each {a,b} doubles the work for each name.
const (
	maxGlob   = 1024 // bytes
	maxBraces = 3    // pairs
	maxCommas = 32   // within them
)

// matcher returns what tells whether a path, below the directory that is asked about, is looked for. A text
// without any of "*?[{/" is a word, which may stand anywhere in a name, in capitals or not.
func matcher(text string) (matches func(path string, isDir bool) bool, err error) {
	switch {
	case text == "" || len(text) > maxGlob || strings.Count(text, "{") > maxBraces || strings.Count(text, ",") > maxCommas && strings.Contains(text, "{"):
		return nil, errFind
	case !strings.ContainsAny(text, "*?[{/"):
		low := strings.ToLower(text)
		return func(path string, _ bool) bool { return strings.Contains(strings.ToLower(mtree.BaseName(path)), low) }, nil
	}
	list, err := glob.Excluding([]string{text})
	if err != nil {
		return nil, errFind
	}
	return list.Excluded, nil
}

// fixedNames returns the names with which each path begins that a GLOB matches: those of "/a/b/*.c" are a and b.
func fixedNames(text string) []string {
	rest, ok := strings.CutPrefix(text, "/")
	if !ok {
		return nil
	}
	names := strings.Split(rest, "/")
	if n := slices.IndexFunc(names, func(name string) bool { return name == "" || strings.ContainsAny(name, `*?[{\`) }); n >= 0 {
		names = names[:n]
	}
	return names
}

// findBounds are those of a search.
type findBounds struct {
	found, read, pending int
	time                 time.Duration
}

// finding is a search by name, one level of directories after the other.
type finding struct {
	h       *Handler
	root    string
	lister  *lister.Lister
	matches func(path string, isDir bool) bool
	begins  []string // the first names of each path that matches
	most    findBounds
	until   time.Time

	dirs  []string      // directories still to be looked at
	found []mtree.Entry // named by their paths
	read  int           // entries so far
	more  bool          // a bound ended it
}

// run looks at all directories, or until a bound ends it.
func (f *finding) run(r *http.Request) error {
	for len(f.dirs) > 0 && !f.more {
		if err := r.Context().Err(); err != nil {
			return err
		}
		next := f.dirs[0]
		f.dirs[0] = ""
		f.dirs = f.dirs[1:]
		if err := f.look(r, next); err != nil {
			return err
		}
		if len(f.dirs) > 0 && (f.read >= f.most.read || f.late()) {
			f.more = true
		}
	}
	return nil
}

// leads reports whether anything below a directory may match.
func (f *finding) leads(dir string) bool {
	for i, name := range strings.Split(dir, "/") {
		if i < len(f.begins) && name != f.begins[i] { // guard: TestASearchGoesWhereItsNamesLead
			return false
		}
	}
	return true
}

// look looks at the entries of one directory. A directory that has gone or may not be read has none.
func (f *finding) look(r *http.Request, path string) error {
	l, err := f.h.readDir(r, f.lister, joined(f.root, path))
	if path != "" && (disk.IsAbsent(err) || disk.IsDenied(err)) {
		return nil
	}
	if err != nil {
		return err
	}
	f.read += len(l.Entries)
	for i := range l.Entries {
		if i%lookEvery == lookEvery-1 && f.late() {
			f.more = true
			break
		}
		f.take(path, &l.Entries[i])
	}
	return nil
}

// lookEvery is after how many entries of a directory a search looks at the clock.
const lookEvery = 1024

// late reports whether the time is over.
func (f *finding) late() bool { return time.Now().After(f.until) }

// take keeps an entry of the directory dir if it is looked for, and goes into it later if it is a directory.
func (f *finding) take(dir string, e *mtree.Entry) {
	isDir := e.Kind == mtree.Dir
	path := mtree.JoinPath(dir, e.Name)
	if f.matches(path, isDir) {
		if len(f.found) >= f.most.found {
			f.more = true
			return
		}
		found := *e
		found.Name, found.Link = strings.Clone(path), strings.Clone(e.Link) // they must not keep the listing
		f.found = append(f.found, found)
	}
	switch {
	case !isDir || !f.leads(path):
	case len(f.dirs) >= f.most.pending:
		f.more = true
	default:
		f.dirs = append(f.dirs, path)
	}
}
