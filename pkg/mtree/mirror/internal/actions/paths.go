package actions

import (
	"maps"
	"slices"

	"tidemark/pkg/mtree"
)

// Paths are those that a command is told. Of too many all that is kept is that there were: then
// the root stands for all of them. The zero value has none.
type Paths struct {
	paths map[string]bool
	bytes int
	all   bool
}

// What is kept at most: some 20 MiB of memory.
const (
	maxPaths     = 100_000
	maxPathBytes = 8 << 20
)

// Add adds the names that lines changed.
func (p *Paths) Add(lines []Line) {
	for i := range lines {
		if l := &lines[i]; l.changes() {
			p.add(l.Path)
			if l.From != "" {
				p.add(l.From)
			}
		}
	}
}

func (p *Paths) add(path string) {
	if p.all || p.paths[path] {
		return
	}
	if len(p.paths) == maxPaths || p.bytes+len(path) > maxPathBytes {
		p.AddAll()
		return
	}
	if p.paths == nil {
		p.paths = map[string]bool{}
	}
	p.paths[path] = true
	p.bytes += len(path)
}

// AddAll says that anything may have changed.
func (p *Paths) AddAll() { *p = Paths{all: true} }

// Clear forgets them.
func (p *Paths) Clear() { *p = Paths{} }

// Count returns how many there are.
func (p *Paths) Count() int {
	if p.all {
		return 1
	}
	return len(p.paths)
}

// Text returns the paths in order, each ended by NUL; "./" if anything may have changed.
func (p *Paths) Text() []byte {
	if p.all {
		return append([]byte(mtree.DirPath("")), 0)
	}
	text := make([]byte, 0, p.bytes+len(p.paths))
	for _, path := range slices.Sorted(maps.Keys(p.paths)) {
		text = append(append(text, path...), 0)
	}
	return text
}
