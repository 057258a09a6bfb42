package webpage

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// AppendBytes appends a number of bytes for people: "1.5 MiB".
func AppendBytes(dst []byte, bytes float64) []byte {
	if bytes == 1 {
		return append(dst, "1 byte"...)
	}
	if bytes < 1024 {
		return append(strconv.AppendFloat(dst, bytes, 'f', 0, 64), " bytes"...)
	}
	unit := 0
	for bytes /= 1024; bytes >= 1024; unit++ {
		bytes /= 1024
	}
	dst = strconv.AppendFloat(dst, bytes, 'f', 1, 64)
	return append(append(append(dst, ' '), "KMGTPEZY"[unit]), "iB"...)
}

// Bytes is AppendBytes for templates.
func Bytes(n int64) string { return string(AppendBytes(nil, float64(max(0, n)))) }

// Number returns a number with thin spaces between its groups of three digits: 12 345.
func Number(n int64) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, digits = "-", digits[1:]
	}
	var out strings.Builder
	for i := range len(digits) {
		if i > 0 && (len(digits)-i)%3 == 0 {
			out.WriteString("\u202f")
		}
		out.WriteByte(digits[i])
	}
	return sign + out.String()
}

// Rounded returns a number with two digits after its point at most: "0.25", "3", "1 500".
func Rounded(v float64) string {
	if v >= 100 {
		return Number(int64(math.Round(v)))
	}
	return strconv.FormatFloat(math.Round(v*100)/100, 'f', -1, 64)
}

// Noun returns a number with the noun that fits: "1 file", "2 files".
func Noun(n int64, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return Number(n) + " " + more
}

// Span returns a time for people, with two units at most: "3d 4h", "1h 5m", "5m 10s", "8s", "2.5s", "250ms".
func Span(d time.Duration) string {
	d = max(0, d)
	s := int64(d.Round(time.Second) / time.Second)
	switch {
	case d > 0 && d < time.Second:
		return fmt.Sprintf("%dms", max(1, d.Milliseconds()))
	case d < 10*time.Second:
		return strconv.FormatFloat(float64(d.Round(10*time.Millisecond))/float64(time.Second), 'f', -1, 64) + "s"
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 60*60:
		return two(s/60, "m", s%60, "s")
	case s < 24*60*60:
		return two(s/(60*60), "h", s/60%60, "m")
	}
	return two(s/(24*60*60), "d", s/(60*60)%24, "h")
}

// two returns a number of units, and of smaller ones if there are any.
func two(n int64, unit string, rest int64, smaller string) string {
	if rest == 0 {
		return fmt.Sprintf("%d%s", n, unit)
	}
	return fmt.Sprintf("%d%s %d%s", n, unit, rest, smaller)
}

// Ago returns for people how long before now a time was: "5m 10s ago", "in 8s".
func Ago(now, at time.Time) string {
	if past := now.Sub(at); past >= 0 {
		return Span(past) + " ago"
	}
	return "in " + Span(at.Sub(now))
}
