package publish

import (
	"slices"
	"strings"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/notify"
	"tidemark/pkg/mtree/watch/internal/audit"
)

// Batch is the changes that are published together: a tree of the directories in which
// something changed, and of those above them.
type Batch struct {
	Size   int  // changed entries and directories
	Paths  bool // somebody needs the paths of the changes: Result.Changes
	Unsure bool // there may be changes that nobody heard, and no audit has found yet

	Drained bool // all events so far are in it, or were in earlier ones

	top dirChange
}

// dirChange is one directory of a batch, and what happened in it.
type dirChange struct {
	below    map[string]*dirChange // directories in it, by name
	entries  []notify.Entry
	self     bool           // its own mode, owner or times were set, perhaps by us
	selves   int            // how many events said so
	dirty    bool           // entries changed whose names are not known
	found    *audit.Finding // by an audit
	showOnly bool           // it refused its time: it only has to show its published stamp
	retry    bool           // it could not be read: it is tried again

	plan plan
}

// plan is what was found out of one directory of a batch, before the batch is stamped.
type plan struct {
	fate  fate
	dir   *disk.Dir   // nil: it is to be opened again
	info  disk.Info   // of it
	order []string    // the directories below that are gone down to
	seen  []seen      // of each entry
	value mtree.Stamp // what it counts for in the directory above, if it is not entered
	err   error       // why it cannot be opened
}

// fate says what becomes of a directory below another one in a batch.
type fate int8

const (
	entered  fate = iota
	nothing       // it does not count, nor anything below it
	asEntry       // it counts as an entry of the directory above
	absent        // it is gone
	closed        // it cannot be opened
	unread        // it could not be read before, and cannot be now
	readable      // it can be read again
)

// seen is what was found out of one changed name.
type seen struct {
	fate         fate
	kind         mtree.Kind // if it is entered, which is the usual fate
	mtime, ctime mtree.Stamp
}

// at returns the change of the directory at path, and makes it and those above it.
func (b *Batch) at(path string) *dirChange {
	c := &b.top
	if path == "" {
		return c
	}
	for name := range strings.SplitSeq(path, "/") {
		next := c.below[name]
		if next == nil {
			next = new(dirChange)
			if c.below == nil {
				c.below = map[string]*dirChange{}
			}
			c.below[name] = next
		}
		c = next
	}
	return c
}

// AddEvents adds the events of a source; excluded says which entries do not count.
func (b *Batch) AddEvents(dirs []*notify.DirEvents, excluded func(path string, isDir bool) bool) {
	for _, d := range dirs {
		if d.Path != "" && excluded(d.Path, true) {
			continue
		}
		var entries []notify.Entry
		for _, e := range d.Entries {
			path := mtree.JoinPath(d.Path, e.Name)
			if excluded(path, false) { // guard: TestExclude
				continue
			}
			if e.Arrived && excluded(path, true) {
				if !e.File { // guard: TestAFileInThePlaceOfAnExcludedDirectory
					continue
				}
				e.Arrived = false // a file had the name, or has it: that counts, and nothing in the directory
			}
			entries = append(entries, e)
		}
		if len(entries) == 0 && d.Self == 0 && !d.Dirty { // guard (without d.Self): TestOwnEventsByPID
			continue
		}
		c := b.at(d.Path)
		c.selves += d.Self
		c.self, c.dirty = c.selves > 0, c.dirty || d.Dirty
		c.entries = append(c.entries, entries...)
		b.Size += max(1, len(entries))
	}
}

// AddFindings adds the findings of an audit.
func (b *Batch) AddFindings(findings []audit.Finding) {
	for i := range findings {
		c, f := b.at(findings[i].Path), &findings[i]
		b.Size++
		switch {
		case f.ShowOnly: // guard: TestARefusalEndsWhileNobodyWatches
			c.showOnly = true
		case c.found == nil || c.found.First:
			c.found = f
		case !f.First:
			c.found.MTime, c.found.CTime = mtree.Later(c.found.MTime, f.MTime), mtree.Later(c.found.CTime, f.CTime)
			c.found.Came = mtree.Later(c.found.Came, f.Came)
			c.found.Below = c.found.Below || f.Below
		}
	}
}

// AddEntry adds one name in the directory at path.
func (b *Batch) AddEntry(path, name string) {
	c := b.at(path)
	c.entries = append(c.entries, notify.Entry{Name: name})
	b.Size++
}

// AddArrival adds a directory that counts as arrived.
func (b *Batch) AddArrival(path string) {
	c := b.at(mtree.ParentPath(path))
	c.entries = append(c.entries, notify.Entry{Name: mtree.BaseName(path), Arrived: true})
	b.Size++
}

// AddReadable adds a directory that is published from now on: whatever it shows itself, the
// directory that it is in gets a new stamp. A reader may have listed that one while the
// entry could not be followed.
func (b *Batch) AddReadable(path string) {
	b.at(mtree.ParentPath(path)).dirty = true // guard: TestReadAgainWhileAReaderLooks
	b.Size++
}

// AddRetry adds a directory that could not be read, and is to be tried again.
func (b *Batch) AddRetry(path string) {
	b.at(path).retry = true
	b.Size++
}

// TouchesMarker reports whether .tidemark came or went in the root.
func (b *Batch) TouchesMarker() bool { return b.top.touches(mtree.MarkerName) }

// touches reports whether something happened at name in c.
func (c *dirChange) touches(name string) bool {
	return slices.ContainsFunc(c.entries, func(e notify.Entry) bool { return e.Name == name })
}

// arrives reports whether the directory name in c counts as arrived.
func (c *dirChange) arrives(name string) bool {
	return slices.ContainsFunc(c.entries, func(e notify.Entry) bool { return e.Arrived && e.Name == name })
}
