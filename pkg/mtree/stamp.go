package mtree

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
)

// Stamp is a point in time as file systems keep it: whole seconds and
// nanoseconds since 1970-01-01T00:00:00Z. For a directory it is the published
// mtime: the tide mark of everything below.
//
// The range is all of int64 seconds, wider than time.Time.UnixNano, because
// ext4 stores times up to the year 2446 and files from 1901 exist. Values are
// normalised, so == says whether two stamps are the same; the mirror compares
// by != and never by order. The zero Stamp is 1970-01-01T00:00:00Z, a time
// like any other.
type Stamp struct {
	sec  int64 // seconds since the epoch, rounded down
	nsec int32 // 0..999,999,999, always counted upwards from sec
}

// Limits of what a Stamp can hold.
var (
	MinStamp = Stamp{sec: math.MinInt64}
	MaxStamp = Stamp{sec: math.MaxInt64, nsec: 999_999_999}
)

// ErrStamp is returned by ParseStamp for text that is not a stamp.
var ErrStamp = errors.New("not a stamp (want SECONDS.NANOSECONDS)")

// Unix returns the Stamp sec seconds and nsec nanoseconds after the epoch.
// nsec may have any value; it is carried into the seconds.
func Unix(sec, nsec int64) Stamp {
	sec += nsec / 1e9
	nsec %= 1e9
	if nsec < 0 {
		nsec += 1e9
		sec--
	}
	return Stamp{sec, int32(nsec)}
}

// FromTime converts a time.Time; monotonic reading and location are dropped.
func FromTime(t time.Time) Stamp { return Stamp{t.Unix(), int32(t.Nanosecond())} }

// Time converts to a time.Time in UTC. It is the inverse of FromTime.
func (s Stamp) Time() time.Time { return time.Unix(s.sec, int64(s.nsec)).UTC() }

// Unix returns whole seconds (rounded down) and the nanoseconds above them,
// 0..999,999,999: what struct timespec holds.
func (s Stamp) Unix() (sec, nsec int64) { return s.sec, int64(s.nsec) }

// Compare returns -1, 0 or +1 as s is before, equal to or after t.
func (s Stamp) Compare(t Stamp) int {
	switch {
	case s == t:
		return 0
	case s.sec < t.sec || s.sec == t.sec && s.nsec < t.nsec:
		return -1
	}
	return +1
}

// Before reports whether s is earlier than t.
func (s Stamp) Before(t Stamp) bool { return s.Compare(t) < 0 }

// After reports whether s is later than t.
func (s Stamp) After(t Stamp) bool { return s.Compare(t) > 0 }

// Add returns s moved by d, held at MinStamp and MaxStamp.
func (s Stamp) Add(d time.Duration) Stamp {
	r := Unix(s.sec, int64(s.nsec)+int64(d%time.Second))
	whole := int64(d / time.Second)
	switch sum := r.sec + whole; {
	case whole > 0 && sum < r.sec:
		return MaxStamp
	case whole < 0 && sum > r.sec:
		return MinStamp
	default:
		r.sec = sum
		return r
	}
}

// Sub returns s - t, held at the limits of a Duration (about 292 years).
func (s Stamp) Sub(t Stamp) time.Duration {
	const most = math.MaxInt64 / int64(time.Second)
	sec := s.sec - t.sec
	switch overflow := (s.sec < t.sec) != (sec < 0); {
	case sec >= most || overflow && s.After(t):
		return math.MaxInt64
	case sec <= -most || overflow:
		return math.MinInt64
	}
	return time.Duration(sec)*time.Second + time.Duration(s.nsec-t.nsec)
}

// Floor rounds s down to a multiple of granule, as utimensat(2) does when a
// file system stores times in steps of granule. A granule of 1 ns or less
// changes nothing; below a second it must divide a second, above it must be
// whole seconds.
func (s Stamp) Floor(granule time.Duration) Stamp {
	switch {
	case granule <= 1:
		return s
	case granule < time.Second:
		return Stamp{s.sec, s.nsec - s.nsec%int32(granule)}
	}
	step := int64(granule / time.Second)
	rest := s.sec % step
	if rest < 0 {
		rest += step
	}
	return Stamp{sec: s.sec - rest}
}

// Later returns the later of s and t.
func Later(s, t Stamp) Stamp {
	if s.Before(t) {
		return t
	}
	return s
}

// Earlier returns the earlier of s and t.
func Earlier(s, t Stamp) Stamp {
	if t.Before(s) {
		return t
	}
	return s
}

// String returns the wire form: Unix seconds with always nine fraction digits,
// "1707019506.123456789"; before 1970 with a minus sign in front of the whole
// number, "-0.500000000" being half a second before the epoch. touch -d @S and
// date -d @S accept it. It is the inverse of ParseStamp.
func (s Stamp) String() string { return string(s.Append(nil)) }

// Append appends the wire form to dst without allocating.
func (s Stamp) Append(dst []byte) []byte {
	whole, frac := s.sec, s.nsec
	if whole < 0 {
		dst = append(dst, '-')
		if frac > 0 {
			whole, frac = whole+1, 1e9-frac
		}
	}
	// The magnitude as unsigned, so that MinInt64 is no special case.
	magnitude := uint64(whole)
	if whole < 0 {
		magnitude = -magnitude
	}
	dst = strconv.AppendUint(dst, magnitude, 10)
	var digits [10]byte
	digits[0] = '.'
	for i := 9; i > 0; i-- {
		digits[i] = byte('0' + frac%10)
		frac /= 10
	}
	return append(dst, digits[:]...)
}

// ParseStamp reads the wire form. Writers use nine fraction digits; readers
// accept none to nine, missing ones being zeros at the end, and never a float.
// Errors wrap ErrStamp.
func ParseStamp(text string) (Stamp, error) {
	s, ok := parseStamp(text)
	if !ok {
		return Stamp{}, fmt.Errorf("%w: %.64q", ErrStamp, text)
	}
	return s, nil
}

// parseStamp is ParseStamp without an allocation for the error.
func parseStamp[T string | []byte](text T) (Stamp, bool) {
	i, negative := 0, false
	if len(text) > 0 && text[0] == '-' {
		i, negative = 1, true
	}
	var whole uint64
	start := i
	for ; i < len(text) && isDigit(text[i]); i++ {
		if whole > math.MaxInt64/10 {
			return Stamp{}, false
		}
		whole = whole*10 + uint64(text[i]-'0')
	}
	if i == start || whole > math.MaxInt64+1 {
		return Stamp{}, false
	}
	nsec, ok := parseFraction(text[i:])
	switch {
	case !ok:
		return Stamp{}, false
	case !negative && whole > math.MaxInt64, whole > math.MaxInt64 && nsec > 0:
		return Stamp{}, false
	case negative:
		return Unix(-int64(whole), -nsec), true
	}
	return Stamp{int64(whole), int32(nsec)}, true
}

// parseFraction reads "" or "." and one to nine digits as nanoseconds.
func parseFraction[T string | []byte](text T) (nsec int64, ok bool) {
	if len(text) == 0 {
		return 0, true
	}
	if text[0] != '.' || len(text) < 2 || len(text) > 10 {
		return 0, false
	}
	for i := 1; i < 10; i++ {
		nsec *= 10
		if i < len(text) {
			if !isDigit(text[i]) {
				return 0, false
			}
			nsec += int64(text[i] - '0')
		}
	}
	return nsec, true
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// MarshalText makes a Stamp a JSON string: nanoseconds do not fit in a float.
func (s Stamp) MarshalText() ([]byte, error) { return s.Append(nil), nil }

// UnmarshalText is the inverse of MarshalText.
func (s *Stamp) UnmarshalText(text []byte) error {
	parsed, ok := parseStamp(text)
	if !ok {
		return fmt.Errorf("%w: %.64q", ErrStamp, text)
	}
	*s = parsed
	return nil
}
