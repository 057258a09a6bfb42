package watch

import (
	"slices"
	"strings"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/notify"
	"tidemark/pkg/mtree/watch/internal/audit"
)

// batch is the changes that are published together: a tree of the directories
// in which something changed, and those above them.
type batch struct {
	top   twig
	size  int // changed entries and directories
	paths bool
}

// twig is one directory of a batch.
type twig struct {
	below   map[string]*twig
	entries []notify.Entry
	self    bool           // its own attributes or times were set, perhaps by us
	dirty   bool           // entries changed whose names are not known
	found   *audit.Finding // by an audit
	settles bool           // it refused its time: it is only to show what is published
	retry   bool           // it could not be read: it is tried again
}

// at returns the twig for path, with those above it.
func (b *batch) at(path string) *twig {
	t := &b.top
	if path == "" {
		return t
	}
	for name := range strings.SplitSeq(path, "/") {
		next := t.below[name]
		if next == nil {
			next = new(twig)
			if t.below == nil {
				t.below = map[string]*twig{}
			}
			t.below[name] = next
		}
		t = next
	}
	return t
}

// hear adds what a source heard; excluded says which entries count for nothing.
func (b *batch) hear(heard []*notify.Heard, excluded func(path string, isDir bool) bool) {
	for _, h := range heard {
		if h.Path != "" && excluded(h.Path, true) {
			continue
		}
		var entries []notify.Entry
		for _, e := range h.Entries {
			path := mtree.JoinPath(h.Path, e.Name)
			if !excluded(path, false) && !(e.Arrived && excluded(path, true)) {
				entries = append(entries, e)
			}
		}
		if len(entries) == 0 && !h.Self && !h.Dirty {
			continue
		}
		t := b.at(h.Path)
		t.self, t.dirty = t.self || h.Self, t.dirty || h.Dirty
		t.entries = append(t.entries, entries...)
		b.size += max(1, len(entries))
	}
}

// find adds what an audit found.
func (b *batch) find(findings []audit.Finding) {
	for i := range findings {
		t, f := b.at(findings[i].Path), &findings[i]
		b.size++
		switch {
		case f.Settles:
			t.settles = true
		case t.found == nil || t.found.First:
			t.found = f
		case !f.First:
			t.found.MTime, t.found.CTime = mtree.Later(t.found.MTime, f.MTime), mtree.Later(t.found.CTime, f.CTime)
		}
	}
}

// touches reports whether something happened at name in t.
func (t *twig) touches(name string) bool {
	return slices.ContainsFunc(t.entries, func(e notify.Entry) bool { return e.Name == name })
}

// comes reports whether the directory name counts as arrived in t.
func (t *twig) comes(name string) bool {
	return slices.ContainsFunc(t.entries, func(e notify.Entry) bool { return e.Arrived && e.Name == name })
}
