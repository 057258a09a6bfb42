package wire

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"tidemark/pkg/mtree"
)

const upperHex = "0123456789ABCDEF"

// AppendURLPath appends a name, or a path of names, percent-encoded but for
// A-Za-z0-9-._~ and the slashes between names: no client reads a scheme, a query
// or an entity into that. ParseURLPath is its inverse.
func AppendURLPath(dst []byte, path string) []byte {
	for i := range len(path) {
		switch c := path[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '.', c == '_', c == '~', c == '/':
			dst = append(dst, c)
		default:
			dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return dst
}

// URLPath returns what AppendURLPath appends.
func URLPath(path string) string {
	return string(AppendURLPath(make([]byte, 0, len(path)+16), path))
}

// DirURLPath is URLPath of a directory, with the slash at its end: "" for the
// root, "a/b/" for what is below it.
func DirURLPath(path string) string {
	if path == "" {
		return ""
	}
	return string(append(AppendURLPath(make([]byte, 0, len(path)+16), path), '/'))
}

// MaxPath is the longest path that can be opened, in bytes: PATH_MAX without the
// NUL. Thirty thousand components take seconds to look at, so ParseURLPath does
// not begin.
const MaxPath = 4095

// ErrPathTooLong is an mtree.ErrName: a path of more than MaxPath bytes.
var ErrPathTooLong = fmt.Errorf("%w: a path of more than %d bytes", mtree.ErrName, MaxPath)

// URLTarget is what the path of a URL names.
type URLTarget struct {
	Path    string // below the root, decoded, without a slash at either end; "" is the root
	Dir     bool   // the URL ends in a slash: it means a directory
	Doubled bool   // slashes were doubled: what is relative to the URL is not relative to Path
}

// ParseURLPath reads the path of a URL as it was sent. It decodes each component
// alone, so an encoded slash is part of a name (which no entry has); any other byte
// may stand raw or escaped. As with nginx, doubled slashes count as one and "." as
// nothing: apt asks for "repo/./Packages". Errors wrap mtree.ErrName; the part
// before the error is in the result.
func ParseURLPath(raw string) (t URLTarget, err error) {
	t.Dir = strings.HasSuffix(raw, "/") || strings.HasSuffix(raw, "/.") || raw == ""
	t.Doubled = strings.Contains(raw, "//")
	for part := range strings.SplitSeq(raw, "/") {
		if part == "" || part == "." {
			continue
		}
		name, err := mtree.UnescapeName(part)
		if err != nil {
			return t, err
		}
		if err := mtree.CheckName(name); err != nil {
			return t, err
		}
		if t.Path = mtree.JoinPath(t.Path, name); len(t.Path) > MaxPath {
			return t, ErrPathTooLong
		}
	}
	return t, nil
}

// FormatTreePath returns the value of Tidemark-Path: "/" or "/a/b", escaped like
// names in listings (docs/protocol.md, "Headers of a listing").
func FormatTreePath(path string) string { return mtree.EscapeName(path) }

// ParseTreePath reads a Tidemark-Path; "" if it makes no sense.
func ParseTreePath(text string) string {
	path, err := mtree.UnescapeName(text)
	if err != nil || path == "" || path[0] != '/' || path != "/" && mtree.CheckPath(path[1:]) != nil {
		return ""
	}
	return path
}

// maxPathLine bounds one line of a list of paths: PATH_MAX, escaped throughout.
const maxPathLine = 3*4096 + 1

// ErrTooManyPaths says that a list of paths is beyond its bounds.
var ErrTooManyPaths = errors.New("too many paths")

// AppendPathLine appends a line of the body of POST ?tar and ?sums: one path,
// relative to the URL, escaped like a name in a listing (docs/protocol.md, "Bulk").
// ReadPaths is its inverse.
func AppendPathLine(dst []byte, path string) []byte {
	return append(mtree.AppendEscaped(dst, path), '\n')
}

// ReadPaths reads a list of at most MaxPaths paths, each of which names something
// below the directory that was asked. One that does not refuses the whole list, as
// in a listing: errors wrap mtree.ErrName, or are ErrTooManyPaths, or those of in
// and of keep, which is called with each path.
func ReadPaths(in io.Reader, keep func(path string) error) (paths []string, err error) {
	err = readPathLines(in, func(line string) error {
		path, err := readPathLine(line, keep)
		paths = append(paths, path)
		return err
	})
	if err != nil {
		return nil, err
	}
	return paths, nil
}

// readPathLines calls take with each line of a list.
func readPathLines(in io.Reader, take func(line string) error) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 0, 4096), maxPathLine)
	for n := 0; lines.Scan(); n++ {
		if n == MaxPaths {
			return ErrTooManyPaths
		}
		if err := take(lines.Text()); err != nil {
			return err
		}
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return ErrTooManyPaths
	} else if err != nil {
		return err
	}
	return nil
}

// readPathLine reads the path of a line, and gives it to keep.
func readPathLine(text string, keep func(path string) error) (path string, err error) {
	path, err = mtree.UnescapeName(text)
	if err == nil && path == "" {
		err = fmt.Errorf("%w: empty", mtree.ErrName)
	}
	if err == nil {
		err = mtree.CheckPath(path)
	}
	if err == nil {
		err = keep(path)
	}
	return path, err
}
