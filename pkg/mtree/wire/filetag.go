package wire

import (
	"strconv"
	"strings"

	"tidemark/pkg/mtree"
)

// FileTag is what the ETag of a file names: one version of the file. The ctime is
// part of it because two contents may share mtime and size.
type FileTag struct {
	MTime mtree.Stamp
	Size  int64 // bytes
	CTime mtree.Stamp
}

// FileTagOf returns the tag of the file that was listed with this entry. The entry
// must have a ctime.
func FileTagOf(e *mtree.Entry) FileTag { return FileTag{e.MTime, e.Size, e.CTime} }

// Append appends the ETag, which is strong: "MTIME-SIZE-CTIME" in quotes
// (docs/protocol.md, "Files"). ParseFileTag is its inverse.
func (t FileTag) Append(dst []byte) []byte {
	dst = append(t.MTime.Append(append(dst, '"')), '-')
	dst = append(strconv.AppendInt(dst, t.Size, 10), '-')
	return append(t.CTime.Append(dst), '"')
}

// String returns what Append appends.
func (t FileTag) String() string { return string(t.Append(make([]byte, 0, 80))) }

// ParseFileTag reads an ETag with or without its quotes. ok is false for every tag
// that serve gives to no file; a tag of another server need not be a FileTag.
func ParseFileTag(text string) (t FileTag, ok bool) {
	text = strings.Trim(text, `"`)
	negative := strings.HasPrefix(text, "-")
	mtime, rest, ok1 := strings.Cut(strings.TrimPrefix(text, "-"), "-")
	size, ctime, ok2 := strings.Cut(rest, "-")
	if negative {
		mtime = "-" + mtime
	}
	var err1, err2, err3 error
	t.MTime, err1 = mtree.ParseStamp(mtime)
	t.Size, err2 = strconv.ParseInt(size, 10, 64)
	t.CTime, err3 = mtree.ParseStamp(ctime)
	if !ok1 || !ok2 || err1 != nil || err2 != nil || err3 != nil || t.Size < 0 || !strings.Contains(ctime, ".") {
		return FileTag{}, false
	}
	return t, true
}
