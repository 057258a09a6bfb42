package lineage

// flapping notices that serves of different options answer alternately, behind one
// address, by the fingerprints in their ETags. Another fingerprint makes a full walk
// due, each time: only where everything is compared can what the new options leave out
// be told from what was deleted. Alternating, they make a full walk of every change.
type flapping struct {
	seen     map[string]bool
	reported bool
}

// note reports, once, that a fingerprint came back after another one. A copy that lost
// its .tidemark has no fingerprint, "".
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
