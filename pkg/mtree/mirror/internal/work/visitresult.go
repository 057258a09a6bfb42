package work

import (
	"slices"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/mirror/internal/fetch"
	"tidemark/pkg/mtree/mirror/internal/plan"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/wire"
)

// VisitResult is what a visit found and did.
type VisitResult struct {
	Err          error          // if set, the rest is not valid, except Inside
	Same         bool           // it is complete already; only Past, Later, Before, Had, Doubts and Nested are valid
	Listing      mtree.Listing  // without the entries that filters exclude
	Past         bool           // as in source.Dir; also set if a listing above is of the past
	Later        bool           // the directory was stamped after its parent was listed: its parent will be, too
	Other        bool           // a serve with other options gave the listing: Env.isOfOtherOptions
	HotElsewhere bool           // so, and it was hot there: if that is a copy, in mid-pass, its time is no stamp
	behind       time.Duration  // as in source.Dir
	Before       records.Record // what the copy had
	Had          bool           // it had a record
	Intact       bool           // it was complete with the stamp of its record, and nobody has touched it since
	Record       records.Record // what the directory will be completed with
	Unlisted     bool           // as in Target
	Doubts       replica.Doubts // what is not trusted of it
	MayBeLost    bool           // the copy's files may lack bytes: Replica.MayBeLost
	Unflushed    bool           // it was unfinished and has files: a mirror that was killed may have written them
	stripped     bool           // VisitResult.isStripped
	Nested       bool           // as in Target; also set if the directory itself has a marker
	Plan         plan.Plan
	InCopy       int64              // entries of the copy
	Inside       int64              // entries of the copy below directories that no visit leads to, counted in a full walk; also set with Err
	Stays        int64              // directories that the source no longer has, which stay for what is excluded in them
	Staying      []string           // their names
	Respelled    []Respelled        // entries of the copy that got the spelling of the source
	Unseen       bool               // the copy has files that our filters exclude
	unmarked     bool               // a directory that no visit leads to could not be doubted: this one must keep its doubts
	Known        mtree.Stamp        // `now` for the record if not all files are compared: VisitResult.knownBy; zero: the listing's
	Relinked     []mtree.Change     // of Plan.Linked, those that got another mode or owner
	Begun        bool               // its record says that it is unfinished
	Changed      bool               // directories, symlinks or modes were made
	Proved       bool               // files are compared by sums: the record gets the listing's `now`
	Below        []mtree.Change     // directories to visit
	DoubtsBelow  replica.Doubts     // what is not trusted of them
	Deletions    []replica.Deletion // what is extra, and directories that something else replaces
	Failed       []fetch.Failure
	HalfMade     []string       // directories of Failed that are there, though without their mode or owner
	Approx       *source.Approx // how well the source knows the files; nil: exactly
}

// Respelled is an entry that was renamed to a name which differs in case only.
type Respelled struct {
	Old, New string
	Kind     mtree.Kind
}

// record returns the record with which the listing completes the directory. It does not say
// how many entries the source leaves out; recordHidden adds that.
func (v *VisitResult) record() records.Record {
	return records.Record{Stamp: v.Listing.Stamp, Now: v.ReadAt(), ID: v.Listing.ID}
}

// ReadAt returns the `now` that belongs into the record: no change that the listing does not show
// has a ctime from before. Another server than serve does not say when it listed; then the recorded
// one stays, because what changed since that has not been compared by its ctime.
func (v *VisitResult) ReadAt() mtree.Stamp {
	if !v.Listing.HasNow { // guard: TestWhatADirectoryIsCompletedWith, TestAnotherServerForOnePass
		return v.Before.Now
	}
	return v.Listing.Now.Add(-v.behind) // guard (-v.behind -> 0): TestWhatADirectoryIsCompletedWith
}

// isUnproved reports whether the origin of the copy's files is unknown: either the
// listing is unknown, because the record was begun before the directory was listed; or
// the directory is unknown, because the source gave no id then and gives one now.
func (v *VisitResult) isUnproved(have []mtree.Entry) bool {
	if v.Had && v.Before.ID == "" && v.Listing.ID != "" && len(have) > 0 {
		return true
	}
	_, began := replica.DoubtsOf(v.Before)
	return began && v.Before.Now == mtree.Stamp{} && v.Listing.HasNow && len(have) > 0
}

// isStripped reports whether the directory has files and no record, in a copy that was complete
// once: the record was lost, or somebody put the directory there, perhaps out of a backup. state is
// that of the copy.
func (v *VisitResult) isStripped(have []mtree.Entry, state wire.State) bool {
	return !v.Had && len(have) > 0 && state != wire.Filling && state != "" // guard (returns false): TestADirectoryThatLostItsRecord
}

// IsHot reports whether the listing, or an entry in it, may not match its stamp: it
// completes no directory then.
func (v *VisitResult) IsHot() bool {
	for i := range v.Listing.Entries {
		if v.Listing.Entries[i].Hot {
			return true
		}
	}
	return v.Listing.Hot
}

// asTarget returns t as the steps after the visit know it.
func (v *VisitResult) asTarget(t *Target) *Target {
	next := *t
	next.Record, next.Unlisted, next.Doubts, next.Nested = v.Record, v.Unlisted, v.Doubts, v.Nested
	return &next
}

// note records that an entry was changed, or why it was not.
func (v *VisitResult) note(t *Target, name string, err error) {
	if err == nil {
		v.Changed = true
	} else {
		v.Failed = append(v.Failed, fetch.Failure{Path: mtree.JoinPath(t.Path, name), Err: replica.Local(err)})
	}
}

// trusts reports whether a record that names no options holds for the present ones. After a
// change of options there is a full walk, and what is held when it has ended is still there.
func (v *VisitResult) trusts() bool {
	return v.Had && v.Doubts&(replica.DoubtBelow|replica.DoubtHidden) == 0 // guard (replica.DoubtBelow|replica.DoubtHidden -> replica.DoubtBelow): TestWhatIsRecordedOfWhatIsLeftOut
}

// removes reports whether the plan deletes an entry, or puts one of another kind in its place.
func (v *VisitResult) removes() bool {
	p := &v.Plan
	return len(p.Extra) > 0 || slices.ContainsFunc(slices.Concat(p.MakeDirs, p.MakeLinks, p.Fetch), func(c mtree.Change) bool {
		return c.Have != nil && c.Have.Kind != c.Want.Kind
	})
}

// Made counts the names that a visit added to the copy, if nothing failed.
func (v *VisitResult) Made() (n int64) {
	for _, list := range [][]mtree.Change{v.Plan.MakeDirs, v.Plan.MakeLinks} {
		for i := range list {
			if list[i].Have == nil {
				n++
			}
		}
	}
	return n
}

// doubt adds what the record says is not trusted. hasEntries says that the directory of
// the copy is not empty: without a record, nothing below it is trusted.
func (v *VisitResult) doubt(hasEntries bool) {
	if !v.Had && hasEntries {
		v.Doubts |= replica.DoubtBelow
	}
	began, _ := replica.DoubtsOf(v.Before)
	v.Doubts |= began
	if v.Doubts&replica.DoubtHidden != 0 {
		v.Before.Excluded, v.Before.Fingerprint = 0, ""
	}
}
