package mirror

import (
	"time"

	"tidemark/pkg/mtree"
)

// plan is what makes one directory of the copy equal to a listing. Making it is
// pure: no I/O, no clock.
type plan struct {
	make    []mtree.Change // directories that are missing; Have is what stands in the way
	links   []mtree.Change // symlinks to make
	fetch   []mtree.Change // files to fetch
	check   []mtree.Change // files equal as far as can be seen, to be compared by sums
	mode    []mtree.Change // permission bits or owner to set in place
	dirs    []mtree.Change // all directories of the listing, those in make included
	extra   []*mtree.Entry // in the copy only
	kept    []*mtree.Entry // these, too, but the source may only hide them
	odd     []*mtree.Entry // not understood: neither fetched nor deleted
	skipped []*mtree.Entry // unsafe symlinks, or all with NoLinks
	deep    []*mtree.Entry // directories whose paths are too long
	entries int64          // in the listing, filters applied
}

// ctimeSlack is how long before a directory's last completion a file's ctime
// must lie for its bytes to be taken for known: a long write changes bytes
// after it set the times.
const ctimeSlack = 10 * time.Second

// planner holds what a plan depends on besides the two listings.
type planner struct {
	dir     string // path of the directory
	stored  func(mtree.Stamp) mtree.Stamp
	noLinks bool
	owner   bool
	keep    bool                   // extras stay: --no-delete
	held    func(path string) bool // but not those that were held before
	hides   hides

	byCTime  bool                                   // decided is known
	decided  mtree.Stamp                            // `now` of the listing this directory was last completed from
	replaced bool                                   // another directory under the name: size and time prove nothing
	checked  func(path string, e *mtree.Entry) bool // its bytes were compared at this ctime
}

// plan compares a directory of the copy with the listing of it.
func (p *planner) plan(have []mtree.Entry, want *mtree.Listing) plan {
	var out plan
	out.entries = int64(len(want.Entries))
	for c := range mtree.Diff(have, want.Entries, p.stored) {
		switch {
		case c.What == mtree.Extra:
			p.planExtra(&out, want, c.Have)
		case c.Want.NotUnderstood != "":
			out.odd = append(out.odd, c.Want)
		case c.Want.Kind == mtree.Dir:
			p.planDir(&out, c)
		case c.Want.Kind == mtree.Symlink:
			p.planLink(&out, c)
		default:
			p.planFile(&out, c)
		}
	}
	return out
}

func (p *planner) planExtra(out *plan, want *mtree.Listing, have *mtree.Entry) {
	switch {
	case p.keeps(have):
	case want.Hidden > want.Excluded && have.Name[0] == '.':
		// Maybe one of the dotfiles that it hides.
	case p.hides == anything, p.hides == directories && have.Kind == mtree.Dir:
		out.kept = append(out.kept, have)
	default:
		out.extra = append(out.extra, have)
	}
}

// keeps reports whether what the source no longer has stays by --no-delete. What
// was held when that was given stays held: it is no release, nor is the reason
// gone.
func (p *planner) keeps(have *mtree.Entry) bool {
	return p.keep && (p.held == nil || !p.held(mtree.JoinPath(p.dir, have.Name)))
}

// maxPath is the longest path of a directory, in bytes: PATH_MAX less room for
// a name. It bounds the depth.
const maxPath = 4095 - 1 - mtree.MaxName

func (p *planner) planDir(out *plan, c mtree.Change) {
	if len(mtree.JoinPath(p.dir, c.Want.Name)) > maxPath {
		// It can never be copied, and what is above it is complete without. A directory
		// of that name stays as it is.
		out.deep = append(out.deep, c.Want)
		if c.Have != nil && c.Have.Kind != mtree.Dir && !p.keeps(c.Have) {
			out.extra = append(out.extra, c.Have)
		}
		return
	}
	if c.What&(mtree.Absent|mtree.Type) != 0 {
		out.make = append(out.make, c)
	} else if p.modeDiffers(c) {
		out.mode = append(out.mode, c)
	}
	out.dirs = append(out.dirs, c)
}

func (p *planner) planLink(out *plan, c mtree.Change) {
	switch {
	case p.noLinks || !safeLink(p.dir, c.Want.Link):
		out.skipped = append(out.skipped, c.Want)
		if c.Have != nil && !p.keeps(c.Have) {
			out.extra = append(out.extra, c.Have) // what had the name before
		}
	case c.What&(mtree.Absent|mtree.Type|mtree.Content) != 0 || p.modeDiffers(c):
		out.links = append(out.links, c)
	}
}

func (p *planner) planFile(out *plan, c mtree.Change) {
	switch {
	case c.What&(mtree.Absent|mtree.Type|mtree.Content) != 0:
		out.fetch = append(out.fetch, c)
	case p.suspicious(c.Want):
		out.check = append(out.check, c)
	case p.modeDiffers(c):
		out.mode = append(out.mode, c)
	}
}

func (p *planner) modeDiffers(c mtree.Change) bool {
	return c.What&mtree.Mode != 0 || p.owner && c.What&mtree.Owner != 0
}

// suspicious reports whether a file of equal size and mtime may hold other
// bytes.
func (p *planner) suspicious(e *mtree.Entry) bool {
	if p.replaced {
		return true
	}
	touched := p.byCTime && e.Has&mtree.HasCTime != 0 && e.CTime.After(p.decided.Add(-ctimeSlack))
	return touched && !p.checked(mtree.JoinPath(p.dir, e.Name), e)
}
