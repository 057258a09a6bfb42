package sourcetest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/wire"
)

// Tree is a tree in memory with its watch and the options of its serve. One goroutine at
// a time uses it: a test lets the others wait in yield.
type Tree struct {
	ID    string
	Epoch uint64
	State wire.State
	Runs  []wire.Run

	Mistake Mistake // of watch or serve; "": they make none

	clock func() mtree.Stamp
	shift time.Duration // by which somebody set the clock
	yield func(what string)
	tick  mtree.Stamp // the last time that the kernel gave
	made  int         // counts contents and directories, so that no two are alike
	files uint64      // counts files

	root       *node
	floor      mtree.Stamp           // the highest stamp published
	pending    map[*node]*change     // directories with changes that are not published
	journal    []batch               // what the present run of watch wrote down
	given      map[*node]mtree.Stamp // the stamps that it gave directories
	publishing bool                  // a batch is
	again      bool                  // another one is due after it
	setBack    bool                  // somebody set the clock back, which no watch has found out yet
	setBackTo  mtree.Stamp           // the earliest time that it showed then
	shots      []*Snapshot
	excluded   map[string]bool
	trusted    bool            // serve runs as a user who may read everything
	lacks      map[string]bool // paths that are not copied yet: the tree is a copy that is filled
	fills      int             // how often it became one

	turn  int // counts changes
	past  map[string][]Span
	mu    sync.Mutex                 // of gave
	gave  map[string]bool            // path and bytes of all that was read
	held  map[string]map[uint64]bool // by path: all files that ever had it
	named map[string]bool            // paths of files that had got several names by then
}

// Mistake is one that watch or serve makes with the journal: a test shows that it is found.
type Mistake string

// What a watch or a serve can do wrong.
const (
	LateJournal  Mistake = "a batch is written down after its stamps"
	EarlyTail    Mistake = "the journal is read before the directory's stamp"
	NoChildren   Mistake = "directories that a batch stamps are not named"
	NamedFinding Mistake = "what an audit finds counts as named"
)

// change is what waits to be published of a directory.
type change struct {
	names   map[string]bool // entries that changed
	found   bool            // others may have, too: an audit found it
	arrived bool            // it arrived under its name: all below counts
}

// batch is what watch writes down before it stamps: which names changed, and which stamps a reader
// may have for these to suffice.
type batch struct {
	floor mtree.Stamp // before it
	lines map[string]line
}

// line is what a batch says of a directory.
type line struct {
	span  mtree.Span
	known bool            // span is
	names map[string]bool // entries that changed, directories that the batch stamps among them
	more  bool            // others may have changed, too
	deep  bool            // so may have all below
}

// node is a file, a directory or a symlink.
type node struct {
	kind         mtree.Kind
	number       uint64 // of a file: that of its inode
	mode         uint32
	mtime, ctime mtree.Stamp // of a directory: mtime is its stamp, once that is published
	text         string      // bytes of a file, target of a symlink, id of a directory
	below        map[string]*node
	denied       bool // serve may not read it
	mounted      bool // something is mounted on it: it is not listed
	stamped      bool // a directory: watch gave it its time
	named        bool // a file: it got a second name
}

// Snapshot is a tree as it once was.
type Snapshot struct {
	root  *node
	floor mtree.Stamp
	epoch uint64
	runs  []wire.Run
	left  map[string]bool // by path: what waited to be published

	ahead  bool // a listing under a stamp that it has showed what came later
	passed bool // a later stamp was listed
}

// NewTree returns an empty tree that is watched and published. now is the clock of its
// machine. yield is called where others may act; it may be nil.
func NewTree(id string, now func() mtree.Stamp, yield func(what string)) *Tree {
	if yield == nil {
		yield = func(string) {}
	}
	t := &Tree{
		ID: id, Epoch: 1, State: wire.Watched, clock: now, yield: yield,
		pending: map[*node]*change{}, given: map[*node]mtree.Stamp{}, excluded: map[string]bool{}, past: map[string][]Span{}, gave: map[string]bool{}, held: map[string]map[uint64]bool{}, named: map[string]bool{},
	}
	t.Runs = []wire.Run{{ID: t.newRun()}}
	t.root = t.newDir()
	t.floor = t.root.mtime
	t.record()
	return t
}

// Now is the clock of the source's machine.
func (t *Tree) Now() mtree.Stamp { return t.now() }

// now reads the clock of the source's machine.
func (t *Tree) now() mtree.Stamp { return t.clock().Add(t.shift) }

// kernelTime returns a time for a change: the clock's, but never one twice.
func (t *Tree) kernelTime() mtree.Stamp {
	t.tick = mtree.Later(t.now(), t.tick.Add(1))
	return t.tick
}

// serial returns a text of eight bytes that it never returned before.
func (t *Tree) serial() string {
	t.made++
	return fmt.Sprintf("%08d", t.made)
}

func (t *Tree) newRun() string { return "00000000" + t.serial() }

func (t *Tree) newDir() *node {
	at := t.kernelTime()
	return &node{kind: mtree.Dir, mode: 0o755, mtime: at, ctime: at, text: "d1d10000" + t.serial(), below: map[string]*node{}}
}

// at returns the node at path; nil if there is none.
func (t *Tree) at(path string) *node {
	n := t.root
	for part := range strings.SplitSeq(path, "/") {
		if part == "" || n == nil {
			continue
		}
		n = n.below[part]
	}
	return n
}

// names returns the names in a directory, sorted.
func (n *node) names() []string {
	names := make([]string, 0, len(n.below))
	for name := range n.below {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// walk calls visit for each node at or below path, directories before what is in them.
func (n *node) walk(path string, visit func(path string, n *node)) {
	visit(path, n)
	for _, name := range n.names() {
		n.below[name].walk(mtree.JoinPath(path, name), visit)
	}
}

// newFile returns a file that was made just now.
func (t *Tree) newFile(text string) *node {
	at := t.kernelTime()
	t.files++
	return &node{kind: mtree.File, number: t.files, mode: 0o644, mtime: at, ctime: at, text: text}
}

// entry returns the entry of a node, which says whether it is a file with several names.
func (t *Tree) entry(name string, n *node) mtree.Entry {
	e := n.entry(name)
	if t.hasNames(n) {
		e.Has, e.Same = e.Has|mtree.HasSame, n.number
	}
	return e
}

// hasNames reports whether a file has several names.
func (t *Tree) hasNames(n *node) bool {
	names := 0
	if n.kind == mtree.File {
		t.root.walk("", func(_ string, other *node) {
			if other == n {
				names++
			}
		})
	}
	return names > 1
}

// entry returns the entry of a node.
func (n *node) entry(name string) mtree.Entry {
	e := mtree.Entry{Name: name, Kind: n.kind, Has: mtree.HasMode | mtree.HasCTime, Mode: n.mode, MTime: n.mtime, CTime: n.ctime}
	switch n.kind {
	case mtree.File:
		e.Size = int64(len(n.text))
	case mtree.Symlink:
		e.Link = n.text
	}
	return e
}

// clone copies a node with everything below it. A file with several names stays one.
func (n *node) clone() *node { return n.cloneIn(map[*node]*node{}) }

func (n *node) cloneIn(copies map[*node]*node) *node {
	if c := copies[n]; c != nil {
		return c
	}
	c := *n
	copies[n] = &c
	if n.below != nil {
		c.below = map[string]*node{}
		for name, child := range n.below {
			c.below[name] = child.cloneIn(copies)
		}
	}
	return &c
}

// Version is what stood under a path for a while. The zero value says that nothing did.
type Version struct {
	Kind     mtree.Kind
	Mode     uint32
	MTime    mtree.Stamp // of a directory: the time or stamp that it showed
	Text     string      // bytes of a file, target of a symlink, id of a directory
	Denied   bool        // serve may not read it, or a directory above it
	Unlisted bool        // it is there, or something above it, and not listed
	Stamped  bool        // of a directory: watch gave it MTime; else it is of the kernel, and what it did then may be unpublished
}

// Span is a version and when it was there: from the turn Begin up to before End; End is
// -1 while it is still there.
type Span struct {
	Version
	Begin, End int
}

// Since reports whether the version was still there after turn.
func (s *Span) Since(turn int) bool { return s.End < 0 || s.End > turn }

// Past returns all that stood under a path, the oldest first.
func (t *Tree) Past(path string) []Span {
	if spans := t.past[path]; spans != nil {
		return spans
	}
	return []Span{{End: -1}}
}

// Published returns the turn by which everything was published that a reader knows who listed the
// directory at path with this version of it, though maybe by a part: that is when watch gave it a
// time.
func (t *Tree) Published(path string, s *Span) int {
	turn := s.Begin
	for _, was := range t.Past(path) {
		if was.Begin <= s.Begin && was.Stamped && was.Text == s.Text && !s.Stamped {
			turn = was.Begin
		}
	}
	return turn
}

// Turn returns how many changes there were.
func (t *Tree) Turn() int { return t.turn }

// Paths returns every path that ever was, sorted.
func (t *Tree) Paths() []string {
	paths := make([]string, 0, len(t.past))
	for path := range t.past {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	return paths
}

// Gave reports whether a file at path ever had, or was read as, exactly these bytes.
func (t *Tree) Gave(path, text string) bool { return t.gave[path+"\x00"+text] }

// MayBeOne reports whether two paths ever were names of the same file, maybe one after the other.
func (t *Tree) MayBeOne(a, b string) bool {
	for number := range t.held[a] {
		if t.held[b][number] {
			return true
		}
	}
	return false
}

// HadNames reports whether a file that had several names ever was at path.
func (t *Tree) HadNames(path string) bool { return t.named[path] }

// Files returns the number of the file at each path that is one.
func (t *Tree) Files() map[string]uint64 {
	files := map[string]uint64{}
	t.root.walk("", func(path string, n *node) {
		if n.kind == mtree.File {
			files[path] = n.number
		}
	})
	return files
}

// record notes the present versions in the history.
func (t *Tree) record() {
	t.turn++
	seen := map[string]bool{}
	hidden := map[*node]bool{}
	t.root.walk("", func(path string, n *node) {
		up := Version{}
		if path != "" {
			up = t.last(mtree.ParentPath(path)).Version
		}
		v := Version{Kind: n.kind, Mode: n.mode, MTime: n.mtime, Text: n.text, Stamped: n.stamped, Denied: n.denied && !t.trusted || up.Denied}
		v.Unlisted = up.Unlisted || n.mounted || t.lacks[path] || path != "" && t.excluded[mtree.BaseName(path)]
		hidden[n] = v.Unlisted
		seen[path] = true
		t.note(path, v)
		if n.kind == mtree.File {
			t.gave[path+"\x00"+n.text] = true
			if t.held[path] == nil {
				t.held[path] = map[uint64]bool{}
			}
			t.held[path][n.number] = true
			t.named[path] = t.named[path] || n.named
		}
	})
	for path := range t.past {
		if !seen[path] {
			t.note(path, Version{})
		}
	}
}

func (t *Tree) last(path string) Span {
	spans := t.Past(path)
	return spans[len(spans)-1]
}

// note ends the last version of a path and begins v, if that is another one.
func (t *Tree) note(path string, v Version) {
	spans := t.Past(path)
	if spans[len(spans)-1].Version == v {
		t.past[path] = spans
		return
	}
	spans[len(spans)-1].End = t.turn
	t.past[path] = append(spans, Span{Version: v, Begin: t.turn, End: -1})
}

// String describes a version, for messages.
func (v Version) String() string {
	switch v.Kind {
	case mtree.Other:
		return "nothing"
	case mtree.Dir:
		return fmt.Sprintf("a directory %04o %s", v.Mode, v.MTime)
	}
	return fmt.Sprintf("a %s %04o %s %q", v.Kind, v.Mode, v.MTime, v.Text)
}
