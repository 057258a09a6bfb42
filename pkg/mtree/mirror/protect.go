package mirror

// hides is what the source may have in a directory without listing it, dotfiles
// apart, of which it tells.
type hides uint8

const (
	nothing     hides = iota
	directories       // a mount may cover one since the copy was completed
	anything          // its serve may leave out other names than it did then, or a mount cover a file
)

// e is the E of the source, if it gives one, or the last that it gave.
func (p *pass) e() string {
	if p.source.e != "" {
		return p.source.e
	}
	return p.dest.tree.E
}

// hides says what of a copy's directory the source may hide by now. That it
// leaves out some entries alone says little: most were never in the copy. So
// the record tells how many it left out when the copy had nothing else than was
// listed; only if there are more now, or it may be others, one of them may be
// in the copy.
func (p *pass) hides(v *view) hides {
	switch known := p.knows(v); {
	case known && v.listing.Excluded <= v.before.Excluded, v.listing.Excluded == 0:
		return nothing
	case known && v.listing.Covered == 0:
		return directories
	}
	return anything
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
	case len(v.plan.kept) > 0 && p.knows(v):
		r.Excluded, r.E = v.before.Excluded, v.before.E
	case len(v.plan.kept) > 0:
		r.E = otherE
	case v.listing.Excluded > 0:
		r.Excluded, r.E = v.listing.Excluded, p.e()
	}
}
