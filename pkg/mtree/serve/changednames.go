package serve

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/journal"
	"tidemark/pkg/mtree/internal/lister"
	"tidemark/pkg/mtree/serve/internal/published"
)

// changedNames are the names of some batches of a journal, by directory, and what is told of
// them: only what a listing would show now, or could have shown.
type changedNames struct {
	tree   *published.Tree
	lister *lister.Lister
	view   journal.View
	after  uint64 // number of the last batch that is not told
	above  above
	failed func(error) // called with errors of the disk
	dirs   map[string]*changedDir
	count  int // names and lines
	bytes  int // what they may have as text, about

	room []byte
	text []byte
	told map[string]struct{} // the lines in text
}

// changedDir is what the journal says of one directory.
type changedDir struct {
	names   map[string]bool // true: a directory
	bytes   int             // what they may have as text
	unknown bool            // its names are not known
	below   bool            // nor what changed below it
}

// add adds a batch.
func (c *changedNames) add(b *journal.Batch) {
	for i := range b.Lines {
		line := &b.Lines[i]
		dir := c.dirs[line.Path]
		if dir == nil {
			dir = &changedDir{names: map[string]bool{}}
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
func (c *changedNames) escapedLen(text string) int {
	c.room = mtree.AppendEscaped(c.room[:0], text)
	return len(c.room)
}

// isFull reports whether no other batch has room in the answer.
func (c *changedNames) isFull() bool {
	return c.count >= maxChanges || c.bytes >= maxChangesBytes // guard (without c.bytes): TestChangesAreCutByBytes
}

// tell appends a line for each name that may be told.
func (c *changedNames) tell() error {
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
func (c *changedNames) tellDir(path string, dir *changedDir) error {
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
func (c *changedNames) mayHide(path string) bool { return c.view.IsStarred(path, c.after) }

// tellAbove tells the name of the directory at path, which could not be opened because of err,
// or that of the highest directory above it that cannot be opened either.
func (c *changedNames) tellAbove(path string, err error) error {
	if !disk.IsAbsent(err) && !disk.IsDenied(err) && !errors.Is(err, published.ErrAbove) {
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
func (c *changedNames) tellUnknown(path, below string, err error) error {
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
func (c *changedNames) name(dir, name string, isDir bool) {
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
func (c *changedNames) line(text []byte) {
	if _, twice := c.told[string(text)]; !twice {
		c.told[string(text)] = struct{}{}
		c.text = append(append(c.text, text...), '\n')
	}
}
