package mtree

import "iter"

// Differs says how an entry of a copy differs from the source's listing.
type Differs uint8

const (
	Absent  Differs = 1 << iota // not in the copy
	Extra                       // only in the copy
	Type                        // another kind under the same name
	Content                     // a file of other size or mtime; a symlink of other target or mtime
	Tide                        // a directory of another stamp
	Mode                        // other permission bits (0777)
	Owner                       // other owner, where both are known
)

// Change is one name in which two listings differ, or not.
type Change struct {
	What Differs // 0: as far as can be seen, nothing
	Have *Entry  // in the copy; nil if Absent
	Want *Entry  // in the source; nil if Extra
}

// Diff pairs the entries of a copy (have) and of the source (want), both in
// listing order, by name and yields one Change for every name of either, in
// that order, equal ones included. It is the only place that decides whether
// two entries differ. Times are compared by !=, never by order.
//
// stored returns the time that the copy's file system keeps when it is given a
// time; nil means that it keeps every time as it is. Cost: one step per entry, no
// allocation.
func Diff(have, want []Entry, stored func(Stamp) Stamp) iter.Seq[Change] {
	if stored == nil {
		stored = func(s Stamp) Stamp { return s }
	}
	return func(yield func(Change) bool) {
		h, w := 0, 0
		for h < len(have) || w < len(want) {
			var c Change
			switch {
			case w == len(want) || h < len(have) && have[h].Name < want[w].Name:
				c = Change{What: Extra, Have: &have[h]}
				h++
			case h == len(have) || want[w].Name < have[h].Name:
				c = Change{What: Absent, Want: &want[w]}
				w++
			default:
				c = Change{differs(&have[h], &want[w], stored), &have[h], &want[w]}
				h++
				w++
			}
			if !yield(c) {
				return
			}
		}
	}
}

// differs compares two entries of one name.
func differs(have, want *Entry, stored func(Stamp) Stamp) (d Differs) {
	if have.Kind != want.Kind {
		return Type
	}
	sameTime := have.MTime == want.MTime || have.MTime == stored(want.MTime)
	switch want.Kind {
	case Dir:
		if !sameTime {
			d |= Tide
		}
	case Symlink:
		if !sameTime || have.Link != want.Link {
			d |= Content
		}
	default:
		if !sameTime || have.Size != want.Size {
			d |= Content
		}
	}
	both := have.Has & want.Has
	if both&HasMode != 0 && want.Kind != Symlink && (have.Mode^want.Mode)&0o777 != 0 {
		d |= Mode
	}
	if both&HasOwner != 0 && (have.UID != want.UID || have.GID != want.GID) {
		d |= Owner
	}
	return d
}
