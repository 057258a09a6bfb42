package sourcetest

import (
	"slices"
	"strings"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/wire"
)

// told returns the lines of the batches that a reader may not have, who listed the root with that
// stamp.
func (t *Tree) told(since mtree.Stamp) (batches []map[string]line) {
	for i := range t.journal {
		if i+1 == len(t.journal) || t.journal[i+1].floor.After(since) {
			batches = append(batches, t.journal[i].lines)
		}
	}
	return batches
}

// changedSince returns the paths of directories with such lines.
func (t *Tree) changedSince(since mtree.Stamp) (paths []string) {
	for _, lines := range t.told(since) {
		for path := range lines {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// part returns a part of the listing of a directory, by the reading rule: its time, the journal,
// the names that this tells of, its time again. ok is false if the whole listing is needed.
func (t *Tree) part(path string, since mtree.Stamp) (l mtree.Listing, ok bool) {
	for try := 1; ; try++ {
		dir, err := t.open(path)
		if err != nil || dir.kind != mtree.Dir || dir.denied && !t.trusted || t.State != wire.Watched {
			return l, false
		}
		l = mtree.Listing{Now: t.now(), HasNow: true, Stamp: dir.mtime, ID: dir.text}
		if t.Mistake != EarlyTail {
			t.yield("journal for " + quoted(path))
		}
		names, ok := t.namesOf(path, since, &l)
		if t.Mistake == EarlyTail {
			t.yield("stamp of " + quoted(path))
			l.Stamp = dir.mtime
		}
		if !ok {
			return l, false
		}
		for _, name := range names {
			n := dir.below[name]
			switch {
			case t.excluded[name]:
			case n == nil:
				l.Gone = append(l.Gone, name)
			case n.mounted:
				return l, false
			default:
				l.Entries = append(l.Entries, t.entry(name, n))
			}
			t.yield("after " + name + " in " + quoted(path))
		}
		if try == readTries && dir.mtime != l.Stamp {
			l.Hot = true
			l.Stamp = mtree.Earlier(l.Stamp, dir.mtime)
		}
		if !t.isAt(path, dir) {
			return l, false
		}
		if l.Hot || dir.mtime == l.Stamp {
			t.showed(path, &l)
			return l, true
		}
	}
}

// namesOf returns the names that the journal tells of a directory, in order, and adds to l for
// which readers they suffice. ok is false if there are others, or no reader.
func (t *Tree) namesOf(path string, since mtree.Stamp, l *mtree.Listing) (names []string, ok bool) {
	for _, lines := range t.told(since) {
		for up, is := range lines {
			if is.deep && (up == "" || up == path || strings.HasPrefix(path, up+"/")) {
				return nil, false
			}
		}
		is, has := lines[path]
		if is.more {
			return nil, false
		}
		for name := range is.names {
			names = append(names, name)
		}
		if has && is.known {
			l.Part = append(l.Part, is.span)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), len(l.Part) > 0
}
