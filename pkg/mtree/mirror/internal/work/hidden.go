package work

import (
	"cmp"
	"strings"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/mirror/internal/plan"
)

// fingerprint returns the fingerprint of the source's options, or the last one that
// the source gave.
func (env *Env) fingerprint() string {
	return cmp.Or(env.Root.Fingerprint, env.Replica.Tree().Fingerprint)
}

// hidden says which entries of a directory the source may have but not list. before is
// the record of that directory. If it names no fingerprint, trusted says whether it holds
// for the present options of serve.
//
// The source says how many entries it leaves out. Most of them were never in the copy, so
// the record keeps the number from when the copy last had only listed entries. If the
// source leaves out more now, or others, then one of them may be in the copy.
func (env *Env) hidden(l *mtree.Listing, before records.Record, trusted bool) plan.Hidden {
	known := env.knowsHidden(before, trusted)
	_, mounts, _ := splitFingerprint(before.Fingerprint)
	isLater := l.Mounts != "" && l.Mounts != mounts // one may have come in the place of a name that went: TestAnotherMount
	switch {
	case known && l.Excluded <= before.Excluded && !isLater, l.Excluded == 0:
		return plan.HiddenNone
	case known && l.Covered == 0:
		return plan.HiddenDirs
	}
	return plan.HiddenAny
}

// knowsHidden reports whether a record counts what the present serve, or a serve with
// the same options, left out.
func (env *Env) knowsHidden(before records.Record, trusted bool) bool {
	options, _, _ := splitFingerprint(before.Fingerprint)
	if options == "" {
		return trusted // after a change of options there is a full walk
	}
	return options == env.fingerprint() && options != otherFingerprint // guard (without options != otherFingerprint): TestWhatOfNoOptionsIsNeverKnown
}

// Marks in the fingerprint of a record: before which names were mount points; and at its end, if
// entries stayed in the copy that the listing does not have: the source may have them without listing
// them, or they hold what filters exclude.
const (
	mountsMark = "+"
	staysMark  = "!"
)

// recordStays notes in the record that entries stay which the listing does not have, and which only
// another whole listing shows to be gone.
func (v *VisitResult) recordStays() {
	if _, _, stayed := splitFingerprint(v.Record.Fingerprint); !stayed && v.Record.Fingerprint != otherFingerprint {
		v.Record.Fingerprint += staysMark
	}
}

// splitFingerprint returns what the fingerprint in a record says: of which options of serve it is,
// which names were mount points, and whether entries stayed that the listing did not have.
func splitFingerprint(recorded string) (options, mounts string, stayed bool) {
	recorded, stayed = strings.CutSuffix(recorded, staysMark)
	options, mounts, _ = strings.Cut(recorded, mountsMark)
	return options, mounts, stayed
}

// recordHidden stores in the record how many entries the source leaves out, if the copy
// has none of them once what the plan deletes is gone.
func (env *Env) recordHidden(v *VisitResult) {
	r, known := &v.Record, env.knowsHidden(v.Before, v.trusts())
	v.Unlisted = len(v.Plan.Extra) > 0 && !known // guard (without !known): TestWhatIsRecordedOfWhatIsLeftOut
	switch {
	case v.Other:
		r.Fingerprint = otherFingerprint // guard: TestWhatIsRecordedOfWhatIsLeftOut
	case len(v.Plan.Kept) > 0 && known:
		r.Excluded, r.Fingerprint = v.Before.Excluded, v.Before.Fingerprint
	case len(v.Plan.Kept) > 0:
		r.Fingerprint = otherFingerprint
	case v.Listing.Excluded > 0:
		if r.Excluded, r.Fingerprint = v.Listing.Excluded, env.fingerprint(); v.Listing.Mounts != "" {
			r.Fingerprint += mountsMark + v.Listing.Mounts
		}
	}
	if v.Plan.Hides {
		v.recordStays() // guard: TestWhatIsRecordedOfWhatIsLeftOut
	}
}
