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

// uncopiedName is a file in the marker, for --status: how many symlinks are not
// copied, because they are unsafe or not wanted, and how many directories, because
// their paths are too long. It has a line "COUNT PATH" for each directory that has
// some, the path escaped, "./" being the root. A pass sees only what changed.
const uncopiedName = "uncopied"

// mostUncopied bounds memory and file: further directories are not counted.
const mostUncopied = 10_000

// Uncopied has how many entries of a directory are not copied, by its path.
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

// readUncopied reads the file. Lines that make no sense are ignored: the next full
// walk counts anew.
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
	for in.Scan() && len(u) < mostUncopied {
		count, escaped, _ := strings.Cut(in.Text(), " ")
		n, countErr := strconv.ParseInt(count, 10, 64)
		path, pathErr := mtree.UnescapeName(strings.TrimPrefix(escaped, "./"))
		if countErr == nil && pathErr == nil && n > 0 {
			u[path] = n
		}
	}
	if err := in.Err(); !errors.Is(err, bufio.ErrTooLong) {
		return u, err
	}
	return u, nil
}
