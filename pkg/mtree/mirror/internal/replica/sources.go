package replica

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/state"
)

// sourcesName is a file in the marker, for --status, of a copy that is made from several sources: a
// line for each of them, in the order in which they were given,
//
//   - SINCE NAME WHY
//   - SINCE NAME WHY
//
// with a plus for the one that is used. NAME and WHY are escaped as names are in listings.
const sourcesName = "sources"

// SourceState is how one of several sources stands.
type SourceState struct {
	Name  string // state.SourceName
	Used  bool
	Since mtree.Stamp // by the local clock: when Used and Why became so
	Why   string      // why it is not used; "": it was not asked, for another one is used
}

// formatSources returns the file.
func formatSources(list []SourceState) (out []byte) {
	for _, s := range list {
		sign := '-'
		if s.Used {
			sign = '+'
		}
		out = fmt.Appendf(out, "%c %s %s %s\n", sign, s.Since, mtree.EscapeName(s.Name), mtree.EscapeName(s.Why))
	}
	return out
}

// parseSource reads a line of the file; ok is false if it makes no sense.
func parseSource(line string) (s SourceState, ok bool) {
	fields := strings.Split(line, " ")
	if len(fields) != 4 || fields[0] != "+" && fields[0] != "-" {
		return s, false
	}
	s.Used = fields[0] == "+"
	var bad [3]error
	s.Since, bad[0] = mtree.ParseStamp(fields[1])
	s.Name, bad[1] = mtree.UnescapeName(fields[2])
	s.Why, bad[2] = mtree.UnescapeName(fields[3])
	return s, errors.Join(bad[:]...) == nil
}

// WriteSources writes how the sources stand; none: there is one source only, and no file.
func (r *Replica) WriteSources(list []SourceState) error {
	if r.ReadOnly {
		return nil
	}
	if len(list) == 0 {
		return Local(r.marker.Remove(sourcesName))
	}
	return Local(state.WriteFile(r.marker.Dir(), sourcesName, formatSources(list)))
}

// Sources reads how the sources stand; none: there is one source only. Lines that make no sense are
// ignored.
func (l *Look) Sources() (list []SourceState, err error) {
	f, _, err := l.marker.OpenFile(sourcesName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	in := bufio.NewScanner(f)
	for in.Scan() {
		if s, ok := parseSource(in.Text()); ok {
			list = append(list, s)
		}
	}
	return list, in.Err()
}
