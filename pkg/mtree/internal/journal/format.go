package journal

import (
	"cmp"
	"errors"
	"hash/crc32"
	"slices"
	"strconv"
	"strings"

	"tidemark/pkg/mtree"
)

// magic is how a file begins. A reader that finds another number does not use it.
const magic = "#journal 1\t"

// AppendHead appends the first line of a file.
func AppendHead(dst []byte, h Head) []byte {
	dst = append(append(dst, magic...), h.ID...)
	dst = strconv.AppendUint(append(dst, '\t'), h.Epoch, 10)
	dst = append(append(dst, '\t'), h.Boot...)
	dst = append(append(dst, '\t'), h.Run...)
	dst = strconv.AppendUint(append(dst, '\t'), h.Number, 10)
	return append(dst, '\n')
}

// errLine is returned for a batch that cannot be written as text.
var errLine = errors.New("a line of the journal has a path that cannot stand in a listing")

// AppendBatch appends the text of a batch. Names need not be in order. A name that cannot
// stand in a listing, or more than MaxNames of them, makes their line a "*"; a batch with a
// path that cannot, or one that is larger than 1 MiB, says "./ **".
func AppendBatch(dst []byte, b Batch) []byte {
	start := len(dst)
	dst, err := appendLines(dst, b)
	if err != nil || len(dst)-start > maxBatch-len("-00000000\n") { // guard: TestBatchTooLarge
		b.Lines = []Line{{Unknown: true, Below: true}}
		dst, _ = appendLines(dst[:start], b)
	}
	return appendCRC(dst, crc32.ChecksumIEEE(dst[start:]))
}

func appendCRC(dst []byte, sum uint32) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '-')
	for shift := 28; shift >= 0; shift -= 4 {
		dst = append(dst, hex[sum>>shift&15])
	}
	return append(dst, '\n')
}

func appendLines(dst []byte, b Batch) ([]byte, error) {
	dst = strconv.AppendUint(append(dst, '+'), b.Number, 10)
	dst = append(b.Floor.Append(append(dst, '\t')), '\n')
	start := len(dst)
	for _, l := range b.Lines {
		if mtree.CheckPath(l.Path) != nil {
			return dst, errLine
		}
		if dst = appendLine(dst, l); len(dst)-start > maxBatch { // of a batch that is much too large only the beginning is made
			return dst, nil
		}
	}
	return dst, nil
}

func appendLine(dst []byte, l Line) []byte {
	dst = appendPath(dst, l.Path)
	if l.Known && !l.To.Before(l.From) {
		dst = l.From.Append(append(dst, '\t'))
		dst = l.To.Append(append(dst, '\t'))
	} else {
		dst = append(dst, "\t-\t-"...)
	}
	switch {
	case l.Below:
		return append(dst, "\t**\n"...)
	case l.Unknown || len(l.Names) > MaxNames || !canStand(l.Names): // guard: TestNamesThatAreNotTold
		return append(dst, "\t*\n"...)
	}
	for _, name := range inOrder(l.Names) {
		dst = append(dst, '\t')
		if isStar(name) { // guard: TestFilesThatAreCalledStar
			dst = append(dst, strings.Repeat("%2A", len(name))...)
			continue
		}
		dst = mtree.AppendEscaped(dst, name)
	}
	return append(dst, '\n')
}

// appendPath appends "./a/b/".
func appendPath(dst []byte, path string) []byte {
	dst = append(dst, "./"...)
	if path != "" {
		dst = append(mtree.AppendEscaped(dst, path), '/')
	}
	return dst
}

// bare is the name of an entry without the slash of directories.
func bare(name string) string { return strings.TrimSuffix(name, "/") }

// byName is the order of names in a line: that of listings.
func byName(a, b string) int { return cmp.Compare(bare(a), bare(b)) }

// canStand reports whether all names may stand in a listing.
func canStand(names []string) bool {
	for _, name := range names {
		if mtree.CheckName(bare(name)) != nil {
			return false
		}
	}
	return true
}

// isStar reports whether a file is called as what says that names are not known.
func isStar(name string) bool { return name == "*" || name == "**" }

// inOrder returns the names in order, each once. One that is there as a directory and as
// something else is told as a directory.
func inOrder(names []string) []string {
	sorted := true
	for i := 1; i < len(names) && sorted; i++ {
		sorted = byName(names[i-1], names[i]) < 0
	}
	if sorted {
		return names
	}
	names = slices.Clone(names)
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(byName(a, b), len(b)-len(a)) })
	return slices.CompactFunc(names, func(a, b string) bool { return bare(a) == bare(b) })
}
