package stamprule

import (
	"time"

	"tidemark/pkg/mtree"
)

// Rule decides about stamps: everything up to Floor is published.
type Rule struct {
	Floor   mtree.Stamp   // the highest stamp published
	Granule time.Duration // the smallest step of time that the file system stores
}

// Least returns the smallest stamp above everything published.
func (r Rule) Least() mtree.Stamp { return r.Floor.Floor(r.Granule).Add(r.Granule) } // guard (.Add(r.Granule) -> .Add(0)): TestValue, TestCoarseStamp

// Value returns the value of a changed entry: its mtime if that is new, else its ctime if
// that is new, else the least new stamp. A time is new if it lies above the floor and is not
// later than now. So a file dated back or ahead, or two changes in one tick, still give a
// stamp that nobody has seen.
func (r Rule) Value(mtime, ctime, now mtree.Stamp) mtree.Stamp {
	switch {
	case mtime.After(r.Floor) && !mtime.After(now): // guard (without mtime.After(r.Floor)): TestValue
		return mtime
	case ctime.After(r.Floor) && !ctime.After(now): // guard (without !ctime): TestValue
		return ctime
	}
	return r.Least()
}

// Stamp returns the stamp for a directory. That is top, the greatest value in the
// directory and below it. But if readers may have seen that much, it is one granule more
// than they may have seen: the kernel moves a directory's mtime before we do, and a mirror
// may have read it.
//
// shown are the times that they may have seen: those of the directory immediately before
// the write and, if it arrived under its name, those that another one may have shown there.
// now is a clock reading taken after that.
func (r Rule) Stamp(top, now mtree.Stamp, shown ...mtree.Stamp) mtree.Stamp {
	shows := mtree.MinStamp
	for _, t := range shown {
		shows = mtree.Later(shows, Past(t, mtree.MinStamp, now)) // guard: TestStamp
	}
	stamp := top.Floor(r.Granule)
	if !stamp.After(shows) { // guard: TestStamp
		stamp = shows.Floor(r.Granule).Add(r.Granule)
	}
	if stamp == now.Floor(r.Granule) { // guard: TestCoarseStamp
		stamp = stamp.Add(r.Granule)
	}
	return stamp
}

// Past returns mtime, or other where mtime lies in the future.
func Past(mtime, other, now mtree.Stamp) mtree.Stamp {
	if mtime.After(now) {
		return other
	}
	return mtime
}
