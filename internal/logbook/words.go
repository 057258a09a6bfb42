package logbook

import (
	"fmt"
	"log/slog"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

// subjects are the attributes that name what a line is about.
var subjects = map[string]bool{
	"path": true, "file": true, "files": true, "source": true, "dest": true, "address": true, "remote": true, "names": true,
}

// reasons are the attributes that say in words what is wrong.
var reasons = map[string]bool{"error": true, "why": true, "what": true}

// isSubject reports whether an attribute names what a line is about: a number of files does not.
func isSubject(a slog.Attr) bool {
	return subjects[a.Key] && (a.Value.Kind() == slog.KindString || a.Value.Kind() == slog.KindAny)
}

// name returns the value of a subject. Names with blanks stand in quotes.
func name(text string) string {
	if shown := Printable(text); strings.HasPrefix(text, `"`) || text != "" && shown == text && !strings.Contains(text, " ") {
		return shown
	}
	return strconv.Quote(text)
}

// inWords returns an attribute as people say it: "12 directories", "limit 1,024", "backend fanotify".
func inWords(a slog.Attr) string {
	key, v := strings.ReplaceAll(a.Key, "_", " "), a.Value
	switch v.Kind() {
	case slog.KindInt64, slog.KindUint64:
		n, err := strconv.ParseInt(v.String(), 10, 64)
		if err != nil {
			return key + " " + v.String()
		}
		return number(key, humanize.Comma(n), n == 1)
	case slog.KindBool:
		if !v.Bool() {
			return "not " + key
		}
		return key
	case slog.KindTime:
		return key + " " + v.Time().Format(time.TimeOnly)
	}
	text := valueText(v)
	if _, err := strconv.ParseFloat(text, 64); err == nil {
		return number(key, text, false)
	}
	if text == "" {
		return "no " + key
	}
	return key + " " + text
}

// number returns a number of something, or the number that something is.
func number(key, n string, one bool) string {
	switch {
	case strings.HasSuffix(key, "ed"):
		return n + " " + key
	case !strings.HasSuffix(key, "s"):
		return key + " " + n
	case one && strings.HasSuffix(key, "ies"):
		return n + " " + strings.TrimSuffix(key, "ies") + "y"
	case one:
		return n + " " + strings.TrimSuffix(key, "s")
	}
	return n + " " + key
}

// valueText returns a value that a terminal may show.
func valueText(v slog.Value) string {
	if v.Kind() == slog.KindAny {
		if text, ok := v.Any().(interface{ MarshalText() ([]byte, error) }); ok {
			if b, err := text.MarshalText(); err == nil {
				return Printable(string(b))
			}
		}
		return Printable(fmt.Sprint(v.Any()))
	}
	if v.Kind() == slog.KindDuration {
		return duration(v.Duration()).String()
	}
	return Printable(v.String())
}

// duration rounds a time to what people want to know of it.
func duration(d time.Duration) time.Duration {
	switch {
	case d >= time.Minute:
		return d.Round(time.Second)
	case d >= time.Second:
		return d.Round(100 * time.Millisecond)
	}
	return d.Round(time.Millisecond)
}

// What net/http and net put before an error: which request failed, at which call and between which ports.
var (
	request = regexp.MustCompile(`\b(?:Get|Head|Post) "([^"?]*)[^"]*": `)
	call    = regexp.MustCompile(`\b(?:dial|read|write) (?:tcp|unix)[46]? \S+: (?:(?:connect|read|write): )?`)
)

// reason returns an error in fewer words: of a request its address, of a connection what was wrong with it.
func reason(text string) string {
	return call.ReplaceAllString(request.ReplaceAllString(text, "$1: "), "")
}

// without returns an error in fewer words if it begins with the name of what the line is about: "open /srv/a/b: gone" where that
// is a/b.
func without(subject, text string) string {
	name := strings.Trim(subject, `/"`)
	before, after, found := strings.Cut(text, name+": ")
	if name == "" || !found || strings.Contains(before, ": ") {
		return text
	}
	return after
}
