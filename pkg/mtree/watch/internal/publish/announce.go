package publish

import (
	"cmp"
	"slices"
	"strings"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/journal"
	"tidemark/pkg/mtree/watch/internal/ownwrites"
)

// names are the names in one directory at which something happened, as they are found out.
type names struct {
	list    []string // those of directories end in a slash
	changes bool     // the directory will be stamped
	unknown bool     // there are others, which are not known
	below   bool     // nor is anything known of the directories below
	set     bool     // somebody set its own times, mode or owner
	linked  bool     // a file that changed may have other names in it, at which nothing was heard
}

// add adds a name.
func (n *names) add(name string, isDir bool) {
	n.changes = true
	if isDir {
		name += "/"
	}
	n.list = append(n.list, name)
}

// star says that names are not known.
func (n *names) star() { n.changes, n.unknown = true, true }

// link says that a file that changed may have other names.
func (n *names) link() { n.changes, n.linked = true, true }

// starred reports whether the names in the directory cannot be told.
func (n *names) starred() bool {
	return n.below || n.unknown || n.linked ||
		n.set || // guard: TestJournalAfterATool
		len(n.list) > journal.MaxNames // guard: TestJournalOfUnknownNames
}

// sorted returns the names in order, each once. A name that is that of a directory, too, is
// its.
func (n *names) sorted() []string {
	slices.SortFunc(n.list, func(a, b string) int {
		bare, other := strings.TrimSuffix(a, "/"), strings.TrimSuffix(b, "/")
		return cmp.Or(strings.Compare(bare, other), len(b)-len(a)) // with the slash first
	})
	return slices.CompactFunc(n.list, func(a, b string) bool { return strings.TrimSuffix(a, "/") == strings.TrimSuffix(b, "/") })
}

// announced is what was written down of a directory.
type announced struct {
	below bool      // of those below, too
	set   bool      // see names
	info  disk.Info // of it then; zero: nothing of it
}

// isSetSince reports whether somebody set the mode, owner or times of a directory after the batch
// was planned. now is fstat of it.
func (a announced) isSetSince(now disk.Info) bool {
	was := a.info
	return was.Node == now.Node &&
		(was.Mode != now.Mode || was.UID != now.UID || was.GID != now.GID || was.MTime == now.MTime && was.CTime != now.CTime)
}

// announce adds a line of a directory that will be stamped. info is fstat of it now.
func (p *publisher) announce(path string, info disk.Info, at ownwrites.Place, n *names) {
	line, since := journal.Line{Path: path, Below: n.below}, p.Given.Since(info, at, p.batch.Unsure)
	refused := since.Refused || p.refuses(path, info) // guard (without since.Refused): TestJournalOfWhatRefused
	if line.Unknown = n.starred() || refused; !line.Unknown {
		line.Names = n.sorted()
	}
	// Else somebody may have set who may read it: see docs/decisions.md, a name that is gone.
	// guard (without !n.set): TestJournalAfterATool
	if !refused && !n.below && !n.set && !n.unknown { // guard (without !n.unknown): TestJournalOfUnknownNames
		line.From, line.To, line.Known = since.From, since.To, since.Known
	}
	p.lines = append(p.lines, line)
	p.note(path, announced{line.Below, n.set, info})
}

// announceBelow adds a line of a directory below which everything may be stamped.
func (p *publisher) announceBelow(path string) {
	p.lines = append(p.lines, journal.Line{Path: path, Unknown: true, Below: true})
	p.note(path, announced{below: true, info: disk.Info{MTime: mtree.MinStamp}})
}

func (p *publisher) note(path string, a announced) {
	if p.announced == nil {
		p.announced = map[string]announced{}
	}
	p.announced[path] = a
}

// refuses reports whether a directory refused its last stamp.
func (p *publisher) refuses(path string, info disk.Info) bool {
	if !p.Health.Exceptions.AnyRefuses() {
		return false
	}
	_, refuses := p.Health.Exceptions.StampOf(path, info.Node.Ino)
	return refuses
}

// writeDown writes the lines of the batch: before its first stamp.
func (p *publisher) writeDown() {
	if p.Journal != nil && len(p.lines) > 0 {
		p.Journal.Write(p.rule.Floor, p.lines)
	}
	p.lines = nil
}

// check is called before a directory is stamped. Somebody may have changed the tree since the
// batch was planned, so that it stamps a directory that is not written down.
func (p *publisher) check(path string) {
	if p.Journal != nil && !p.isAnnounced(path) { // guard: TestStampedWithoutALine
		p.Journal.Drop()
	}
}

// isAnnounced reports whether a directory has a line, or one above it has one that says that
// nothing is known of those below.
func (p *publisher) isAnnounced(path string) bool {
	if _, ok := p.announced[path]; ok {
		return true
	}
	for path != "" {
		path = mtree.ParentPath(path)
		if p.announced[path].below {
			return true
		}
	}
	return false
}

// gave remembers which stamp a directory was given; before is what it showed.
func (p *publisher) gave(path string, at ownwrites.Place, before disk.Info, stamp mtree.Stamp, err error) {
	a, trust := p.announced[path], ownwrites.Usual
	switch {
	case err != nil:
		trust = ownwrites.Refused // guard: TestJournalOfWhatRefused
	case a.set:
		trust = ownwrites.Exact // guard: TestJournalAfterATool
	}
	p.Given.Put(before, at, stamp, a.info.MTime, trust)
}
