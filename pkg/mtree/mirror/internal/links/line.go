package links

import (
	"hash/crc32"
	"strconv"
	"strings"

	"tidemark/pkg/mtree"
)

// File is one name of a file of the source, and the file of the copy that stands for it.
type File struct {
	Path  string      // of the name, below the root
	Same  uint64      // of its entry; 0: it is no link any more
	Size  int64       // as the source listed it
	MTime mtree.Stamp // likewise
	CTime mtree.Stamp // likewise
	Node  uint64      // inode number in the copy
	Kept  mtree.Stamp // its ctime there, after its last change by us
}

// FileOf returns the file of the copy that stands for a name that e lists: its inode number and its ctime
// there.
func FileOf(path string, e *mtree.Entry, node uint64, ctime mtree.Stamp) File {
	return File{Path: path, Same: e.Same, Size: e.Size, MTime: e.MTime, CTime: e.CTime, Node: node, Kept: ctime}
}

// IsOf reports whether e is a name of the same file in the same version, by all that a listing tells.
func (f *File) IsOf(e *mtree.Entry) bool {
	return f.Looks(e) && e.Has&mtree.HasCTime != 0 && f.CTime == e.CTime // guard (without f.CTime): TestLinksOfAnotherVersion
}

// Looks reports whether e is a name of the same file with the same size and time: perhaps it has the
// same bytes.
func (f *File) Looks(e *mtree.Entry) bool {
	return e.Has&mtree.HasSame != 0 && f.Same == e.Same && f.Size == e.Size && f.MTime == e.MTime
}

// mostLine is the greatest length of a line: a path has at most PATH_MAX bytes, and three times as many
// when it is escaped.
const mostLine = 16 << 10

// appendLine appends the line of f. before is where the line of another name of its file begins; 0: there
// is none.
func appendLine(out []byte, f *File, before int64) []byte {
	from := len(out)
	out = strconv.AppendUint(out, f.Same, 16)
	out = strconv.AppendUint(append(out, ' '), f.Node, 16)
	out = strconv.AppendInt(append(out, ' '), f.Size, 16)
	out = f.MTime.Append(append(out, ' '))
	out = f.CTime.Append(append(out, ' '))
	out = f.Kept.Append(append(out, ' '))
	out = strconv.AppendInt(append(out, ' '), before, 16)
	out = mtree.AppendEscaped(append(out, ' '), f.Path)
	out = strconv.AppendUint(append(out, ' '), uint64(crc32.ChecksumIEEE(out[from:])), 16)
	return append(out, '\n')
}

// parseLine is the inverse of appendLine, without the newline.
func parseLine(line string) (f File, before int64, ok bool) {
	words := strings.Split(line, " ")
	if len(words) != 9 {
		return f, 0, false
	}
	text := strings.TrimSuffix(line, " "+words[8])
	if words[8] != strconv.FormatUint(uint64(crc32.ChecksumIEEE([]byte(text))), 16) { // guard: TestALineThatIsDamaged
		return f, 0, false
	}
	var errs [8]error
	f.Same, errs[0] = strconv.ParseUint(words[0], 16, 64)
	f.Node, errs[1] = strconv.ParseUint(words[1], 16, 64)
	f.Size, errs[2] = strconv.ParseInt(words[2], 16, 64)
	f.MTime, errs[3] = mtree.ParseStamp(words[3])
	f.CTime, errs[4] = mtree.ParseStamp(words[4])
	f.Kept, errs[5] = mtree.ParseStamp(words[5])
	before, errs[6] = strconv.ParseInt(words[6], 16, 64)
	f.Path, errs[7] = mtree.UnescapeName(words[7])
	ok = errs == [8]error{} && mtree.CheckPath(f.Path) == nil && f.Path != "" // guard: TestLines
	return f, before, ok
}
