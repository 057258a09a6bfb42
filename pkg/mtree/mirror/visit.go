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
	"tidemark/pkg/mtree/mirror/internal/source"
)

// visitResult is what a visit found and did.
type visitResult struct {
	err       error // nothing is known of the directory
	same      bool  // complete already
	listing   mtree.Listing
	before    records.Record // what the copy remembered
	had       bool           // it remembered something
	record    records.Record // what the directory will be completed with
	doubts    replica.Doubts
	nested    bool // as in target
	plan      plan.Plan
	inCopy    int64          // entries of the copy
	stays     int64          // directories that are gone at the source but hold something excluded
	changed   bool           // directories, symlinks or modes were made
	proved    bool           // `now` of the record is out of date
	below     []mtree.Change // directories to visit
	doubtsOf  replica.Doubts // of these
	deletions []replica.Deletion
	failed    []failure
	approx    *source.Approx // how well the source knows the files; nil: exactly
}

// visit compares one directory with its listing and makes its directories and
// symlinks; what must be fetched, compared or deleted is left to other steps. given
// is the listing, nil if the source is to be asked.
func (w *work) visit(ctx context.Context, t target, given *source.Root) *visitResult {
	v := &visitResult{doubts: t.doubts, nested: t.nested}
	v.err = w.look(ctx, &t, given, v)
	return v
}

func (w *work) look(ctx context.Context, t *target, given *source.Root, v *visitResult) (err error) {
	var l source.Dir
	if given != nil {
		l = given.Dir
	} else if l, err = w.ask(ctx, t); err != nil {
		return err
	}
	v.listing, v.approx = l.Listing, l.Approx
	if err := w.self.CheckListing(ctx, w.root, t.path, &l); err != nil {
		return err
	}
	dir, err := w.openCopy(t.path)
	if w.dryRun && errors.Is(err, fs.ErrNotExist) {
		w.compare(t, v, nil, nil)
		return nil
	}
	if err != nil {
		return replica.Local(err)
	}
	defer dir.Close()
	info, err := dir.Self()
	if err != nil {
		return replica.Local(err)
	}
	v.before, v.had = w.dest.Record(dir, t.path)
	if v.had && !t.doubts.Below() && w.root.State.Prunes() && w.dest.IsCompleted(v.before, info, v.listing.Stamp) && !replaced(v.before, &v.listing) {
		v.same = true
		return nil
	}
	v.nested = t.nested || t.path != "" && !t.fresh && dir.HasMarker()
	var have []mtree.Entry
	if !t.fresh {
		if have, err = w.present(dir, t.path, &v.listing); err != nil {
			return replica.Local(err)
		}
	}
	v.doubt(len(have) > 0)
	if have, err = w.unfold(dir, t, v, have); err != nil {
		return replica.Local(err)
	}
	v.inCopy = int64(len(have))
	// Where size and time prove nothing here, they prove nothing to another server.
	v.approx.Resolve(ctx, &v.listing, have, v.doubts&replica.DoubtBytes == 0)
	w.compare(t, v, dir, have)
	if !w.dryRun {
		err = w.apply(t, v, dir, info)
	}
	if err == nil && !v.listing.Hot {
		w.condemn(t, v, dir)
	}
	return err
}

// doubt settles what is not trusted: what is not of the directory above, and what
// the record says. holds says that the copy has something here.
func (v *visitResult) doubt(holds bool) {
	if !v.had && holds {
		v.doubts |= replica.DoubtBelow
	}
	if began, ok := replica.DoubtsOf(v.before); v.had && ok {
		v.doubts |= began
	}
	if v.doubts&replica.DoubtHidden != 0 {
		v.before.Excluded, v.before.Fingerprint = 0, ""
	}
}

// older reports whether the source shows a directory as it was before it was
// copied: the source was rolled back, and what was copied since may be equal in
// size and time.
func (w *work) older(v *visitResult) bool {
	_, began := replica.DoubtsOf(v.before)
	return v.had && !began && !w.root.OtherServer && v.listing.Stamp.Before(v.before.Stamp)
}

// unproved reports whether the copy has files of which nobody knows from which
// listing they came, the record was begun before the directory was listed; or of
// which directory, the source gave no id then and does now.
func (v *visitResult) unproved(have []mtree.Entry) bool {
	if v.had && v.before.ID == "" && v.listing.ID != "" && len(have) > 0 {
		return true
	}
	_, began := replica.DoubtsOf(v.before)
	return v.had && began && v.before.Now == mtree.Stamp{} && v.listing.HasNow && len(have) > 0
}

// ask takes the listing of a target, from the tree that the pass began with.
func (w *work) ask(ctx context.Context, t *target) (source.Dir, error) {
	l, err := w.source.List(ctx, t.path, t.listed)
	if err == nil && l.Tree != w.root.Tree {
		err = fmt.Errorf("%w: the tree of the source became another, or its epoch", source.ErrMoved)
	}
	return l, err
}

// present reads the directory of the copy at path, whatever the types, without what
// filters exclude.
func (w *work) present(dir *disk.Dir, path string, listing *mtree.Listing) ([]mtree.Entry, error) {
	have, err := lister.Present(dir, path, w.filters.Excluded)
	if path == "" {
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
func (w *work) wanted(path string, entries []mtree.Entry) []mtree.Entry {
	if w.filters.Empty() {
		return entries
	}
	kept := make([]mtree.Entry, 0, len(entries))
	for i := range entries {
		if e := &entries[i]; !w.filters.Excluded(mtree.JoinPath(path, e.Name), e.Kind == mtree.Dir) {
			kept = append(kept, *e)
		}
	}
	return kept
}

// compare makes the plan for a target and finds the directories below to visit.
func (w *work) compare(t *target, v *visitResult, dir *disk.Dir, have []mtree.Entry) {
	v.listing.Entries = w.wanted(t.path, v.listing.Entries)
	another := v.had && replaced(v.before, &v.listing)
	// Until the directory is complete its files are of more than one directory, or of
	// more than one time. What is below shows for itself whether that is so.
	v.doubtsOf = v.doubts
	if another || w.older(v) || v.unproved(have) {
		v.doubts |= replica.DoubtBytes
	}
	v.record = recordOf(&v.listing)
	if v.record.ID == "" {
		v.record.ID = v.before.ID // somebody took it away on the way here
	}
	o := w.planOptions(t.path, w.hidden(&v.listing, v.before, v.had && !v.doubts.Below()))
	o.CheckAll = v.doubts&replica.DoubtBytes != 0
	o.ByCTime, o.Listed, o.Verified = v.had && v.before.Now != mtree.Stamp{}, v.before.Now, w.seen.settled
	o.WasHeld = func(path string) bool { return w.held.At(path) != nil }
	v.plan = plan.Make(have, &v.listing, &o)
	w.leftOut(v)
	for _, c := range v.plan.Dirs {
		if isFresh(c) || another || v.doubts.Below() || !w.prunes(dir, t.path, c) {
			v.below = append(v.below, c)
		}
	}
}

// planOptions is what a plan for the directory at path depends on whoever makes it.
func (w *work) planOptions(path string, hidden plan.Hidden) plan.Options {
	return plan.Options{
		Dir: path, Stored: w.dest.Times.Stored, NoLinks: w.noLinks || w.dest.NoLinks, Owner: w.owner, NoDelete: w.noDelete, Hidden: hidden,
	}
}

// planToVerify makes the plan for the directory of the copy at path, of whose files
// nothing is known: all of equal size and mtime are to be compared by their sums.
func (w *work) planToVerify(dir *disk.Dir, path string, l *mtree.Listing) (plan.Plan, error) {
	have, err := w.present(dir, path, l)
	if err != nil {
		return plan.Plan{}, err
	}
	before, had := w.dest.Record(dir, path)
	o := w.planOptions(path, w.hidden(l, before, had))
	o.CheckAll = true
	kept := *l
	kept.Entries = w.wanted(path, l.Entries)
	return plan.Make(have, &kept, &o), nil
}

// isFresh reports whether a directory is made by its parent's visit.
func isFresh(c mtree.Change) bool { return c.What&(mtree.Absent|mtree.Type) != 0 }

// prunes reports whether a directory of the copy is complete with the stamp that the
// source lists; path is that of the directory which it is in.
func (w *work) prunes(dir *disk.Dir, path string, c mtree.Change) bool {
	return w.root.State.Prunes() && w.dest.IsComplete(dir, path, c.Want.MTime, c.Have)
}

// apply makes what needs no fetch.
func (w *work) apply(t *target, v *visitResult, dir *disk.Dir, info disk.Info) error {
	pl := &v.plan
	v.proved = len(pl.Check) > 0
	if len(pl.MakeDirs)+len(pl.MakeLinks)+len(pl.Fetch)+len(pl.SetModes)+len(pl.Extra) > 0 || t.fresh {
		if err := w.makeReady(dir, info, v.asTarget(t)); err != nil {
			return replica.Local(err)
		}
	}
	for _, c := range pl.MakeDirs {
		err := w.makeDir(dir, c)
		if v.note(t, c.Want.Name, err); err != nil {
			v.below = slices.DeleteFunc(v.below, func(child mtree.Change) bool { return child.Want.Name == c.Want.Name })
		}
	}
	for _, c := range pl.MakeLinks {
		v.note(t, c.Want.Name, w.makeLink(dir, t, c, v))
	}
	for _, c := range pl.SetModes {
		v.note(t, c.Want.Name, w.setMode(dir, c))
	}
	return nil
}

// asTarget is the target of the steps that follow the visit of t.
func (v *visitResult) asTarget(t *target) *target {
	next := *t
	next.record, next.doubts, next.nested = v.record, v.doubts, v.nested
	return &next
}

func (v *visitResult) note(t *target, name string, err error) {
	if err == nil {
		v.changed = true
	} else {
		v.failed = append(v.failed, failure{mtree.JoinPath(t.path, name), replica.Local(err)})
	}
}

// made counts the names that a visit added to the copy, failures aside.
func (v *visitResult) made() (n int64) {
	for _, list := range [][]mtree.Change{v.plan.MakeDirs, v.plan.MakeLinks} {
		for i := range list {
			if list[i].Have == nil {
				n++
			}
		}
	}
	return n
}

// recordOf is the record that a listing completes a directory with, but for
// what the source leaves out.
func recordOf(l *mtree.Listing) records.Record {
	return records.Record{Stamp: l.Stamp, Now: l.Now, ID: l.ID}
}
