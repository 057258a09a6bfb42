package since

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"strings"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/glob"
	"tidemark/pkg/mtree/internal/state"
)

// Question is what is asked.
type Question struct {
	Root        *disk.Dir
	Marker      *state.Marker
	Since       mtree.Stamp // of the root, as watch --sync printed it
	Exclude     *glob.List  // what is not told; nil: nothing
	CrossMounts bool        // if the watcher's status does not say it
	NUL         bool        // a NUL ends each path, and nothing is escaped
	Out         io.Writer
	Log         *slog.Logger
}

// list writes paths: each begins with "./", so that none begins with a sign that means
// something else to its reader, and a directory ends in a slash.
type list struct {
	out *bufio.Writer
	nul bool
	err error // the first of writing

	told map[string]struct{} // what once wrote
}

func newList(q Question) *list { return &list{out: bufio.NewWriter(q.Out), nul: q.NUL} }

// name writes the path of something, there or gone.
func (l *list) name(path string) { l.write(path, false) }

// dir writes the path of a directory, all of whose entries are to be looked at; "" is the root.
func (l *list) dir(path string) { l.write(path, true) }

// once writes a path that the journal names. Nothing writes it again.
func (l *list) once(path string, dir bool) {
	l.write(path, dir)
	if l.told == nil {
		l.told = map[string]struct{}{}
	}
	l.told[written(path, dir)] = struct{}{}
}

// written returns how a path is written, but for what ends it.
func written(path string, dir bool) string {
	if dir && path != "" {
		path += "/"
	}
	return "./" + path
}

func (l *list) write(path string, dir bool) {
	text := written(path, dir)
	if _, twice := l.told[text]; twice { // guard: TestToldOnce
		return
	}
	if l.nul {
		text += "\x00"
	} else {
		text = escaped(text) + "\n"
	}
	if _, err := l.out.WriteString(text); err != nil && l.err == nil {
		l.err = err
	}
}

// escaped escapes the names of a path as in listings.
func escaped(path string) string {
	names := strings.Split(path, "/")
	for i, name := range names {
		names[i] = mtree.EscapeName(name)
	}
	return strings.Join(names, "/")
}

// end writes what is left.
func (l *list) end() error {
	if err := l.out.Flush(); l.err == nil {
		l.err = err
	}
	return l.err
}

// telling is one answer.
type telling struct {
	Question
	*list
	ctx        context.Context
	tree       state.Tree
	exceptions *state.Exceptions
	borders    map[string]bool
	unreadable int // directories that could not be read
}
