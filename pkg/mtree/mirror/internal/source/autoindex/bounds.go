package autoindex

import (
	"time"

	"tidemark/pkg/mtree"
)

// Bounds is how well a listing knows a file.
type Bounds struct {
	Step       time.Duration // unit of its listed time: 1 ns, 1 s or 1 min; 0: no time is listed
	ServerZone bool          // the time may be in the server's time zone instead of UTC
	Low, High  int64         // bounds of its size in bytes; High < 0: no upper bound

	listed mtree.Stamp // the time as it is listed, read as UTC
	zones  *Zones      // what is known of the server's zone; nil: nothing
}

const (
	zoneStep = 15 * time.Minute // all offsets of time zones from UTC are multiples of this
	zoneMost = 14 * time.Hour   // the largest of them
)

// Fits reports whether a file of this mtime and size may be the one that is listed.
// size < 0: not known.
func (b *Bounds) Fits(mtime mtree.Stamp, size int64) bool {
	if b.High >= 0 && size >= 0 && (size < b.Low || size > b.High) {
		return false
	}
	if b.Step == 0 {
		return true
	}
	ahead := b.ahead(mtime)
	return ahead == 0 || b.ServerZone && isOffset(ahead)
}

// ahead returns how far the listed time is ahead of mtime.
func (b *Bounds) ahead(mtime mtree.Stamp) time.Duration {
	return b.listed.Sub(mtime.Floor(max(b.Step, 1)))
}

// isOffset reports whether d may be the offset of a time zone from UTC.
func isOffset(d time.Duration) bool { return d%zoneStep == 0 && d.Abs() <= zoneMost }

// UTC returns the time of a file that has no date of its own: the listed time without
// the offset of the server's zone, if that is known.
func (b *Bounds) UTC() mtree.Stamp {
	if !b.ServerZone {
		return b.listed
	}
	return b.listed.Add(-b.zones.offset(b.listed))
}

// NotAfter returns a time that the file's mtime does not exceed; ok is false if none is known.
func (b *Bounds) NotAfter() (latest mtree.Stamp, ok bool) {
	if b.Step == 0 {
		return latest, false
	}
	latest = b.listed.Add(b.Step)
	if b.ServerZone {
		latest = latest.Add(zoneMost)
	}
	return latest, true
}

// Learn takes the file's date, from which the server's time zone follows.
func (b *Bounds) Learn(date mtree.Stamp) {
	if ahead := b.ahead(date); b.ServerZone && isOffset(ahead) {
		b.zones.learn(b.listed, ahead)
	}
}
