// Package limits says which files are fetched: --min-size, --max-size and --max-age. It is pure:
// no I/O, no clock.
//
//	l := limits.Limits{MaxSize: 100 << 20}
//	if l.Refuse(e.Size, e.MTime, now) { ... }
//
// What it promises: the zero value refuses nothing; what is refused once of a file that does not
// change is refused for ever, by the same limits.
package limits

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"tidemark/pkg/mtree"
)

// Limits are the options. The zero value of each sets no limit.
type Limits struct {
	MinSize int64         // bytes: smaller files are not fetched
	MaxSize int64         // bytes: larger files are not fetched
	MaxAge  time.Duration // files whose mtime is longer ago are not fetched
}

// Check refuses limits that no file can meet.
func (l Limits) Check() error {
	if l.MinSize < 0 || l.MaxSize < 0 || l.MaxAge < 0 {
		return fmt.Errorf("--min-size, --max-size and --max-age are not below 0")
	}
	if l.MaxSize > 0 && l.MinSize > l.MaxSize {
		return fmt.Errorf("--min-size %d is more than --max-size %d: no file would be fetched", l.MinSize, l.MaxSize)
	}
	return nil
}

// None reports whether nothing is refused.
func (l Limits) None() bool { return l == Limits{} }

// Refuse reports whether a file of that size, in bytes, and mtime is not fetched at the time now.
func (l Limits) Refuse(size int64, mtime, now mtree.Stamp) bool {
	return l.RefuseSize(size, size) || l.RefuseAge(mtime, now)
}

// RefuseSize reports whether no file of low to high bytes is fetched; high < 0: there is no upper bound.
func (l Limits) RefuseSize(low, high int64) bool {
	return high >= 0 && high < l.MinSize || l.MaxSize > 0 && low > l.MaxSize
}

// RefuseAge reports whether a file that was not changed after mtime is too old at the time now. A time
// of the future is not.
func (l Limits) RefuseAge(mtime, now mtree.Stamp) bool {
	return l.MaxAge > 0 && now.Sub(mtime) > l.MaxAge
}

// Names of the limits in the tree file.
const (
	minSize = "min-size "
	maxSize = "max-size "
	maxAge  = "max-age "
)

// Lines returns what the tree file records: a change of it makes a full walk due.
func (l Limits) Lines() (lines []string) {
	if l.MinSize > 0 {
		lines = append(lines, minSize+strconv.FormatInt(l.MinSize, 10))
	}
	if l.MaxSize > 0 {
		lines = append(lines, maxSize+strconv.FormatInt(l.MaxSize, 10))
	}
	if l.MaxAge > 0 {
		lines = append(lines, maxAge+l.MaxAge.String())
	}
	return lines
}

// Add adds the limit of one of Lines to l. It reports whether line was one.
func (l *Limits) Add(line string) bool {
	if text, ok := strings.CutPrefix(line, minSize); ok {
		return set(&l.MinSize, text, func(s string) (int64, error) { return strconv.ParseInt(s, 10, 64) })
	}
	if text, ok := strings.CutPrefix(line, maxSize); ok {
		return set(&l.MaxSize, text, func(s string) (int64, error) { return strconv.ParseInt(s, 10, 64) })
	}
	text, ok := strings.CutPrefix(line, maxAge)
	return ok && set(&l.MaxAge, text, time.ParseDuration)
}

// set stores what parse makes of text, if that is above 0.
func set[T int64 | time.Duration](to *T, text string, parse func(string) (T, error)) bool {
	value, err := parse(text)
	if err != nil || value <= 0 {
		return false
	}
	*to = value
	return true
}
