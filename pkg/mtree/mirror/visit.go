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
	err         error // nothing is known of the directory
	same        bool  // it is complete already
	listing     mtree.Listing
	before      records.Record // what the copy had
	had         bool           // it had a record
	record      records.Record // what the directory will be completed with
	doubts      replica.Doubts
	nested      bool // as in target, and by what is in the directory itself
	plan        plan.Plan
	inCopy      int64          // entries of the copy
	stays       int64          // directories that the source no longer has, which stay for what is excluded in them
	changed     bool           // directories, symlinks or modes were made
	proved      bool           // files are compared by sums: the record gets the listing's `now`
	below       []mtree.Change // directories to visit
	doubtsBelow replica.Doubts // what is not trusted of them
	deletions   []replica.Deletion
	failed      []failure
	approx      *source.Approx // how well the source knows the files; nil: exactly
}

// visit compares one directory with its listing. It makes directories and symlinks
// there, and sets modes; files to fetch or to compare, and deletions, are left to other
// steps. given has the root's listing; nil: the source is asked for the listing. Cost:
// a request, openat, getdents64, a statx for each entry, and what is made.
func (w *work) visit(ctx context.Context, t target, given *source.Root) *visitResult {
	v := &visitResult{doubts: t.doubts, nested: t.nested}
	v.err = w.look(ctx, &t, given, v)
	return v
}

// look is visit; v gets what it finds.
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
	if v.had && !t.doubts.Below() && w.root.State.Prunes() && w.dest.IsCompleted(v.before, info, v.listing.Stamp) && !isReplaced(v.before, &v.listing) {
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
	if have, err = w.respell(dir, t, v, have); err != nil {
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
		w.findDeletions(t, v, dir)
	}
	return err
}

// doubt adds what the record says is not trusted. hasEntries says that the directory of
// the copy is not empty: without a record, nothing below it is trusted.
func (v *visitResult) doubt(hasEntries bool) {
	if !v.had && hasEntries {
		v.doubts |= replica.DoubtBelow
	}
	if began, ok := replica.DoubtsOf(v.before); v.had && ok {
		v.doubts |= began
	}
	if v.doubts&replica.DoubtHidden != 0 {
		v.before.Excluded, v.before.Fingerprint = 0, ""
	}
}

// isOlder reports whether the listing is from before the directory was copied: the
// source was rolled back, and files that were copied since may be equal in size and
// time.
func (w *work) isOlder(v *visitResult) bool {
	_, began := replica.DoubtsOf(v.before)
	return v.had && !began && !w.root.OtherServer && v.listing.Stamp.Before(v.before.Stamp)
}

// isUnproved reports whether nobody knows where the files of the copy came from: from
// which listing, for the record was begun before the directory was listed; or from
// which directory, for the source gave no id then and gives one now.
func (v *visitResult) isUnproved(have []mtree.Entry) bool {
	if v.had && v.before.ID == "" && v.listing.ID != "" && len(have) > 0 {
		return true
	}
	_, began := replica.DoubtsOf(v.before)
	return v.had && began && v.before.Now == mtree.Stamp{} && v.listing.HasNow && len(have) > 0
}

// ask returns the listing of a target. It must be of the tree that the pass began with.
func (w *work) ask(ctx context.Context, t *target) (source.Dir, error) {
	l, err := w.source.List(ctx, t.path, t.listed)
	if err == nil && l.Tree != w.root.Tree {
		err = fmt.Errorf("%w: the tree of the source became another, or its epoch", source.ErrMoved)
	}
	return l, err
}

// present reads the entries that the copy has at path, without those that filters
// exclude.
func (w *work) present(dir *disk.Dir, path string, listing *mtree.Listing) ([]mtree.Entry, error) {
	have, err := lister.Present(dir, path, w.filters.Excluded)
	if path == "" {
		have = withoutLostFound(have, listing)
	}
	return have, err
}

// withoutLostFound drops the lost+found that mkfs made, unless the source has one.
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

// isReplaced reports whether the source has another directory under the name than the
// one that was copied.
func isReplaced(r records.Record, l *mtree.Listing) bool {
	return r.ID != "" && l.ID != "" && r.ID != l.ID
}

// wanted returns the entries of the listing of path that no filter excludes.
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

// compare makes the plan for a target and finds the directories below it to visit. dir
// is nil if the copy has no such directory, which only a dry run meets.
func (w *work) compare(t *target, v *visitResult, dir *disk.Dir, have []mtree.Entry) {
	v.listing.Entries = w.wanted(t.path, v.listing.Entries)
	another := v.had && isReplaced(v.before, &v.listing)
	// Until the directory is complete its files come from more than one directory, or
	// from more than one time. The directories below show for themselves whether that is
	// so.
	v.doubtsBelow = v.doubts
	if another || w.isOlder(v) || v.isUnproved(have) {
		v.doubts |= replica.DoubtBytes
	}
	v.record = recordOf(&v.listing)
	if v.record.ID == "" {
		v.record.ID = v.before.ID // something on the way removed it
	}
	o := w.planOptions(t.path, w.hidden(&v.listing, v.before, v.had && !v.doubts.Below()))
	o.CheckAll = v.doubts&replica.DoubtBytes != 0
	o.ByCTime, o.Listed, o.Verified = v.had && v.before.Now != mtree.Stamp{}, v.before.Now, w.verified.has
	o.WasHeld = func(path string) bool { return w.held.At(path) != nil }
	v.plan = plan.Make(have, &v.listing, &o)
	w.recordHidden(v)
	for _, c := range v.plan.Dirs {
		if isFresh(c) || another || v.doubts.Below() || !w.prunes(dir, t.path, c) {
			v.below = append(v.below, c)
		}
	}
}

// planOptions returns the options that every plan for the directory at path has.
func (w *work) planOptions(path string, hidden plan.Hidden) plan.Options {
	return plan.Options{
		Dir: path, Stored: w.dest.Times.Stored, NoLinks: w.noLinks || w.dest.NoLinks, Owner: w.owner, NoDelete: w.noDelete, Hidden: hidden,
	}
}

// planToVerify makes a plan for the directory of the copy at path that trusts nothing:
// all files of equal size and mtime are to be compared by their sums. Nothing is
// changed.
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

// isFresh reports whether the visit of the parent makes this directory.
func isFresh(c mtree.Change) bool { return c.What&(mtree.Absent|mtree.Type) != 0 }

// prunes reports whether a directory below path is complete with the stamp that the
// source lists.
func (w *work) prunes(dir *disk.Dir, path string, c mtree.Change) bool {
	return w.root.State.Prunes() && w.dest.IsComplete(dir, path, c.Want.MTime, c.Have)
}

// apply carries out the parts of the plan that need no fetch.
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

// asTarget returns t as the steps after the visit know it.
func (v *visitResult) asTarget(t *target) *target {
	next := *t
	next.record, next.doubts, next.nested = v.record, v.doubts, v.nested
	return &next
}

// note notes that an entry was changed, or why it was not.
func (v *visitResult) note(t *target, name string, err error) {
	if err == nil {
		v.changed = true
	} else {
		v.failed = append(v.failed, failure{mtree.JoinPath(t.path, name), replica.Local(err)})
	}
}

// made counts the names that a visit added to the copy, if nothing failed.
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

// recordOf returns the record that a listing completes a directory with. What the
// source leaves out is not in it.
func recordOf(l *mtree.Listing) records.Record {
	return records.Record{Stamp: l.Stamp, Now: l.Now, ID: l.ID}
}
