package watch

import (
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
)

// The stamp rule, DESIGN.md section 2, as pure functions.

// rule is what values are measured against: everything up to floor is
// published, nothing later than now has happened.
type rule struct {
	floor   mtree.Stamp
	granule time.Duration
}

// least is the smallest stamp above everything published.
func (r rule) least() mtree.Stamp { return r.floor.Floor(r.granule).Add(r.granule) }

// value of a changed entry: its mtime if that is new, else its ctime if that
// is, else the least new stamp. So a file dated back or ahead, or two changes
// in one tick, still give a stamp that nobody has seen.
func (r rule) value(mtime, ctime, now mtree.Stamp) mtree.Stamp {
	switch {
	case mtime.After(r.floor) && !mtime.After(now):
		return mtime
	case ctime.After(r.floor) && !ctime.After(now):
		return ctime
	}
	return r.least()
}

// stamp is what a directory is given: top, the greatest value in it and below
// it; but if the directory already shows that much, one granule more than it
// shows: the kernel moves a directory's mtime before we do, and a mirror may
// have read it. shown is fstat taken immediately before the write, now a clock
// reading taken after that.
func (r rule) stamp(top mtree.Stamp, shown disk.Info, now mtree.Stamp) mtree.Stamp {
	shows := mtree.MinStamp
	for _, t := range []mtree.Stamp{shown.MTime, shown.CTime} {
		if !t.After(now) {
			shows = mtree.Later(shows, t)
		}
	}
	stamp := top.Floor(r.granule)
	if !stamp.After(shows) {
		stamp = shows.Floor(r.granule).Add(r.granule)
	}
	if stamp == now.Floor(r.granule) {
		stamp = stamp.Add(r.granule)
	}
	return stamp
}

// past returns mtime, or ctime for a file dated into the future.
func past(mtime, ctime, now mtree.Stamp) mtree.Stamp {
	if mtime.After(now) {
		return ctime
	}
	return mtime
}
