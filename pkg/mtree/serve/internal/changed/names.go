package changed

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/journal"
	"tidemark/pkg/mtree/internal/lister"
	"tidemark/pkg/mtree/serve/internal/published"
)

// Bounds of one answer of names, besides its last batch. The next request gets the rest. Each
// name stands behind the path of its directory, which may have 4 KiB. So directories with many
// are told without their names: those with more than maxDirBytes, and those that come after
// maxChangesBytes, as one batch may have more.
const (
	maxChanges      = 100_000
	maxChangesBytes = 8 << 20
	maxDirBytes     = 1 << 20
)

// Names returns the lines of the names that changed in a tree after a position, and a last one with the
// position where the next answer goes on; without a position, that line alone. Each name is told as it
// stands in an answer to ?changes (docs/protocol.md): only what a listing would show now, or could have
// shown. failed is called with errors of the disk that make names unknown.
//
// Cost: what is new in the journal is read; then, for each directory with names, an open for it and one for
// each directory above it that was not the last one's, and one statx a name. The result has 10 MiB at most.
// Errors: those of which IsGone; journal.ErrAgain, if the journal goes on faster than it is read; of a machine
// out of descriptors or memory, and of a root that cannot be opened.
func Names(tree *published.Tree, snap *published.Snapshot, after Position, failed func(error)) ([]byte, error) {
	view, err := tree.Journal(snap)
	if err != nil {
		return nil, err
	}
	run, number := view.Last()
	if after.Run == "" {
		return appendPosition(nil, Position{run, number}), nil
	}
	batches, ok := view.After(after.Run, after.Number)
	if !ok {
		return nil, fmt.Errorf("%w: not in the index", journal.ErrUnproved)
	}
	c := batchNames{
		tree: tree, lister: tree.Lister(snap), view: view, after: after.Number, above: above{tree: tree}, failed: failed,
		dirs: map[string]*dirNames{}, told: map[string]struct{}{},
	}
	for i := range batches {
		if c.isFull() {
			break
		}
		c.add(&batches[i])
		after.Number = batches[i].Number
	}
	if err := c.tell(); err != nil {
		return nil, err
	}
	return appendPosition(c.text, after), nil
}

// batchNames are the names of some batches of a journal, by directory, and what is told of
// them: only what a listing would show now, or could have shown.
type batchNames struct {
	tree   *published.Tree
	lister *lister.Lister
	view   journal.View
	after  uint64 // number of the last batch that is not told
	above  above
	failed func(error) // called with errors of the disk
	dirs   map[string]*dirNames
	count  int // names and lines
	bytes  int // what they may have as text, about

	room []byte
	text []byte
	told map[string]struct{} // the lines in text
}

// dirNames is what the journal says of one directory.
type dirNames struct {
	names   map[string]bool // true: a directory
	bytes   int             // what they may have as text
	unknown bool            // its names are not known
	below   bool            // nor what changed below it
}

// add adds a batch.
func (c *batchNames) add(b *journal.Batch) {
	for i := range b.Lines {
		line := &b.Lines[i]
		dir := c.dirs[line.Path]
		if dir == nil {
			dir = &dirNames{names: map[string]bool{}}
			c.dirs[line.Path] = dir
		}
		prefix := c.escapedLen(line.Path) + 2
		c.bytes += prefix
		dir.unknown, dir.below = dir.unknown || line.Unknown, dir.below || line.Below
		for _, name := range line.Names {
			bare, isDir := strings.CutSuffix(name, "/")
			size := prefix + c.escapedLen(name)
			if c.bytes += size; !has(dir.names, bare) {
				dir.bytes += size
			}
			dir.names[bare] = isDir
		}
		c.count += 1 + len(line.Names)
	}
}

func has(names map[string]bool, name string) bool {
	_, ok := names[name]
	return ok
}

// escapedLen returns how many bytes a name or path has in an answer.
func (c *batchNames) escapedLen(text string) int {
	c.room = mtree.AppendEscaped(c.room[:0], text)
	return len(c.room)
}

// isFull reports whether no other batch has room in the answer.
func (c *batchNames) isFull() bool {
	return c.count >= maxChanges || c.bytes >= maxChangesBytes // guard (without c.bytes): TestChangesAreCutByBytes
}

// tell appends a line for each name that may be told.
func (c *batchNames) tell() error {
	for _, path := range slices.SortedFunc(maps.Keys(c.dirs), mtree.TreeOrder) {
		if !c.tree.TellsDir(path) { // guard: TestChangesTellNoHiddenName
			continue
		}
		if err := c.tellDir(path, c.dirs[path]); err != nil {
			return err
		}
	}
	return nil
}

// tellDir tells what changed in a directory. If serve cannot read it, a listing of what is above
// it shows that, and no more.
func (c *batchNames) tellDir(path string, dir *dirNames) error {
	if closed, err := c.above.check(path); err != nil { // guard: TestChangesBelowWhatIsClosed
		return c.tellAbove(closed, err)
	}
	d, err := c.tree.OpenDir(path)
	if err != nil {
		return c.tellAbove(path, err)
	}
	defer d.Close()
	self := mtree.AppendEscaped(nil, mtree.DirPath(path))
	if dir.below {
		c.line(append(self, "**"...))
	} else if dir.unknown {
		c.line(self)
	}
	if dir.bytes > maxDirBytes || // guard: TestChangesAreCutByBytes
		len(c.text) > maxChangesBytes { // guard: TestChangesAreCutByBytes
		c.line(self)
		return nil
	}
	names := slices.Sorted(maps.Keys(dir.names))
	looked, left, err := c.lister.Names(d, path, names)
	switch {
	case disk.IsDenied(err): // it may be read, but not searched
		return c.tellAbove(path, err)
	case err != nil:
		return c.tellUnknown(path, "", err)
	}
	if left {
		c.line(self) // guard: TestChangesOfWhatIsNotPublished
	}
	for i := range looked.Entries {
		e := &looked.Entries[i]
		c.name(path, e.Name, e.Kind == mtree.Dir)
	}
	if len(looked.Gone) > 0 && c.mayHide(path) { // guard (without c.mayHide): TestWhatCameAndWentWhileHidden
		c.line(self)
		return nil
	}
	for _, name := range looked.Gone {
		c.name(path, name, dir.names[name])
	}
	return nil
}

// mayHide reports whether a name that is gone may have been in no listing of the directory at path: who
// may read that, or one above it, may have been set since, or another one came.
func (c *batchNames) mayHide(path string) bool { return c.view.IsStarred(path, c.after) }

// tellAbove tells the name of the directory at path, which could not be opened because of err,
// or that of the highest directory above it that cannot be opened either.
func (c *batchNames) tellAbove(path string, err error) error {
	if !disk.IsAbsent(err) && !disk.IsDenied(err) && !errors.Is(err, disk.ErrAbove) {
		return c.tellUnknown(path, "**", err)
	}
	if path == "" {
		return err
	}
	above := mtree.ParentPath(path)
	d, err := c.tree.OpenDir(above)
	if err != nil {
		return c.tellAbove(above, err)
	}
	defer d.Close()
	name := mtree.BaseName(path)
	looked, left, err := c.lister.Names(d, above, []string{name})
	switch {
	case disk.IsDenied(err):
		return c.tellAbove(above, err)
	case err != nil:
		return c.tellUnknown(above, "", err)
	case left:
		c.line(mtree.AppendEscaped(nil, mtree.DirPath(above)))
	case len(looked.Gone) > 0 && c.mayHide(above):
		c.line(mtree.AppendEscaped(nil, mtree.DirPath(above)))
	case len(looked.Gone) > 0:
		c.name(above, name, true)
	case len(looked.Entries) > 0:
		c.name(above, name, looked.Entries[0].Kind == mtree.Dir)
	}
	return nil
}

// tellUnknown tells that the names in the directory at path are not known, because of err; with "**"
// nor those below it. One name that cannot be looked at must not keep all others back, each time.
func (c *batchNames) tellUnknown(path, below string, err error) error {
	if disk.IsOutOfResources(err) { // guard: TestCallsOfChangesThatFail
		return err
	}
	line := append(mtree.AppendEscaped(nil, mtree.DirPath(path)), below...)
	if _, twice := c.told[string(line)]; !twice {
		c.failed(err)
	}
	c.line(line)
	return nil
}

// name tells the name of an entry of the directory at dir.
func (c *batchNames) name(dir, name string, isDir bool) {
	text := mtree.AppendEscaped(nil, dir)
	if dir != "" {
		text = append(text, '/')
	}
	if name == "**" { // else it would say that nothing is known below dir
		text = append(text, "%2A%2A"...)
	} else {
		text = mtree.AppendEscaped(text, name)
	}
	if isDir {
		text = append(text, '/')
	}
	c.line(text)
}

// line appends a line, unless it is there.
func (c *batchNames) line(text []byte) {
	if _, twice := c.told[string(text)]; !twice {
		c.told[string(text)] = struct{}{}
		c.text = append(append(c.text, text...), '\n')
	}
}
