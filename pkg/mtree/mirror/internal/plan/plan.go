package plan

import (
	"time"

	"tidemark/pkg/mtree"
)

// Plan is what makes one directory of the copy equal to a listing. An entry is in one
// list only, with three exceptions: directories in MakeDirs and SetModes are also in Dirs,
// what stands in the way of an entry that is left out is also in Extra, and see Unvisited.
type Plan struct {
	MakeDirs  []mtree.Change // directories that are missing; Have is what stands in the way
	MakeLinks []mtree.Change // symlinks that are missing or differ
	Fetch     []mtree.Change // files that are missing, or differ in size or mtime
	Check     []mtree.Change // files of equal size and mtime, to be compared by their sums
	SetModes  []mtree.Change // entries that differ in permission bits or owner only
	Linked    []mtree.Change // with HardLinks: files of equal size and mtime that have other names, here or at the source; of the latter also those that SetModes would have
	Dirs      []mtree.Change // all directories of the listing

	Extra         []*mtree.Entry // in the copy only: to be deleted
	Kept          []*mtree.Entry // in the copy only, but the source may have them without listing them
	NotUnderstood []*mtree.Entry // of a kind that this version does not know: neither fetched nor deleted
	SkippedLinks  []*mtree.Entry // unsafe symlinks, or all of them with NoLinks
	TooDeep       []*mtree.Entry // directories with paths above MaxPath
	Older         []mtree.Change // files that Refuses leaves out, and of which the copy has another version, which stays
	Unvisited     []*mtree.Entry // directories of the copy that stay, and that no visit leads to

	Hides   bool  // entries of the copy stay because the source may have them without listing them
	Entries int64 // number of entries in the listing
	Unseen  bool  // the copy has files that the source may have without listing them
	Refused int64 // files that Refuses leaves out, those of Older included
	Spared  int64 // entries of the copy that stay for NoDelete alone; a directory counts as ManyInside
}

// ManyInside is how many entries a directory counts as that nobody looked into.
const ManyInside = 1 << 20

// Options are what a plan depends on, in addition to the two listings.
type Options struct {
	Dir     string                        // path of the directory in the copy; "" is the root
	Stored  func(mtree.Stamp) mtree.Stamp // an mtime as the copy's file system keeps it
	NoLinks bool                          // symlinks are left out
	Owner   bool                          // owners are compared, too

	Refuses   func(e *mtree.Entry) bool // a file that is missing or differs is not fetched; nil: each is
	Lost      bool                      // files of the copy may lack bytes
	HardLinks bool                      // what is one file at the source becomes one file here

	NoDelete bool                   // extra entries stay
	WasHeld  func(path string) bool // the deletion was held before: then NoDelete does not apply; nil: none was
	Hidden   Hidden                 // what the source may have in Dir but not list

	ByCTime  bool                                   // Listed is known
	Listed   mtree.Stamp                            // `now` of the listing that Dir was last completed from
	Slack    time.Duration                          // CTimeSlack or LossSlack; needed with ByCTime
	CheckAll bool                                   // equal size and mtime prove nothing
	Verified func(path string, e *mtree.Entry) bool // the file's bytes were compared at this ctime; nil: nothing was
}

// Hidden says which entries of a directory the source may have but not list, apart from
// dotfiles, which a listing reports.
type Hidden uint8

// What the source may hide in a directory.
const (
	HiddenNone Hidden = iota // nothing
	HiddenDirs               // directories: a mount may cover one since the copy was completed
	HiddenAny                // anything: its serve may now leave out other names, or a mount may cover a file
)

// CTimeSlack is by how much a file's ctime must be older than the listing that its
// directory was last completed from. Otherwise its bytes may have changed since that
// listing: a long write changes bytes after it has set the times.
const CTimeSlack = 10 * time.Second

// LossSlack takes the place of CTimeSlack after the source lost its power. A file that is
// written in place keeps its times with the next commit of the file system's journal, but
// its bytes only when they are written back: half a minute later, or some minutes on a busy
// disk. So the bytes under times that a copy knows may be older ones again.
const LossSlack = 5 * time.Minute

// MaxPath is the longest path of a directory, in bytes: PATH_MAX less room for a
// name. It bounds the depth.
const MaxPath = 4095 - 1 - mtree.MaxName

// Make compares a directory of the copy, whose entries are have, with the source's listing
// of it. Both lists of entries are sorted by name. The plan points into them.
func Make(have []mtree.Entry, want *mtree.Listing, o *Options) Plan {
	// guard (want.Hidden > want.Excluded -> want.Hidden > 0): TestHiddenDotfilesAreKept
	p := planner{Options: o, hidesDotfiles: want.Hidden > want.Excluded, hides: want.Excluded > 0}
	p.Entries = int64(len(want.Entries))
	for c := range mtree.Diff(have, want.Entries, o.Stored) {
		leading := p.leading()
		switch {
		case c.What == mtree.Extra:
			p.addExtra(c.Have)
		case c.Want.NotUnderstood != "": // guard: TestMake
			p.NotUnderstood = append(p.NotUnderstood, c.Want)
		case c.Want.Kind == mtree.Dir:
			p.addDir(c)
		case c.Want.Kind == mtree.Symlink:
			p.addLink(c)
		default:
			p.addFile(c)
		}
		if c.Have != nil && c.Have.Kind == mtree.Dir && p.leading() == leading { // guard: TestTheCountOfWhatIsKept
			p.Unvisited = append(p.Unvisited, c.Have)
		}
	}
	return p.Plan
}

// ModeDiffers reports whether an entry needs another mode, or another owner if owners count.
func ModeDiffers(c mtree.Change, owners bool) bool {
	return c.What&mtree.Mode != 0 || owners && c.What&mtree.Owner != 0 // guard (without owners): TestMake
}

// planner is a plan that is being made.
type planner struct {
	*Options
	Plan
	hidesDotfiles bool // the source has dotfiles that it does not list
	hides         bool // or other entries
}

// leading counts the entries that a visit, a deletion or a replacement leads to.
func (p *planner) leading() int {
	return len(p.Dirs) + len(p.Extra) + len(p.MakeLinks) + len(p.Fetch)
}

// addExtra plans for an entry that the source does not list.
func (p *planner) addExtra(have *mtree.Entry) {
	switch {
	case p.hidesDotfiles && have.Name[0] == '.': // guard: TestHiddenDotfilesAreKept
		// It may be one of those that the source does not list.
		p.Unseen, p.Hides = p.Unseen || have.Kind == mtree.File, true // guard: TestUnseen
	case p.Hidden == HiddenAny, p.Hidden == HiddenDirs && have.Kind == mtree.Dir: // guard: TestMake
		p.Unseen, p.Hides = p.Unseen || have.Kind == mtree.File, true // guard: TestUnseen
		p.Kept = append(p.Kept, have)                                 // with NoDelete, too: it may be hidden for longer than that is asked for
	case p.keeps(have): // guard: TestMake
		p.Unseen = p.Unseen || have.Kind == mtree.File && p.hides // guard (without p.hides): TestUnseen
	default:
		p.Extra = append(p.Extra, have)
	}
}

// keeps reports whether an extra entry stays because of NoDelete. An entry whose deletion
// was held before stays held: NoDelete does not release it, and the reason for the hold is
// still there.
func (p *planner) keeps(have *mtree.Entry) bool {
	keeps := p.NoDelete && (p.WasHeld == nil || !p.WasHeld(mtree.JoinPath(p.Dir, have.Name))) // guard (without !p.WasHeld): TestMake
	switch {
	case keeps && have.Kind == mtree.Dir:
		p.Spared += ManyInside // guard: TestWhatNoDeleteSpares
	case keeps:
		p.Spared++ // guard: TestWhatNoDeleteSpares
	}
	return keeps
}

// replaces plans the deletion of what has the name of an entry that is left out.
func (p *planner) replaces(have *mtree.Entry) {
	if have != nil && !p.keeps(have) { // guard (without !p.keeps): TestMake
		p.Extra = append(p.Extra, have)
	}
}

// addDir plans for a directory.
func (p *planner) addDir(c mtree.Change) {
	if len(mtree.JoinPath(p.Dir, c.Want.Name)) > MaxPath { // guard: TestTooDeep
		// It can never be copied, and the directory above is complete without it. A
		// directory with that name in the copy stays as it is.
		p.TooDeep = append(p.TooDeep, c.Want)
		if c.Have != nil && c.Have.Kind != mtree.Dir { // guard (without c.Have.Kind): TestTooDeep
			p.replaces(c.Have)
		}
		return
	}
	if c.What&(mtree.Absent|mtree.Type) != 0 {
		p.MakeDirs = append(p.MakeDirs, c)
	} else if ModeDiffers(c, p.Owner) {
		p.SetModes = append(p.SetModes, c)
	}
	p.Dirs = append(p.Dirs, c)
}

// addLink plans for a symlink.
func (p *planner) addLink(c mtree.Change) {
	switch {
	case p.NoLinks || !isSafeLink(p.Dir, c.Want.Link): // guard (without !isSafeLink): TestMake
		p.SkippedLinks = append(p.SkippedLinks, c.Want)
		p.replaces(c.Have) // guard: TestMake
	case c.What&(mtree.Absent|mtree.Type|mtree.Content) != 0 || ModeDiffers(c, p.Owner):
		p.MakeLinks = append(p.MakeLinks, c)
	}
}

// addFile plans for a regular file.
func (p *planner) addFile(c mtree.Change) {
	switch {
	case c.What&(mtree.Absent|mtree.Type|mtree.Content) != 0 && p.isRefused(c): // guard: TestFilesThatAreRefused
		p.refuse(c)
	case c.What&(mtree.Absent|mtree.Type|mtree.Content) != 0:
		p.Fetch = append(p.Fetch, c)
	case p.isSuspicious(c.Want): // guard: TestMake
		p.Check = append(p.Check, c)
	case p.HardLinks && c.Want.Has&mtree.HasSame != 0: // guard: TestMake
		p.Linked = append(p.Linked, c)
	case ModeDiffers(c, p.Owner):
		p.SetModes = append(p.SetModes, c)
	case p.HardLinks && c.Have.Has&mtree.HasSame != 0: // guard: TestMake
		p.Linked = append(p.Linked, c)
	}
}

// isRefused reports whether a file that is missing or differs is left out. If what the copy has of it may
// lack bytes, after a power cut, it is not: no version of the source would ever prove those.
func (p *planner) isRefused(c mtree.Change) bool {
	return p.Refuses != nil && p.Refuses(c.Want) &&
		!(p.Lost && c.Have != nil && c.Have.Kind == mtree.File) // guard: TestFilesThatAreRefused
}

// refuse leaves a file out. What the copy has of it stays as it is: it is an earlier version of the
// file, or a later one. What is no file has gone at the source.
func (p *planner) refuse(c mtree.Change) {
	p.Refused++
	switch {
	case c.Have == nil:
	case c.Have.Kind == mtree.File: // guard: TestFilesThatAreRefused
		p.Older = append(p.Older, c)
	default:
		p.replaces(c.Have) // guard: TestFilesThatAreRefused
	}
}

// isSuspicious reports whether a file of equal size and mtime may hold other bytes.
func (p *planner) isSuspicious(e *mtree.Entry) bool {
	if p.CheckAll { // guard: TestMake
		return true
	}
	touched := p.ByCTime && e.Has&mtree.HasCTime != 0 && e.CTime.After(p.Listed.Add(-p.Slack)) // guard (-p.Slack -> 0): TestSuspicionOfOneFile
	return touched && (p.Verified == nil || !p.Verified(mtree.JoinPath(p.Dir, e.Name), e))     // guard (without (p.Verified): TestSuspicionOfOneFile
}
