package mirror

import (
	"cmp"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/mirror/internal/plan"
)

// fingerprint is that of the source's options, or the last one that it gave.
func (w *work) fingerprint() string { return cmp.Or(w.root.Fingerprint, w.dest.Tree().Fingerprint) }

// hidden says what the source may have and not list of a directory with the record
// before. That it leaves out some entries alone says little: most were never in the
// copy. So the record tells how many it left out when the copy had nothing else than
// was listed; only if there are more now, or it may be others, one of them may be
// in the copy. trusted says that the record is not from before a full walk.
func (w *work) hidden(l *mtree.Listing, before records.Record, trusted bool) plan.Hidden {
	switch known := w.knowsHidden(before, trusted); {
	case known && l.Excluded <= before.Excluded, l.Excluded == 0:
		return plan.HiddenNone
	case known && l.Covered == 0:
		return plan.HiddenDirs
	}
	return plan.HiddenAny
}

// knowsHidden reports whether a record tells what the present serve, or one of the
// same options, left out.
func (w *work) knowsHidden(before records.Record, trusted bool) bool {
	if before.Fingerprint == "" {
		return trusted // after a change of options there is a full walk
	}
	return before.Fingerprint == w.fingerprint()
}

// otherE stands in a record where the copy has what a serve of other options may
// leave out.
const otherE = "-"

// leftOut notes in the record how many entries the source leaves out, if the
// copy has none of them.
func (w *work) leftOut(v *visitResult) {
	r := &v.record
	switch {
	case len(v.plan.Kept) > 0 && w.knowsHidden(v.before, v.had && !v.doubts.Below()):
		r.Excluded, r.Fingerprint = v.before.Excluded, v.before.Fingerprint
	case len(v.plan.Kept) > 0:
		r.Fingerprint = otherE
	case v.listing.Excluded > 0:
		r.Excluded, r.Fingerprint = v.listing.Excluded, w.fingerprint()
	}
}
