package replica

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/state"
)

// uncopiedName is a file in the marker, for --status. It counts the symlinks that are not
// copied because they are unsafe or not wanted, the directories that are not copied
// because their paths are too long, and the files and directories that are not copied as they
// are now because the source may not read them. Each directory with such entries has a line
// "COUNT PATH"; the path is escaped, and "./" is the root. The file is needed because a
// pass sees only what changed.
const uncopiedName = "uncopied"

// MostUncopied bounds the directories in memory and file; further ones are not counted.
const MostUncopied = 10_000

// Uncopied maps the path of a directory to the number of its entries that are not copied.
type Uncopied map[string]int64

// Total is the sum of the counts.
func (u Uncopied) Total() (n int64) {
	for _, count := range u {
		n += count
	}
	return n
}

// format returns the file.
func (u Uncopied) format() (out []byte) {
	for _, path := range slices.Sorted(maps.Keys(u)) {
		out = fmt.Appendf(out, "%d %s\n", u[path], mtree.EscapeName(mtree.JoinPath(".", path)))
	}
	return out
}

// readUncopied reads the file. It ignores lines that make no sense: the next full walk
// counts anew.
func readUncopied(m *state.Marker) (Uncopied, error) {
	u := Uncopied{}
	f, _, err := m.OpenFile(uncopiedName)
	if errors.Is(err, fs.ErrNotExist) {
		return u, nil
	}
	if err != nil {
		return u, err
	}
	defer f.Close()
	in := bufio.NewScanner(f)
	for in.Scan() {
		if len(u) == MostUncopied {
			break
		}
		count, escaped, _ := strings.Cut(in.Text(), " ")
		n, countErr := strconv.ParseInt(count, 10, 64)
		path, pathErr := mtree.UnescapeName(strings.TrimPrefix(escaped, "./"))
		if countErr == nil && pathErr == nil && n > 0 && mtree.CheckPath(path) == nil {
			u[path] = n
		}
	}
	if err := in.Err(); !errors.Is(err, bufio.ErrTooLong) {
		return u, err
	}
	return u, nil
}
