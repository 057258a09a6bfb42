package journal

import (
	"cmp"
	"slices"
	"sort"
	"strings"
	"sync"
	"unsafe"

	"tidemark/pkg/mtree"
)

// DefaultMemory is how many bytes an index has at most, if nothing else is said.
const DefaultMemory = 16 << 20

// index has the lines of the last batches of one run, by directory. Its batches have numbers
// without a gap: a batch that does not follow the last one empties it. Whole batches leave
// it, the oldest first. It is safe for use by several goroutines.
type index struct {
	max int64

	mu      sync.RWMutex
	run     string
	behind  uint64            // all batches of the run after this number, up to last, are here
	last    uint64            // number of the last batch
	batches []indexed         // the oldest first; their floors never fall
	dirs    map[string][]ref  // the lines of each directory, the oldest first; none is empty
	covers  map[string]uint64 // the last batch in which "**" was told of a directory
	stars   map[string]uint64 // the last one after which names may have been hidden: see mayHide
	size    int64             // bytes, about
}

// indexed is a batch in the index.
type indexed struct {
	Batch
	size int64 // of its text and lines
}

// ref leads to a line.
type ref struct {
	number uint64 // of its batch
	line   *Line
}

// What the parts of an index cost in memory, about.
const (
	lineSize = int64(unsafe.Sizeof(Line{})) + 2*int64(unsafe.Sizeof(ref{})) // a slice of refs has room for more
	nameSize = int64(unsafe.Sizeof(""))
	dirSize  = 100 // a key of a map, its slice, and room for more of them
)

// reset empties the index: the next batch has the number behind + 1.
func (x *index) reset(run string, behind uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.clear(run, behind)
}

func (x *index) clear(run string, behind uint64) {
	x.run, x.behind, x.last, x.size = run, behind, behind, 0
	x.batches, x.dirs = nil, map[string][]ref{}
	x.covers, x.stars = map[string]uint64{}, map[string]uint64{}
}

// isAt returns what the index has: up to which batch of which run.
func (x *index) isAt() (run string, last uint64) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.run, x.last
}

// memory returns how many bytes the index has, about.
func (x *index) memory() int64 {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.size
}

// add adds a batch whose text has length bytes. One that was added before is left out; one
// that does not follow the last begins the index anew.
func (x *index) add(b Batch, length int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if b.Number <= x.last {
		return
	}
	if n := len(x.batches); b.Number != x.last+1 || // guard: TestIndexWithAGap
		n > 0 && b.Floor.Before(x.batches[n-1].Floor) { // guard: TestIndexWithAGap
		x.clear(x.run, b.Number-1)
	}
	size := 2 * int64(length) // names that are escaped are there twice
	for i := range b.Lines {
		l := &b.Lines[i]
		size += lineSize + nameSize*int64(len(l.Names))
		x.addLine(b.Number, l)
	}
	x.batches = append(x.batches, indexed{b, size})
	x.last, x.size = b.Number, x.size+size
	for x.size > x.max && len(x.batches) > 0 {
		x.drop()
	}
}

func (x *index) addLine(number uint64, l *Line) {
	refs, ok := x.dirs[l.Path]
	if ok {
		l.Path = refs[0].line.Path // guard: TestIndexForgets
	} else {
		l.Path = strings.Clone(l.Path) // the keys must not keep the text of this batch
		x.size += dirSize + int64(len(l.Path))
	}
	x.dirs[l.Path] = append(refs, ref{number, l})
	if l.Below {
		x.covers[l.Path] = number
	}
	if mayHide(l) {
		x.stars[l.Path] = number
	}
}

// mayHide reports whether somebody may have set who may read the directory of a line. If its names
// are not known for another reason, it has a span all the same.
func mayHide(l *Line) bool { return l.Unknown && (l.Below || !l.Known) } // guard (without !l.Known): TestStarsThatHideNothing

// drop removes the oldest batch.
func (x *index) drop() {
	b := x.batches[0]
	for _, l := range b.Lines {
		all := x.dirs[l.Path] // all older lines went before
		all[0] = ref{}        // guard: TestIndexForgets
		refs := all[1:]
		if x.dirs[l.Path] = refs; len(refs) == 0 {
			delete(x.dirs, l.Path)
			x.size -= dirSize + int64(len(l.Path))
		}
		if l.Below && x.covers[l.Path] == b.Number {
			delete(x.covers, l.Path)
		}
		if mayHide(&l) && x.stars[l.Path] == b.Number {
			delete(x.stars, l.Path)
		}
	}
	x.batches[0] = indexed{} // the array lives on
	x.batches = x.batches[1:]
	x.behind = b.Number
	x.size -= b.size
}

// reaches reports whether all that was stamped above s is here. The caller holds the lock,
// as for all that follows.
//
// Of a copy, all batches of one pass have the floor of that pass, and the first of them may be
// missing where the last ones are here. A directory of those is found all the same: what is above it
// is stamped in the same batch or in a later one, and names it.
func (x *index) reaches(s mtree.Stamp) bool {
	return len(x.batches) > 0 && !s.Before(x.batches[0].Floor) // guard (without !s.Before): TestIndexReachesBack
}

// first returns the index of the oldest batch that may have given a stamp above s. A stamp
// may lie between what a batch gave, because a reader listed a directory meanwhile, so the
// floor that counts is that of the next batch with another one: all batches of one pass of a mirror
// have the same.
func (x *index) first(s mtree.Stamp) int {
	last := len(x.batches) - 1
	i := sort.Search(last, func(i int) bool { return x.batches[i+1].Floor.After(s) })
	floor := x.batches[i].Floor
	return sort.Search(i, func(j int) bool { return !x.batches[j].Floor.Before(floor) }) // guard (returns i): TestBatchesWithOneFloor
}

// isCovered reports whether "**" was told of the directory, or of one above it, in the
// batches from this number on.
func (x *index) isCovered(dir string, from uint64) bool { return isWithin(x.covers, dir, from) }

// isStarred reports whether somebody may have set who may read the directory, or one above it, in the
// batches from this number on.
func (x *index) isStarred(dir string, from uint64) bool { return isWithin(x.stars, dir, from) }

// isWithin reports whether a directory, or one above it, was told of in the batches from this
// number on.
func isWithin(last map[string]uint64, dir string, from uint64) bool {
	for {
		if number, ok := last[dir]; ok && number >= from { // guard (without number): TestIndexAgainstAModel
			return true
		}
		if dir == "" {
			return false
		}
		dir = mtree.ParentPath(dir)
	}
}

// told returns the lines of the directory in the batches from this number on, and those
// before them that had the same To: no stamp was written between them, so a reader that has
// this stamp may lack the names of either.
func (x *index) told(dir string, from uint64) []ref {
	refs := x.dirs[dir]
	begin, _ := slices.BinarySearchFunc(refs, from, func(r ref, from uint64) int { return cmp.Compare(r.number, from) })
	if begin == len(refs) {
		return nil
	}
	return refs[x.together(refs, begin):]
}

// together returns from where on lines must be told if those from begin on are.
func (x *index) together(refs []ref, begin int) int {
	oldest := begin // the oldest told line with a To
	for oldest < len(refs)-1 && !refs[oldest].line.Known {
		oldest++
	}
	to := refs[oldest].line
	for i := begin - 1; i >= 0 && to.Known; i-- {
		if l := refs[i].line; l.Known {
			if l.To != to.To { // guard (always): TestLinesWithOneToAreToldTogether
				break
			}
			begin = i
		}
	}
	return begin
}
