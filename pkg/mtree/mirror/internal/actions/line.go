package actions

import (
	"encoding/json"
	"strconv"

	"tidemark/pkg/mtree"
)

// Action is what was done to a name of the copy. The texts are part of the output of --print,
// and must not change.
type Action string

// What is done to a name. Hold and Skip leave the copy as it is.
const (
	Create Action = "create" // it was free
	Update Action = "update" // a file has other bytes or another time, or a symlink another target; or one took the place of the other
	Mode   Action = "mode"   // permission bits or owner only
	Rename Action = "rename" // it was free, and what it has now was in the copy under another name
	Delete Action = "delete" // of a directory: with everything below
	Hold   Action = "hold"   // its deletion is held from now on
	Skip   Action = "skip"   // it is left out
)

// Line is one thing that was done. Paths are below the copy's root; those of directories end in
// a slash.
type Line struct {
	Stamp   mtree.Stamp // of the source's root, towards which the pass worked
	Action  Action
	Path    string
	From    string // of Rename: the name before
	Entries int64  // of Delete and Hold: how many entries go, with all below; 0: not known
	Why     string // of Hold and Skip
}

// Path returns the path of an entry as a Line has it.
func Path(path string, kind mtree.Kind) string {
	if kind == mtree.Dir {
		return mtree.DirPath(path)
	}
	return path
}

// changes reports whether the copy is another one after it.
func (l *Line) changes() bool { return l.Action != Hold && l.Action != Skip }

// appendText appends STAMP<TAB>ACTION<TAB>PATH.
func (l *Line) appendText(out []byte) []byte {
	out = append(append(append(l.Stamp.Append(out), '\t'), l.Action...), '\t')
	return append(mtree.AppendEscaped(out, l.Path), '\n')
}

// appendJSON appends an object. An escaped path has nothing that JSON would escape once more.
func (l *Line) appendJSON(out []byte) []byte {
	out = l.Stamp.Append(append(out, stampKey...))
	out = append(append(append(out, `","action":"`...), l.Action...), `","path":"`...)
	out = append(mtree.AppendEscaped(out, l.Path), '"')
	if l.From != "" {
		out = append(mtree.AppendEscaped(append(out, `,"from":"`...), l.From), '"')
	}
	if l.Entries > 0 {
		out = strconv.AppendInt(append(out, `,"entries":`...), l.Entries, 10)
	}
	if l.Why != "" {
		why, _ := json.Marshal(l.Why) // a string always is one of JSON
		out = append(append(out, `,"why":`...), why...)
	}
	return append(out, '}', '\n')
}

// stampKey begins each object.
const stampKey = `{"stamp":"`
