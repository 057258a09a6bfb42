package mirror

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/lister"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/mirror/internal/plan"
	"tidemark/pkg/mtree/mirror/internal/replica"
)

// view is what a visit found and did.
type view struct {
	err       error
	same      bool // complete already
	listing   mtree.Listing
	before    records.Record
	had       bool
	record    records.Record // what the directory will be completed with
	deep      bool
	more      replica.Doubts // beyond deep
	plan      plan.Plan
	inCopy    int64   // entries of the copy
	stays     int64   // directories that are gone at the source but hold something excluded
	changed   bool    // directories, symlinks or modes were made
	proved    bool    // `now` of the record is out of date
	below     []*node // directories to visit
	deletions []replica.Deletion
	nested    bool
	failed    []failure
	vague     map[string]vague
	unless    map[string]bool
}

// failure is a path that could not be made right.
type failure struct {
	path string
	err  error
}

// visit compares one directory with its listing and makes its directories and
// symlinks; what must be fetched becomes steps of its own.
func (p *pass) visit(n *node, given *answer) step {
	return func(ctx context.Context) func() {
		v := p.look(ctx, n, given)
		return func() { p.visited(n, v) }
	}
}

func (p *pass) look(ctx context.Context, n *node, given *answer) *view {
	v := &view{deep: n.deep, more: n.more, nested: n.nested}
	a := given
	if given != nil {
		v.listing, v.vague = given.listing, given.vague
	} else if a, v.err = p.ask(ctx, n, v); v.err != nil {
		return v
	}
	if v.err = p.meets(ctx, n, a); v.err != nil {
		return v
	}
	dir, err := p.openCopy(n)
	if err != nil {
		if !p.config.DryRun || !errors.Is(err, fs.ErrNotExist) {
			v.err = replica.Local(err)
			return v
		}
		p.compare(n, v, nil, nil)
		return v
	}
	defer dir.Close()
	info, err := dir.Self()
	if err != nil {
		v.err = replica.Local(err)
		return v
	}
	v.before, v.had = p.dest.Record(dir, n.path)
	if v.had && !n.deep && p.source.state.Prunes() && p.dest.IsCompleted(v.before, info, v.listing.Stamp) && !replaced(v.before, &v.listing) {
		v.same = true
		return v
	}
	v.nested = n.nested || n.parent != nil && !n.fresh && dir.HasMarker()
	have, err := p.present(dir, n, &v.listing)
	if err != nil {
		v.err = replica.Local(err)
		return v
	}
	v.doubt(n, len(have) > 0)
	if have, err = p.unfold(dir, n, v, have); err != nil {
		v.err = replica.Local(err)
		return v
	}
	v.inCopy = int64(len(have))
	if s, is := p.mirror.source.(*httpSource); is && v.vague != nil {
		s.learnZones(ctx, n.path, &v.listing, v.vague, have)
	}
	p.compare(n, v, dir, have)
	if !p.config.DryRun {
		p.apply(n, v, dir, info)
	}
	if v.err == nil && !v.listing.Hot {
		p.condemn(n, v, dir)
	}
	return v
}

// doubt settles what is not trusted of n: what is not of the directory above, and
// what its own record says.
func (v *view) doubt(n *node, holds bool) {
	v.deep = n.deep || !v.had && holds
	if began, ok := replica.DoubtsOf(v.before); v.had && ok {
		v.deep = v.deep || began&replica.DoubtBelow != 0
		v.more |= began &^ replica.DoubtBelow
	}
	if v.more&replica.DoubtHidden != 0 {
		v.before.Excluded, v.before.E = 0, ""
	}
}

// older reports whether the source shows a directory as it was before it was
// copied: the source was rolled back, and what was copied since may be equal in
// size and time.
func (p *pass) older(v *view) bool {
	_, began := replica.DoubtsOf(v.before)
	return v.had && !began && !p.source.foreign && v.listing.Stamp.Before(v.before.Stamp)
}

// unproved reports whether the copy has files of n of which nobody knows from
// which listing they came, its record was begun before n was listed; or of which
// directory, the source gave no id then and does now.
func (v *view) unproved(have []mtree.Entry) bool {
	if v.had && v.before.ID == "" && v.listing.ID != "" && len(have) > 0 {
		return true
	}
	_, began := replica.DoubtsOf(v.before)
	return v.had && began && v.before.Now == mtree.Stamp{} && v.listing.HasNow && len(have) > 0
}

// ask takes the listing of n; one older than its parent lists comes from a
// cache and is asked for once more.
func (p *pass) ask(ctx context.Context, n *node, v *view) (*answer, error) {
	a, err := p.mirror.source.list(ctx, ask{path: n.path, least: n.want.MTime})
	if err == nil && a.listing.Stamp.Before(n.want.MTime) {
		a, err = p.mirror.source.list(ctx, ask{path: n.path, least: n.want.MTime, fresh: true})
	}
	if err != nil {
		return nil, err
	}
	if !a.ahead && (a.treeID != p.source.treeID || a.epoch != p.source.epoch) {
		return nil, fmt.Errorf("%w: the tree of the source became another, or its epoch", errMoved)
	}
	v.listing, v.vague = a.listing, a.vague
	return &a, nil
}

// openCopy opens the directory of n in the copy. One that its owner may not
// read or enter is made accessible: it gets its mode back with its stamp.
func (p *pass) openCopy(n *node) (*disk.Dir, error) {
	dir, err := p.dest.Dir(n.path)
	if err == nil || !disk.IsDenied(err) || n.parent == nil || p.config.DryRun {
		return dir, err
	}
	up, upErr := p.dest.Dir(n.parent.path)
	if upErr != nil {
		return nil, err
	}
	defer up.Close()
	info, statErr := up.Stat(n.name)
	if statErr != nil || info.Kind != mtree.Dir {
		return nil, err
	}
	if err := up.ChmodEntry(n.name, info.Mode|0o700); err != nil {
		return nil, err
	}
	return p.dest.Dir(n.path)
}

// mostGuess is for how many entries of the copy room is made before they are
// read.
const mostGuess = 1024

// present reads the directory of the copy, whatever the types, without what
// filters exclude.
func (p *pass) present(dir *disk.Dir, n *node, listing *mtree.Listing) ([]mtree.Entry, error) {
	if n.fresh {
		return nil, nil
	}
	have := make([]mtree.Entry, 0, min(len(listing.Entries), mostGuess))
	err := lister.ScanSorted(dir, func(name string, info disk.Info) error {
		e := entryOf(name, info)
		if e.Kind != mtree.File {
			e.Size = 0
		}
		if p.filters.Excluded(mtree.JoinPath(n.path, e.Name), e.Kind == mtree.Dir) {
			return nil
		}
		if e.Kind == mtree.Symlink {
			target, err := dir.Readlink(e.Name)
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			e.Link = target
		}
		have = append(have, e)
		return nil
	})
	if n.path == "" {
		have = withoutLostFound(have, listing)
	}
	return have, err
}

// withoutLostFound leaves mkfs's directory alone, unless the source has one.
func withoutLostFound(have []mtree.Entry, listing *mtree.Listing) []mtree.Entry {
	for i := range listing.Entries {
		if listing.Entries[i].Name == lister.LostFound {
			return have
		}
	}
	kept := have[:0]
	for i := range have {
		if have[i].Name != lister.LostFound || have[i].Kind != mtree.Dir {
			kept = append(kept, have[i])
		}
	}
	return kept
}

// replaced reports whether the source has another directory under the name than
// the one that was copied.
func replaced(r records.Record, l *mtree.Listing) bool {
	return r.ID != "" && l.ID != "" && r.ID != l.ID
}

// wanted returns the entries of a listing that filters let pass.
func (p *pass) wanted(path string, entries []mtree.Entry) []mtree.Entry {
	if p.filters.Empty() {
		return entries
	}
	kept := make([]mtree.Entry, 0, len(entries))
	for i := range entries {
		if e := &entries[i]; !p.filters.Excluded(mtree.JoinPath(path, e.Name), e.Kind == mtree.Dir) {
			kept = append(kept, *e)
		}
	}
	return kept
}

// compare makes the plan for n and finds the directories below to visit.
func (p *pass) compare(n *node, v *view, dir *disk.Dir, have []mtree.Entry) {
	v.listing.Entries = p.wanted(n.path, v.listing.Entries)
	if v.vague != nil {
		v.unless = clarify(&v.listing, v.vague, have)
		if v.more&replica.DoubtBytes != 0 {
			v.unless = nil // nor do size and time prove anything to another server
		}
	}
	another := v.had && replaced(v.before, &v.listing)
	// Until n is complete its files are of more than one directory, or of more than
	// one time. What is below shows for itself whether that is so.
	below := v.more
	if another || p.older(v) || v.unproved(have) {
		v.more |= replica.DoubtBytes
	}
	v.record = recordOf(&v.listing)
	if v.record.ID == "" {
		v.record.ID = v.before.ID // somebody took it away on the way here
	}
	v.plan = plan.Make(have, &v.listing, &plan.Options{
		Dir: n.path, Stored: p.dest.Times.Stored, NoLinks: p.config.NoLinks || p.dest.NoLinks, Owner: p.config.Owner,
		NoDelete: p.config.NoDelete, WasHeld: p.wasHeld, Hidden: p.hides(v), CheckAll: v.more&replica.DoubtBytes != 0,
		ByCTime: v.had && v.before.Now != mtree.Stamp{}, Listed: v.before.Now,
		Verified: p.seen.settled,
	})
	p.leftOut(v)
	for _, c := range v.plan.Dirs {
		child := n.child(c.Want)
		child.deep, child.more, child.nested = v.deep, below, v.nested
		child.fresh = c.What&(mtree.Absent|mtree.Type) != 0
		if child.fresh || another || v.deep || p.full || !p.prunes(dir, child, c.Have) {
			v.below = append(v.below, child)
		}
	}
}

// prunes reports whether the directory of the copy is complete with the stamp that
// the source lists.
func (p *pass) prunes(dir *disk.Dir, child *node, have *mtree.Entry) bool {
	return p.source.state.Prunes() && p.dest.IsComplete(dir, child.path, child.want.MTime, have)
}

// apply makes what needs no fetch.
func (p *pass) apply(n *node, v *view, dir *disk.Dir, info disk.Info) {
	pl := &v.plan
	v.proved = len(pl.Check) > 0
	if len(pl.MakeDirs)+len(pl.MakeLinks)+len(pl.Fetch)+len(pl.SetModes)+len(pl.Extra) > 0 || n.fresh {
		if v.err = replica.Local(p.open(n, dir, info, v.record, allDoubts(v.deep, v.more))); v.err != nil {
			return
		}
	}
	for _, c := range pl.MakeDirs {
		err := p.makeDir(dir, c)
		if v.note(n, c.Want.Name, err); err != nil {
			v.below = slices.DeleteFunc(v.below, func(child *node) bool { return child.name == c.Want.Name })
		}
	}
	for _, c := range pl.MakeLinks {
		v.note(n, c.Want.Name, p.makeLink(dir, n, c, v))
	}
	for _, c := range pl.SetModes {
		v.note(n, c.Want.Name, p.setMode(dir, c))
	}
}

// open makes a directory ready to be changed: writable for its owner, and known
// to be unfinished.
func (p *pass) open(n *node, dir *disk.Dir, info disk.Info, now records.Record, doubts replica.Doubts) error {
	p.gate.Begin()
	if info.Mode&0o700 != 0o700 {
		if err := dir.Chmod(info.Mode | 0o700); err != nil {
			return err
		}
	}
	return p.dest.Begin(dir, n.path, now, doubts)
}

func (v *view) note(n *node, name string, err error) {
	if err == nil {
		v.changed = true
	} else {
		v.failed = append(v.failed, failure{mtree.JoinPath(n.path, name), replica.Local(err)})
	}
}

// recordOf is the record that a listing completes a directory with, but for
// what the source leaves out.
func recordOf(l *mtree.Listing) records.Record {
	return records.Record{Stamp: l.Stamp, Now: l.Now, ID: l.ID}
}

// openToChange opens the directory of n for a later step of its visit.
func (p *pass) openToChange(n *node) (*disk.Dir, error) {
	dir, err := p.openCopy(n)
	if err != nil {
		return nil, err
	}
	info, err := dir.Self()
	if err == nil {
		err = p.open(n, dir, info, n.record, n.doubts())
	}
	if err != nil {
		_ = dir.Close()
		return nil, err
	}
	return dir, nil
}
