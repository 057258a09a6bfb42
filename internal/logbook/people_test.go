package logbook

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// at makes a handler set the time.
type at struct {
	slog.Handler
	time time.Time
}

func (h *at) Handle(ctx context.Context, r slog.Record) error {
	r.Time = h.time
	return h.Handler.Handle(ctx, r)
}

var noon = time.Date(2026, 12, 1, 12, 0, 7, 0, time.Local)

// A line for people has no keys but those that are words.
func TestLinesForPeople(t *testing.T) {
	for want, log := range map[string]func(*slog.Logger){
		"12:00:07 armed (backend fanotify, 1 directory, 1,234,567 files, 0 changed, 0.012 seconds)\n": func(l *slog.Logger) {
			l.Info("armed", "backend", "fanotify", "directories", int64(1), "files", 1234567, "changed", 0, "seconds", "0.012")
		},
		"12:00:07 warning: cannot read a directory: \"lost + found/\": permission denied\n" +
			"         remedy: chmod it\n": func(l *slog.Logger) {
			l.Warn("cannot read a directory", "path", "lost + found/", "error", errors.New("permission denied"), "remedy", "chmod it")
		},
		"12:00:07 error: trying again in 2s: http://h/: refused; reset; again 3 times\n": func(l *slog.Logger) {
			l.Error("trying again", "in", 2*time.Second, "source", "http://h/", "error", "refused\nreset", "again", 3, slog.Attr{}, About("x", "y"))
		},
		"12:00:07 skipped: \"a\": 3 symlinks that lead out; 9,900 others within a minute\n": func(l *slog.Logger) {
			l.Info("skipped", "path", `"a"`, "count", 3, "what", "symlinks that lead out", "more", 9900)
		},
		"12:00:07 status\n         remedy: none\n         state: watched\n         of: 2\n         c.audits: 3\n         d: 4\n         e: 5\n         f: 6\n         g: [1,2]\n": func(l *slog.Logger) {
			l.Info("status", "state", "watched", "of", 2, slog.Group("c", "audits", 3), slog.Group("", "d", 4), "e", 5, "f", 6, "g", words("[1,2]"), "remedy", "none")
		},
		"12:00:07 error: http: panic: boom\n         goroutine 1:\n         main()\\x1b\n": func(l *slog.Logger) {
			l.Error("http", "error", "panic: boom", "stack", "goroutine 1:\nmain()\x1b\n")
		},
		"12:00:07 a; b\\xff: \"\" (1 time)\n": func(l *slog.Logger) {
			l.Info("a\nb\xff", "path", "", "times", 1)
		},
	} {
		var out bytes.Buffer
		log(slog.New(&at{NewPeople(&out, slog.LevelDebug, false), noon}))
		require.Equal(t, want, out.String())
	}
}

// words is a text of its own kind, as the lists of a status are.
type words string

func (w words) MarshalText() ([]byte, error) { return []byte(w), nil }

// Each kind of value is said as a person would.
func TestWords(t *testing.T) {
	for want, a := range map[string]slog.Attr{
		"limit 1,024":            slog.Int("limit", 1024),
		"1 file":                 slog.Int("files", 1),
		"0 files":                slog.Int("files", 0),
		"1 directory":            slog.Int("directories", 1),
		"1 changed":              slog.Int("changed", 1),
		"not up":                 slog.Bool("up", false),
		"up":                     slog.Bool("up", true),
		"no read":                slog.String("read", ""),
		"1.5 free bytes":         slog.Float64("free_bytes", 1.5),
		"0.5 seconds":            slog.String("seconds", "0.5"),
		"after 2s":               slog.Duration("after", 2*time.Second),
		"at 12:00:07":            slog.Time("at", noon),
		"x a; b\\x1b":            slog.String("x", "a\nb\x1b"),
		"list [1,2]":             slog.Any("list", words("[1,2]")),
		"error gone":             slog.Any("error", errors.New("gone")),
		"n 18446744073709551615": slog.Uint64("n", 1<<64-1),
	} {
		require.Equal(t, want, inWords(a))
	}
	require.Equal(t, `a/b`, name("a/b"))
	require.Equal(t, `"a b"`, name("a b"))
	require.Equal(t, `"a b"`, name(`"a b"`))
	require.Equal(t, `"\x1b"`, name("\x1b"))
	require.Equal(t, `""`, name(""))
}

// A remedy is not repeated below each of many lines, but below the one that counts.
func TestARemedyIsSaidOnce(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(&at{NewPeople(&out, slog.LevelInfo, false), noon})
	log.Warn("m", "path", "a", "remedy", "r")
	log.Warn("m", "path", "b", "remedy", "r")
	log.Warn("m", "remedy", "r", "more", 2)
	log.Info("i")
	log.Warn("m", "path", "b", "remedy", "r")
	require.Equal(t, "12:00:07 warning: m: a\n         remedy: r\n12:00:07 warning: m: b\n12:00:07 warning: m; 2 others within a minute\n         remedy: r\n"+
		"12:00:07 i\n12:00:07 warning: m: b\n         remedy: r\n", out.String())
}

// The name of what a line is about does not stand in it twice.
func TestNamesAreSaidOnce(t *testing.T) {
	require.Equal(t, "permission denied", without("d1/", "open flood/./d1: permission denied"))
	require.Equal(t, "permission denied", without(`"d 1/f"`, "open /srv/d 1/f: permission denied"))
	require.Equal(t, "x: open d1: gone", without("d1/", "x: open d1: gone"))
	require.Equal(t, "EOF", without("./", "EOF"))
	require.Equal(t, "a: b", without("", "a: b"))
}

// Of what net says the reason is left, and of the request its address.
func TestReasons(t *testing.T) {
	for text, want := range map[string]string{
		`Get "http://h:1/?txt&wait=45": read tcp 127.0.0.1:35738->127.0.0.1:1: read: connection reset by peer`: "http://h:1/: connection reset by peer",
		`Get "http://h:1/?txt": dial tcp [::1]:1: connect: connection refused`:                                 "http://h:1/: connection refused",
		`Post "http://unix/x": dial unix /run/s: connect: no such file or directory`:                           "http://unix/x: no such file or directory",
		`Get "https://h/": dial tcp: lookup h: no such host`:                                                   "https://h/: dial tcp: lookup h: no such host",
		"a: EOF; b: EOF": "a: EOF; b: EOF",
	} {
		require.Equal(t, want, reason(text))
	}
	for d, want := range map[time.Duration]string{860 * time.Millisecond: "860ms", 1606 * time.Millisecond: "1.6s", 61_499 * time.Millisecond: "1m1s", 12345: "0s"} {
		require.Equal(t, want, duration(d).String())
	}
}

// At a terminal the status of serve began with "status: /, 0": its path and how many files it had sent were taken for what the
// line is about, and lacked in the list.
func TestAStatusIsAList(t *testing.T) {
	var out bytes.Buffer
	slog.New(&at{NewPeople(&out, slog.LevelInfo, false), noon}).Info("status", Listed(), "state", "watched", "path", "/\x1b",
		"files", words("0"), "error", "gone", "remedy", "r", slog.Group("c", "audits", 3))
	require.Equal(t, "12:00:07 status\n         state: watched\n         path: /\\x1b\n         files: 0\n         error: gone\n"+
		"         remedy: r\n         c.audits: 3\n", out.String())
	out.Reset()
	slog.New(slog.NewTextHandler(&out, nil)).Info("status", Listed(), "state", "watched")
	require.Contains(t, out.String(), " msg=status state=watched\n")
}

// Attributes and groups that were bound before stand in each line.
func TestBoundAttributes(t *testing.T) {
	var out bytes.Buffer
	h := NewPeople(&out, slog.LevelInfo, false)
	slog.New(&at{h.WithAttrs([]slog.Attr{slog.Int("files", 3)}).WithGroup("g").WithGroup(""), noon}).Info("m", "k", "v")
	require.Equal(t, "12:00:07 m (3 files, g.k v)\n", out.String())
	require.False(t, h.Enabled(t.Context(), slog.LevelDebug))
}

// Only what needs attention has a colour, and only where that is wanted.
func TestColours(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(&at{NewPeople(&out, slog.LevelDebug, true), noon})
	log.Error("e")
	log.Warn("w")
	log.Info("i")
	log.Debug("d")
	require.Equal(t, "12:00:07 \x1b[91merror: \x1b[0me\n12:00:07 \x1b[93mwarning: \x1b[0mw\n12:00:07 i\n12:00:07 debug: d\n", out.String())
}

// The first line of another day is headed by its date.
func TestAnotherDay(t *testing.T) {
	var out bytes.Buffer
	h := &at{NewPeople(&out, slog.LevelInfo, false), noon}
	slog.New(h).Info("a")
	h.time = noon.Add(24 * time.Hour)
	slog.New(h).Info("b")
	slog.New(h).Info("c")
	require.Equal(t, "12:00:07 a\n2026-12-02\n12:00:07 b\n12:00:07 c\n", out.String())
}

func TestJournalLinesCarryAPriority(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(NewJournal(&out, slog.LevelDebug))
	log.With("dir", "a\nb").Warn("careful")
	log.WithGroup("g").Debug("small", "k", 1)
	log.Info("i")
	log.Error("e")
	require.Equal(t, "<4>msg=careful dir=\"a\\nb\"\n<7>msg=small g.k=1\n<6>msg=i\n<3>msg=e\n", out.String())
}
