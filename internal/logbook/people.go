package logbook

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// people writes lines for a terminal.
type people struct {
	least    slog.Leveler
	coloured bool
	attrs    []slog.Attr // of WithAttrs
	group    string      // the groups of WithGroup, each with a dot
	out      *peopleWriter
}

// peopleWriter is where the handlers of one log meet.
type peopleWriter struct {
	mu     sync.Mutex // guards what follows, and the writing
	w      io.Writer
	day    string // of the line before
	remedy string // of the record before
}

// NewPeople returns a handler of lines for people at a terminal: the time of day and the message in words, and below it
// the remedy, if there is one and the line before has another. The date has a line of its own when another day begins. coloured shows
// "warning" and "error" in colour.
func NewPeople(w io.Writer, least slog.Leveler, coloured bool) slog.Handler {
	return &people{least: least, coloured: coloured, out: &peopleWriter{w: w}}
}

// Enabled is slog.Handler's.
func (h *people) Enabled(_ context.Context, level slog.Level) bool { return level >= h.least.Level() }

// WithAttrs is slog.Handler's.
func (h *people) WithAttrs(attrs []slog.Attr) slog.Handler {
	other := *h
	other.attrs = flat(append([]slog.Attr(nil), h.attrs...), h.group, attrs)
	return &other
}

// WithGroup is slog.Handler's.
func (h *people) WithGroup(name string) slog.Handler {
	other := *h
	if name != "" {
		other.group += name + "."
	}
	return &other
}

// flat appends attributes, the members of groups by their full names.
func flat(to []slog.Attr, group string, attrs []slog.Attr) []slog.Attr {
	for _, a := range attrs {
		v := a.Value.Resolve()
		switch {
		case v.Kind() == slog.KindGroup && a.Key == "":
			to = flat(to, group, v.Group())
		case v.Kind() == slog.KindGroup:
			to = flat(to, group+a.Key+".", v.Group())
		case !a.Equal(slog.Attr{}):
			to = append(to, slog.Attr{Key: group + a.Key, Value: v})
		}
	}
	return to
}

// timeFormat is that of the time at the beginning of a line; what belongs to that line stands below it, indented.
const (
	timeFormat = time.TimeOnly
	indent     = "         "
)

// Handle writes one record: a line, or a few.
func (h *people) Handle(_ context.Context, r slog.Record) error {
	attrs := append([]slog.Attr(nil), h.attrs...)
	asList := false
	r.Attrs(func(a slog.Attr) bool {
		_, is := a.Value.Any().(listed)
		asList = asList || is
		attrs = flat(attrs, h.group, []slog.Attr{a})
		return true
	})
	s := sentenceOf(r.Message, attrs)
	if asList { // guard: TestAStatusIsAList
		s = listOf(r.Message, attrs)
	}
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	var text bytes.Buffer
	if day := r.Time.Format(time.DateOnly); day != h.out.day {
		if h.out.day != "" {
			fmt.Fprintln(&text, day)
		}
		h.out.day = day
	}
	fmt.Fprintf(&text, "%s %s%s\n", r.Time.Format(timeFormat), h.levelWord(r.Level), s.String())
	if s.remedy != "" && (s.remedy != h.out.remedy || s.again != "") {
		fmt.Fprintf(&text, "%sremedy: %s\n", indent, s.remedy)
	}
	h.out.remedy = s.remedy
	for _, line := range s.below {
		fmt.Fprintf(&text, "%s%s\n", indent, line)
	}
	_, err := h.out.w.Write(text.Bytes())
	return err
}

// levelWord returns what stands before the message.
func (h *people) levelWord(level slog.Level) string {
	word, colour := "debug: ", ""
	switch {
	case level >= slog.LevelError:
		word, colour = "error: ", "\x1b[91m"
	case level >= slog.LevelWarn:
		word, colour = "warning: ", "\x1b[93m"
	case level >= slog.LevelInfo:
		return ""
	}
	if h.coloured && colour != "" {
		return colour + word + "\x1b[0m"
	}
	return word
}

// sentence is a record in words.
type sentence struct {
	head    string   // the message, and what follows it at once: "trying again in 2s"
	subject []string // what it is about
	texts   []string // reasons
	details []string // numbers and the like
	again   string   // how often it came again
	remedy  string
	below   []string // lines of their own
}

// mostDetails is how many details stand in the line. If there are more, each has a line.
const mostDetails = 6

// sentenceOf puts a record into words.
func sentenceOf(message string, attrs []slog.Attr) *sentence {
	s := &sentence{head: Printable(message)}
	var list []string
	for i, a := range attrs {
		switch text := valueText(a.Value); {
		case a.Key == "remedy":
			s.remedy = text
		case a.Key == "stack":
			for line := range strings.Lines(a.Value.String()) {
				s.below = append(s.below, Printable(line))
			}
		case a.Key == "again":
			s.again = "again " + inWords(slog.Attr{Key: "times", Value: a.Value})
		case a.Key == "more":
			s.again = inWords(slog.Attr{Key: "others", Value: a.Value}) + " within a minute"
		case (a.Key == "in" || a.Key == "after") && a.Value.Kind() == slog.KindDuration:
			s.head += " " + a.Key + " " + text
		case isSubject(a):
			s.subject = append(s.subject, name(a.Value.String()))
		case a.Key == "count" && i+1 < len(attrs) && attrs[i+1].Key == "what":
			s.texts = append(s.texts, text+" "+valueText(attrs[i+1].Value))
		case a.Key == "what" && i > 0 && attrs[i-1].Key == "count": // it stands there
		case reasons[a.Key], a.Key == "count":
			s.texts = append(s.texts, reason(text))
		default:
			s.details = append(s.details, inWords(a))
			list = append(list, a.Key+": "+text)
		}
	}
	if len(s.details) > mostDetails {
		s.details, s.below = nil, append(list, s.below...)
	}
	return s
}

// listed is the value of an attribute of Listed.
type listed struct{}

// LogValue makes it nothing for every other handler.
func (listed) LogValue() slog.Value { return slog.GroupValue() }

// Listed returns an attribute that says of a record that it is a list: at a terminal each of its other attributes has a
// line under its own name. The attribute itself is not written.
func Listed() slog.Attr { return slog.Any("", listed{}) }

// listOf puts a record into lines.
func listOf(message string, attrs []slog.Attr) *sentence {
	s := &sentence{head: Printable(message)}
	for _, a := range attrs {
		s.below = append(s.below, a.Key+": "+valueText(a.Value))
	}
	return s
}

// String returns the line.
func (s *sentence) String() string {
	parts := []string{s.head}
	for i := range s.texts {
		for _, subject := range s.subject {
			s.texts[i] = without(subject, s.texts[i])
		}
	}
	for _, more := range []string{strings.Join(s.subject, ", "), strings.Join(s.texts, "; ")} {
		if more != "" {
			parts = append(parts, more)
		}
	}
	line := strings.Join(parts, ": ")
	if len(s.details) > 0 {
		line += " (" + strings.Join(s.details, ", ") + ")"
	}
	if s.again != "" {
		line += "; " + s.again
	}
	return line
}
