package mtree

import (
	"errors"
	"fmt"
	"strings"
)

// MaxSpans is how many spans a part has at most. More is an error.
const MaxSpans = 256

// MaxPartLine is how many bytes the first line of a part may have, with its LF, so that a
// Decoder reads it. A writer that needs more gives the whole listing.
const MaxPartLine = maxLine

// Span is a range of stamps of one directory, both ends included: a reader whose record of
// the directory lies within a span of a part needs no more names than that part has.
type Span struct {
	From, To Stamp // From is not after To
}

// Contains reports whether stamp lies within s.
func (s Span) Contains(stamp Stamp) bool {
	return !stamp.Before(s.From) && !stamp.After(s.To)
}

// IsPart reports whether l speaks of some names of its directory only: what stands neither
// in l.Entries nor in l.Gone is as it was.
func (l *Listing) IsPart() bool { return len(l.Part) > 0 }

// Suffices reports whether l brings a reader up to date that has recorded stamp for the
// directory: always if it is whole, else if stamp lies within one of its spans.
func (l *Listing) Suffices(stamp Stamp) bool {
	for _, s := range l.Part {
		if s.Contains(stamp) {
			return true
		}
	}
	return !l.IsPart()
}

// AppendGone appends the line of a name that is gone. Only parts have such lines: among
// those of the entries, in the order of names, and counted with them by AppendEnd.
func AppendGone(dst []byte, name string) []byte {
	return append(AppendEscaped(append(dst, gonePrefix...), name), '\n')
}

const gonePrefix = "#gone "

// parseGone is the inverse of AppendGone, without the prefix and the LF.
func parseGone(escaped string) (string, error) {
	name, err := UnescapeName(escaped)
	if err != nil {
		return "", err
	}
	return strings.Clone(name), CheckName(name)
}

// appendSpans appends FROM[:TO],..., in which a TO equal to its FROM is left out.
func appendSpans(dst []byte, spans []Span) []byte {
	for i, s := range spans {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = s.From.Append(dst)
		if s.To != s.From {
			dst = s.To.Append(append(dst, ':'))
		}
	}
	return dst
}

// parseSpans is the inverse of appendSpans.
func parseSpans(text string) (spans []Span, err error) {
	for field := range strings.SplitSeq(text, ",") {
		from, to, ranged := strings.Cut(field, ":")
		if !ranged {
			to = from
		}
		var s Span
		var ok1, ok2 bool
		s.From, ok1 = parseStamp(from)
		s.To, ok2 = parseStamp(to)
		if !ok1 || !ok2 || s.To.Before(s.From) {
			return nil, fmt.Errorf("part %.60q: want FROM[:TO]", field)
		}
		if len(spans) == MaxSpans {
			return nil, fmt.Errorf("a part of more than %d spans", MaxSpans)
		}
		spans = append(spans, s)
	}
	return spans, nil
}

// checkPart reports what a part must not say: what only a reading of the whole directory
// shows.
func checkPart(l *Listing) error {
	if l.Hidden != 0 || l.Excluded != 0 || l.Covered != 0 || l.Mounts != "" {
		return errors.New("a part that counts what is not listed")
	}
	return nil
}
