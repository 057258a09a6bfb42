package lister

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
)

// present is the names of a directory and what each was when it was looked at.
type present struct {
	names   *nameTable
	entries []mtree.Entry // one for each name; zero if it is not listed
}

// present reads the names of d and looks at each.
func (l *Lister) present(d *disk.Dir, path string, self disk.Info) (*present, error) {
	t, err := readNames(d, self.Size)
	if err != nil {
		return nil, err
	}
	entries, err := l.look(d, path, self, t)
	return &present{t, entries}, err
}

// isRestless reports whether an entry had another type at each look. It is left out.
func (p *present) isRestless() bool {
	return slices.ContainsFunc(p.names.names, func(n name) bool { return n.disposition == retyped })
}

// store puts the entries that are listed into listing, and counts the others. p is of no use
// afterwards.
func (p *present) store(listing *mtree.Listing) {
	kept := p.entries[:0]
	var mounts []byte
	for i, n := range p.names.names {
		switch n.disposition {
		case listed:
			kept = append(kept, p.entries[i])
		case covered, border:
			mounts = append(mounts, p.names.bytes(n)...)
			mounts = append(mounts, 0)
			if n.disposition == covered {
				listing.Covered++
			}
			fallthrough
		case excluded:
			listing.Excluded++
			listing.Hidden++
		case dotted:
			listing.Hidden++
		}
	}
	if len(kept) > 0 {
		listing.Entries = kept
	}
	if mounts != nil {
		sum := sha256.Sum256(mounts)
		listing.Mounts = hex.EncodeToString(sum[:mountsSize])
	}
}

// replace puts what was seen of some names, which ascend, in the place of what was seen of them
// before. Cost: a binary search for each; a move of everything, once, if some are new.
func (p *present) replace(by *present) {
	var added []int // of by
	for i, n := range by.names.names {
		at, found := slices.BinarySearchFunc(p.names.names, by.names.bytes(n), func(n name, text []byte) int {
			return bytes.Compare(p.names.bytes(n), text)
		})
		switch {
		case found:
			p.names.names[at].disposition, p.entries[at] = n.disposition, by.entries[i]
		case n.disposition != vanished:
			added = append(added, i)
		}
	}
	p.insert(by, added)
}

// insert adds those names of by, from the end, so that each entry is moved once.
func (p *present) insert(by *present, added []int) {
	t, from := p.names, len(p.entries)
	for _, i := range added {
		t.add(string(by.names.bytes(by.names.names[i]))) // those before keep their place in memory: see text
	}
	p.entries = append(p.entries, make([]mtree.Entry, len(added))...)
	news := slices.Clone(t.names[from:])
	for to := len(t.names) - 1; len(added) > 0; to-- {
		last := len(added) - 1
		if from > 0 && bytes.Compare(t.bytes(t.names[from-1]), t.bytes(news[last])) > 0 {
			from--
			t.names[to], p.entries[to] = t.names[from], p.entries[from]
			continue
		}
		i := added[last]
		t.names[to], p.entries[to] = news[last], by.entries[i]
		t.names[to].disposition = by.names.names[i].disposition
		added, news = added[:last], news[:last]
	}
}

// mountsSize is how many bytes of a sum tell which names are mount points.
const mountsSize = 4
