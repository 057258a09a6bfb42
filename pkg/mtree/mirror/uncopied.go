package mirror

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
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
)

// How many symlinks are not copied, because they are unsafe or not wanted, and how
// many directories, because their paths are too long, stands in the marker for --status: a line "COUNT PATH" for each directory that has some,
// the path escaped, "./" being the root. A pass sees only what changed.
const uncopiedName = "uncopied"

// mostUncopied bounds memory and file: further directories are not counted.
const mostUncopied = 10_000

// uncopied has the counts, by directory.
type uncopied map[string]int64

func (u uncopied) total() (n int64) {
	for _, count := range u {
		n += count
	}
	return n
}

func (u uncopied) format() (out []byte) {
	for _, path := range slices.Sorted(maps.Keys(u)) {
		out = fmt.Appendf(out, "%d %s\n", u[path], mtree.EscapeName(mtree.JoinPath(".", path)))
	}
	return out
}

// readUncopied reads such a file. What makes no sense in it is passed over: the
// next full walk counts anew.
func readUncopied(m *state.Marker) (uncopied, error) {
	u := uncopied{}
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

// noteUncopied counts those of a directory that was compared.
func (p *pass) noteUncopied(path string, count int64) {
	if count > 0 || p.dest.uncopied[path] > 0 {
		p.uncopied[path] = count
	}
}

// storeUncopied brings the file up to date: a full walk saw all there are.
func (p *pass) storeUncopied() error {
	next := uncopied{}
	if !p.complete || !p.full {
		for path, count := range p.dest.uncopied {
			if !p.isRemoved(path) {
				next[path] = count
			}
		}
	}
	for path, count := range p.uncopied {
		if delete(next, path); count > 0 && len(next) < mostUncopied {
			next[path] = count
		}
	}
	if maps.Equal(next, p.dest.uncopied) {
		return nil
	}
	p.dest.uncopied = next
	err := state.WriteFile(p.dest.marker.Dir(), uncopiedName, next.format())
	if disk.IsFull(err) {
		return nil // the next change writes it
	}
	return local(err)
}

// isRemoved reports whether the pass deleted the directory at path, or one above
// it.
func (p *pass) isRemoved(path string) bool {
	for ; path != ""; path = mtree.ParentPath(path) {
		if p.goneDirs[path] {
			return true
		}
	}
	return false
}
