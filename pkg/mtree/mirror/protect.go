package mirror

import "tidemark/pkg/mtree/mirror/internal/plan"

// e is the E of the source, if it gives one, or the last that it gave.
func (p *pass) e() string {
	if p.source.e != "" {
		return p.source.e
	}
	return p.dest.Tree().E
}

// hides says what of a copy's directory the source may hide by now. That it
// leaves out some entries alone says little: most were never in the copy. So
// the record tells how many it left out when the copy had nothing else than was
// listed; only if there are more now, or it may be others, one of them may be
// in the copy.
func (p *pass) hides(v *view) plan.Hidden {
	switch known := p.knows(v); {
	case known && v.listing.Excluded <= v.before.Excluded, v.listing.Excluded == 0:
		return plan.HiddenNone
	case known && v.listing.Covered == 0:
		return plan.HiddenDirs
	}
	return plan.HiddenAny
}

// knows reports whether the record tells what the present serve, or one of the
// same options, left out.
func (p *pass) knows(v *view) bool {
	if v.before.E == "" {
		return v.had && !v.deep // a change of options makes all visits deep
	}
	return v.before.E == p.e()
}

// otherE stands in a record where the copy has what a serve of other options may
// leave out.
const otherE = "-"

// leftOut notes in the record how many entries the source leaves out, if the
// copy has none of them.
func (p *pass) leftOut(v *view) {
	r := &v.record
	switch {
	case len(v.plan.Kept) > 0 && p.knows(v):
		r.Excluded, r.E = v.before.Excluded, v.before.E
	case len(v.plan.Kept) > 0:
		r.E = otherE
	case v.listing.Excluded > 0:
		r.Excluded, r.E = v.listing.Excluded, p.e()
	}
}
