package mtree

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// MaxMounts is how many digits Listing.Mounts has at most.
const MaxMounts = 16

// AppendSelf appends the first line of a listing; it does not use l.Entries and l.Gone.
// With AppendEntry and AppendEnd a writer can stream a listing of any length.
func AppendSelf(dst []byte, l Listing) []byte {
	dst = l.Stamp.Append(dst)
	dst = append(dst, " ./"...)
	if l.Path != "" {
		dst = AppendEscaped(dst, l.Path)
		dst = append(dst, '/')
	}
	dst = append(dst, "\t-"...)
	if l.IsPart() {
		dst = appendSpans(append(dst, "\tPart="...), l.Part)
	}
	if l.ID != "" {
		dst = AppendEscaped(append(dst, "\tid="...), l.ID)
	}
	if l.HasNow {
		dst = l.Now.Append(append(dst, "\tnow="...))
	}
	if l.Hidden != 0 {
		dst = strconv.AppendInt(append(dst, "\thidden="...), l.Hidden, 10)
	}
	if l.Excluded != 0 {
		dst = strconv.AppendInt(append(dst, "\texcluded="...), l.Excluded, 10)
	}
	if l.Covered != 0 {
		dst = strconv.AppendInt(append(dst, "\tcovered="...), l.Covered, 10)
	}
	if l.Mounts != "" {
		dst = append(append(dst, "\tmounts="...), l.Mounts...)
	}
	if l.Hot {
		dst = append(dst, "\thot=1"...)
	}
	return append(dst, '\n')
}

// ParseSelf reads the first line of a listing or of a part, with its LF. Errors wrap
// ErrListing.
func ParseSelf(line []byte) (Listing, error) {
	text, ended := strings.CutSuffix(string(line), "\n")
	if !ended || len(line) > maxLine {
		return Listing{}, fmt.Errorf("%w: not one line", ErrListing)
	}
	l, err := parseSelf(text, true)
	if err != nil {
		return Listing{}, fmt.Errorf("%w: %w", ErrListing, err)
	}
	return l, nil
}

// parseSelf is the inverse of AppendSelf, without the LF. A part is an error unless parts
// are understood.
func parseSelf(line string, parts bool) (Listing, error) {
	stamp, name, size, attrs, err := cutColumns(line)
	if err != nil {
		return Listing{}, err
	}
	escaped, ok := strings.CutPrefix(name, "./")
	if !ok || size != "-" {
		return Listing{}, fmt.Errorf(`want the directory itself, "STAMP ./<TAB>-", got %.60q`, line)
	}
	l := Listing{Stamp: stamp}
	if escaped != "" {
		if l.Path, err = parsePath(escaped); err != nil {
			return Listing{}, err
		}
	}
	err = eachAttr(attrs, func(key, value string) error {
		if key == "Part" && (!parts || l.IsPart()) {
			return errors.New("a part where a whole listing was asked for, or twice one")
		}
		return l.setAttr(key, value)
	})
	if err == nil && l.IsPart() {
		err = checkPart(&l)
	}
	return l, err
}

// setAttr sets what one attribute says.
func (l *Listing) setAttr(key, value string) (err error) {
	switch key {
	case "Part":
		l.Part, err = parseSpans(value)
	case "id":
		l.ID = strings.Clone(value) // kept longer than the rest
	case "now":
		l.Now, err = ParseStamp(value)
		l.HasNow = true
	case "hidden":
		l.Hidden, err = parseSize(value)
	case "excluded":
		l.Excluded, err = parseSize(value)
	case "covered":
		l.Covered, err = parseSize(value)
	case "mounts":
		if len(value) > MaxMounts || strings.Trim(value, "0123456789abcdef") != "" {
			return fmt.Errorf("mounts %.40q: want at most %d hex digits", value, MaxMounts)
		}
		l.Mounts = strings.Clone(value) // kept longer than the rest
	case "hot":
		l.Hot = value == "1"
	default:
		if isCapital(key) {
			return fmt.Errorf("attribute %q of the directory is not understood: a newer tidemark is needed", key)
		}
	}
	return err
}

// parsePath decodes "a/b/", component by component.
func parsePath(escaped string) (string, error) {
	trimmed, ok := strings.CutSuffix(escaped, "/")
	if !ok {
		return "", fmt.Errorf("%w: directory %.300q without a slash at its end", ErrName, escaped)
	}
	var path string
	for part := range strings.SplitSeq(trimmed, "/") {
		name, err := UnescapeName(part)
		if err != nil {
			return "", err
		}
		if err := CheckName(name); err != nil {
			return "", err
		}
		path = JoinPath(path, name)
	}
	return path, nil
}

// cutColumns splits "STAMP NAME<TAB>SIZE[<TAB>ATTRS]".
func cutColumns(line string) (stamp Stamp, name, size, attrs string, err error) {
	first, rest, ok := strings.Cut(line, " ")
	if stamp, ok2 := parseStamp(first); ok && ok2 {
		name, rest, ok = strings.Cut(rest, "\t")
		if ok && len(name) > 0 {
			size, attrs, _ = strings.Cut(rest, "\t")
			return stamp, name, size, attrs, nil
		}
	}
	return Stamp{}, "", "", "", fmt.Errorf("want STAMP NAME<TAB>SIZE, got %.60q", line)
}
