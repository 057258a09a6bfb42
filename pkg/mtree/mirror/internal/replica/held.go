package replica

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/state"
)

// Held deletions are written to a file of the marker, so that people can look at them
// and release them:
//
//	#held REASON
//	ENTRIES KIND MTIME PATH
//
// There is one line for each deletion. KIND is f, d, l or o, and PATH is escaped as
// in a listing. Each REASON stands above the deletions that are held for it. A release
// is a copy of that file under another name: it allows exactly the deletions in it.
const (
	heldName    = "held"
	releaseName = "release"
)

// kindLetters has the letter of each mtree.Kind.
const kindLetters = "ofdl"

// HeldList is a list of held deletions. The zero value is an empty one.
type HeldList struct {
	Entries []Deletion
	byPath  map[string]*Deletion // made by index
}

// Format returns the file of the list.
func (l *HeldList) Format() (out []byte) {
	why := ""
	for i := range l.Entries {
		d := &l.Entries[i]
		if d.Why != why || i == 0 {
			why = d.Why
			out = append(out, "#held "+why+"\n"...)
		}
		out = fmt.Appendf(out, "%d %c %s ", d.Entries, kindLetters[d.Kind], d.MTime)
		out = append(mtree.AppendEscaped(out, d.Path), '\n')
	}
	return out
}

// Total counts entries, including those below held directories.
func (l *HeldList) Total() int64 { return CountDeletions(l.Entries) }

// Why names the reasons, each once.
func (l *HeldList) Why() string {
	var all []string
	for i := range l.Entries {
		if why := l.Entries[i].Why; !slices.Contains(all, why) {
			all = append(all, why)
		}
	}
	return strings.Join(all, "; ")
}

// Sort puts deletions that are held for the same reason beside each other.
func (l *HeldList) Sort() {
	slices.SortStableFunc(l.Entries, func(a, b Deletion) int { return strings.Compare(a.Why, b.Why) })
}

// index prepares At and Has, which several goroutines may call afterwards.
func (l *HeldList) index() {
	l.byPath = make(map[string]*Deletion, len(l.Entries))
	for i := range l.Entries {
		l.byPath[l.Entries[i].Path] = &l.Entries[i]
	}
}

// At returns the deletion of the entry at path, nil if it is not held. A nil list
// holds nothing.
func (l *HeldList) At(path string) *Deletion {
	if l == nil {
		return nil
	}
	return l.byPath[path]
}

// Has reports whether the list has this deletion, unchanged. A deletion that would
// destroy another tree or copy must also have been held for that reason.
func (l *HeldList) Has(d *Deletion) bool {
	held := l.At(d.Path)
	return held != nil && held.Kind == d.Kind && held.MTime == d.MTime && held.Entries == d.Entries && (d.Why != WhyTree || held.Why == WhyTree)
}

// readHeld reads a file of deletions; a missing one is an empty list.
func readHeld(m *state.Marker, name string) (HeldList, error) {
	var l HeldList
	f, _, err := m.OpenFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err != nil {
		return l, err
	}
	defer f.Close()
	reason := ""
	in := bufio.NewScanner(f)
	in.Split(wholeLines)
	for in.Scan() {
		if why, ok := strings.CutPrefix(in.Text(), "#held "); ok {
			reason = why
			continue
		}
		d, err := parseHeld(in.Text())
		if err != nil {
			return HeldList{}, fmt.Errorf("%s: %w", f.Name(), err)
		}
		d.Why = reason
		l.Entries = append(l.Entries, d)
	}
	if err := in.Err(); err != nil {
		return HeldList{}, fmt.Errorf("%s: %w", f.Name(), err)
	}
	l.index()
	return l, nil
}

// wholeLines is bufio.ScanLines, but a last line without an end is an error: the path in it
// may have been cut to that of another entry.
func wholeLines(data []byte, atEOF bool) (advance int, token []byte, err error) {
	advance, token, err = bufio.ScanLines(data, atEOF)
	if advance > 0 && data[advance-1] != '\n' {
		err = io.ErrUnexpectedEOF
	}
	return advance, token, err
}

// parseHeld reads a line of a file of deletions.
func parseHeld(line string) (d Deletion, err error) {
	fields := strings.Split(line, " ")
	if len(fields) != 4 || len(fields[1]) != 1 || strings.IndexByte(kindLetters, fields[1][0]) < 0 {
		return d, fmt.Errorf("not a held deletion: %.100q", line)
	}
	d.Kind = mtree.Kind(strings.IndexByte(kindLetters, fields[1][0]))
	if d.Entries, err = strconv.ParseInt(fields[0], 10, 64); err != nil {
		return d, err
	}
	if d.MTime, err = mtree.ParseStamp(fields[2]); err != nil {
		return d, err
	}
	if d.Path, err = mtree.UnescapeName(fields[3]); err != nil {
		return d, err
	}
	if d.Path == "" {
		return d, fmt.Errorf("the root is no held deletion: %.100q", line)
	}
	return d, mtree.CheckPath(d.Path)
}
