package sourcetest

import (
	"errors"
	"strings"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/wire"
)

// errAbove says that serve may not read a directory further up: an answer 503.
var errAbove = errors.New("sourcetest: a directory above may not be read")

// readTries is how often a directory that changes while it is read is read again.
const readTries = 3

// open returns the directory at path, as serve opens it.
func (t *Tree) open(path string) (*node, error) {
	n, at := t.root, ""
	for part := range strings.SplitSeq(path, "/") {
		if part == "" {
			continue
		}
		at = mtree.JoinPath(at, part)
		if n.denied && !t.trusted {
			return nil, errAbove
		}
		if n.kind == mtree.Dir {
			n = n.below[part]
		} else {
			n = nil
		}
		if n == nil || n.mounted || t.excluded[part] || t.lacks[at] {
			return nil, source.ErrGone
		}
	}
	return n, nil
}

// list reads a directory by the reading rule: its time, its names, its time again.
func (t *Tree) list(path string) (mtree.Listing, error) {
	dir, err := t.open(path)
	switch {
	case err != nil:
		return mtree.Listing{}, err
	case dir.kind != mtree.Dir:
		return mtree.Listing{}, source.ErrGone
	case dir.denied && !t.trusted:
		return mtree.Listing{}, source.ErrDenied
	}
	for try := 1; ; try++ {
		l := mtree.Listing{Now: t.now(), HasNow: true, Stamp: dir.mtime, ID: dir.text}
		t.yield("names of " + quoted(path))
		for _, name := range dir.names() {
			if n := dir.below[name]; n != nil && !t.lacks[mtree.JoinPath(path, name)] {
				t.add(&l, name, n)
			}
			if len(dir.below) < 8 {
				t.yield("after " + name + " in " + quoted(path))
			}
		}
		if try == readTries && dir.mtime != l.Stamp {
			l.Hot = true
			l.Stamp = mtree.Earlier(l.Stamp, dir.mtime)
		}
		if l.Hot || dir.mtime == l.Stamp {
			l.Hot = l.Hot || !t.isAt(path, dir)
			t.showed(path, &l)
			return l, nil
		}
	}
}

// isAt reports whether path leads to a directory.
func (t *Tree) isAt(path string, dir *node) bool {
	n, err := t.open(path)
	return err == nil && n == dir
}

// add adds an entry to a listing, or counts it as left out.
func (t *Tree) add(l *mtree.Listing, name string, n *node) {
	switch {
	case n.mounted:
		if n.kind != mtree.Dir {
			l.Covered++
		}
		l.Mounts = wire.Fingerprint([]byte(l.Mounts + "/" + name))
		fallthrough
	case t.excluded[name]:
		l.Excluded++
		l.Hidden++
	default:
		l.Entries = append(l.Entries, t.entry(name, n))
	}
}
