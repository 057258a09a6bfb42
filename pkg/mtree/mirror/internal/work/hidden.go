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
	_, mounts, _ := strings.Cut(before.Fingerprint, mountsMark)
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
	options, _, _ := strings.Cut(before.Fingerprint, mountsMark)
	if options == "" {
		return trusted // after a change of options there is a full walk
	}
	return options == env.fingerprint() && options != otherFingerprint // guard (without options != otherFingerprint): TestWhatOfNoOptionsIsNeverKnown
}

// mountsMark stands in a record between the fingerprint and which names were mount points.
const mountsMark = "+"

// recordHidden stores in the record how many entries the source leaves out, if the copy
// has none of them once what the plan deletes is gone.
func (env *Env) recordHidden(v *VisitResult) {
	r, known := &v.Record, env.knowsHidden(v.Before, v.trusts())
	v.Unlisted = len(v.Plan.Extra) > 0 && !known // guard (without !known): TestWhatIsRecordedOfWhatIsLeftOut
	switch {
	case v.Other:
		r.Fingerprint = otherFingerprint // guard: TestSimulationFound
	case len(v.Plan.Kept) > 0 && known:
		r.Excluded, r.Fingerprint = v.Before.Excluded, v.Before.Fingerprint
	case len(v.Plan.Kept) > 0:
		r.Fingerprint = otherFingerprint
	case v.Listing.Excluded > 0:
		if r.Excluded, r.Fingerprint = v.Listing.Excluded, env.fingerprint(); v.Listing.Mounts != "" {
			r.Fingerprint += mountsMark + v.Listing.Mounts
		}
	}
}
