package mirror

// turns notes of which options the serves were that answered, by the E of their
// ETags. Another one makes a full walk due, each time: what it leaves out is told
// from what was deleted only where all is compared. Where two serves of different
// options answer by turns, behind one address, that is a full walk for every
// change, which nobody wants.
type turns struct {
	seen map[string]bool
	told bool
}

// turn reports, once, that an E came back that was another's successor. A copy that
// lost its .tidemark has none, "".
func (t *turns) turn(was, e string) bool {
	back := was != "" && was != e && t.seen[e]
	if t.seen == nil {
		t.seen = map[string]bool{}
	}
	t.seen[was], t.seen[e] = true, true
	first := back && !t.told
	t.told = t.told || back
	return first
}
