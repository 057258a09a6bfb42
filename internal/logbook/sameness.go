package logbook

import (
	"fmt"
	"log/slog"
	"net"
	"regexp"
	"strconv"
	"strings"
)

// portOf matches the port in an address within an error: that of a client is another one each time.
var portOf = regexp.MustCompile(`:[0-9]{4,5}\b`)

// keyOf returns a text that two records share if they are the same. bound is what was added to their logger.
func keyOf(bound string, r slog.Record) string {
	var key strings.Builder
	fmt.Fprintf(&key, "%d\n%s\n%s", r.Level, r.Message, bound)
	r.Attrs(func(a slog.Attr) bool {
		addKey(&key, a, r.Level < slog.LevelWarn)
		return true
	})
	return key.String()
}

// addKey adds an attribute. exact says that numbers count, too.
func addKey(key *strings.Builder, a slog.Attr, exact bool) {
	v := a.Value.Resolve()
	switch v.Kind() {
	case slog.KindGroup:
		for _, member := range v.Group() {
			addKey(key, member, exact)
		}
		return
	case slog.KindString, slog.KindAny:
	default:
		if !exact {
			return
		}
	}
	text := v.String()
	if !exact {
		text = steady(a.Key, text)
	}
	fmt.Fprintf(key, "\n%s=%s", a.Key, text)
}

// steady returns what stays of a text when the same thing happens again.
func steady(name, text string) string {
	if subjects[name] && name != "remote" {
		return text
	}
	if _, err := strconv.ParseFloat(text, 64); err == nil && !reasons[name] || name == "stack" {
		return ""
	}
	if host, _, err := net.SplitHostPort(text); err == nil && name == "remote" {
		return host
	}
	return portOf.ReplaceAllString(text, ":")
}

// sums are attributes that count what happened since the line before: a line that stands for several has their sum.
var sums = map[string]bool{"times": true, "lines": true, "omitted": true}

// merged returns the record that stands for earlier ones, with these sums, and for r.
func merged(earlier map[string]int64, r slog.Record) (slog.Record, map[string]int64) {
	out := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	now := map[string]int64{}
	r.Attrs(func(a slog.Attr) bool {
		if sums[a.Key] && a.Value.Kind() == slog.KindInt64 {
			now[a.Key] = a.Value.Int64() + earlier[a.Key]
			a = slog.Int64(a.Key, now[a.Key])
		}
		out.AddAttrs(a)
		return true
	})
	return out, now
}
