package mtree

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MarkerName is the reserved directory at the root of a source and of a copy.
// It is never listed, served, mirrored or watched, at any depth.
const MarkerName = ".tidemark"

// MaxName is the longest file name, in bytes (NAME_MAX of Linux).
const MaxName = 255

// ErrName is returned for a name that may not stand in a listing.
var ErrName = errors.New("bad name")

// CheckName reports why name cannot be the name of an entry: it must be one
// path component of 1 to MaxName bytes without "/" and NUL, and not ".", ".." or
// MarkerName. Errors wrap ErrName.
func CheckName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: empty", ErrName)
	case len(name) > MaxName:
		return fmt.Errorf("%w: %d bytes (at most %d)", ErrName, len(name), MaxName)
	case name == "." || name == ".." || name == MarkerName:
		return fmt.Errorf("%w: %q is reserved", ErrName, name)
	case strings.IndexByte(name, '/') >= 0:
		return fmt.Errorf("%w: %q has a slash", ErrName, name)
	case strings.IndexByte(name, 0) >= 0:
		return fmt.Errorf("%w: %q has a NUL", ErrName, name)
	}
	return nil
}

// EscapeName returns the bytes of name as they stand in a text listing: white
// space, % ? # [ ] { } " < > \ ^ | `, controls, bytes that are not valid UTF-8
// and runes that do not print become %XX (upper case), all else stays. So
// blanks separate columns, a directory's URL + the escaped name is a URL that
// curl takes, and every byte string has exactly one spelling.
// UnescapeName is its inverse. A slash stays as it is.
func EscapeName(name string) string {
	if plain(name) {
		return name
	}
	return string(AppendEscaped(nil, name))
}

// AppendEscaped appends EscapeName(name) to dst.
func AppendEscaped(dst []byte, name string) []byte {
	for i := 0; i < len(name); {
		size := 1
		if c := name[i]; c < utf8.RuneSelf {
			if printsPlain(c) {
				dst = append(dst, c)
				i++
				continue
			}
		} else {
			var r rune
			r, size = utf8.DecodeRuneInString(name[i:])
			if (r != utf8.RuneError || size > 1) && unicode.IsPrint(r) {
				dst = append(dst, name[i:i+size]...)
				i += size
				continue
			}
		}
		for _, c := range []byte(name[i : i+size]) {
			dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
		}
		i += size
	}
	return dst
}

const upperHex = "0123456789ABCDEF"

// plain reports whether name is ASCII that needs no escape: the common case.
func plain(name string) bool {
	for i := range len(name) {
		if name[i] >= utf8.RuneSelf || !printsPlain(name[i]) {
			return false
		}
	}
	return true
}

// printsPlain reports whether the ASCII character c stands for itself.
func printsPlain(c byte) bool { return !escapedASCII[c] }

var escapedASCII = func() (table [utf8.RuneSelf]bool) {
	for c := range byte(utf8.RuneSelf) {
		table[c] = c <= ' ' || c == 0x7F || strings.IndexByte("%?#[]{}\"<>\\^|`", c) >= 0
	}
	return table
}()

// UnescapeName decodes every %XX (either case of hex digit) and nothing else:
// "+" stays a plus. It fails on a "%" without two hex digits after it. Its
// result still has to pass CheckName. Errors wrap ErrName.
func UnescapeName(text string) (string, error) {
	if strings.IndexByte(text, '%') < 0 {
		return text, nil
	}
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] != '%' {
			out = append(out, text[i])
			continue
		}
		if i+2 >= len(text) {
			return "", fmt.Errorf("%w: %.300q ends within an escape", ErrName, text)
		}
		high, low := unhex(text[i+1]), unhex(text[i+2])
		if high < 0 || low < 0 {
			return "", fmt.Errorf("%w: %.300q has a %% without two hex digits", ErrName, text)
		}
		out = append(out, byte(high<<4|low))
		i += 2
	}
	return string(out), nil
}

// unhex returns the value of a hex digit, -1 if c is none.
func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c - 'a' + 10)
	case 'A' <= c && c <= 'F':
		return int(c - 'A' + 10)
	}
	return -1
}

// CheckPath reports why path cannot be the path of an entry below a root: it
// must be components that pass CheckName, joined by single slashes. "" is the
// root itself and passes. Errors wrap ErrName.
func CheckPath(path string) error {
	if path == "" {
		return nil
	}
	for name := range strings.SplitSeq(path, "/") {
		if err := CheckName(name); err != nil {
			return err
		}
	}
	return nil
}

// JoinPath returns the path of the entry name in the directory dir; the root
// is "".
func JoinPath(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// ParentPath returns the path of the directory that path is in, "" for a path in the
// root. JoinPath(ParentPath(p), BaseName(p)) is p.
func ParentPath(path string) string { return path[:max(strings.LastIndexByte(path, '/'), 0)] }

// BaseName returns the last component of path.
func BaseName(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// TreeOrder compares two paths in the order of a walk, which is that of an
// answer to "changes since": a directory before what is in it, names bytewise.
// It is below 0 if a comes first, 0 if they are equal.
func TreeOrder(a, b string) int {
	for a != "" && b != "" {
		var x, y string
		x, a, _ = strings.Cut(a, "/")
		y, b, _ = strings.Cut(b, "/")
		if c := strings.Compare(x, y); c != 0 {
			return c
		}
	}
	return len(a) - len(b)
}

// DirPath returns the path of a directory as people read it: with a slash at its
// end, "./" for the root.
func DirPath(path string) string {
	if path == "" {
		return "./"
	}
	return path + "/"
}

// QuotePath returns a path as it is shown to people, in quotes; the root is "/".
func QuotePath(path string) string {
	if path == "" {
		path = "/"
	}
	return strconv.Quote(path)
}
