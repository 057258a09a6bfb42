package lineage

// flapping notices, by the fingerprints in their ETags, that serves with different options
// answer alternately at one address. Each new fingerprint makes a full walk due: only a
// full comparison can distinguish what the new options leave out from what was deleted.
// If the serves alternate, every change costs a full walk.
type flapping struct {
	seen     map[string]bool
	reported bool
}

// note reports, only once, that a fingerprint came back after another one. was is "" if
// the copy lost its .tidemark.
func (f *flapping) note(was, is string) bool {
	back := was != "" && was != is && f.seen[is]
	if f.seen == nil {
		f.seen = map[string]bool{}
	}
	f.seen[was], f.seen[is] = true, true
	first := back && !f.reported
	f.reported = f.reported || back
	return first
}
