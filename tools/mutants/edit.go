package main

import (
	"slices"
	"strings"
)

// edit puts texts around a part of a source, or one text in its place. Edits may stand
// within each other. None of them adds a line, so all lines keep their numbers.
type edit struct {
	from, to int    // offsets in the source
	pre      string // before it
	post     string // after it
	replaced bool   // pre stands in place of it
	order    int    // of two edits of the same part, the one of lower order is outside
}

// apply returns the source with the edits made.
func apply(source []byte, edits []edit) string {
	type insert struct {
		at    int
		text  string
		skip  int // bytes of the source that it replaces
		class int // at one offset: what ends stands before what is replaced or begins
		outer int // within what begins: the longer part first; within what ends: the shorter
		order int
	}
	var all []insert
	for _, e := range edits {
		if e.replaced {
			all = append(all, insert{at: e.from, text: e.pre, skip: e.to - e.from, class: 1})
			continue
		}
		all = append(all,
			insert{at: e.from, text: e.pre, class: 2, outer: -e.to, order: e.order},
			insert{at: e.to, text: e.post, outer: -e.from, order: -e.order})
	}
	slices.SortStableFunc(all, func(a, b insert) int {
		for _, d := range []int{a.at - b.at, a.class - b.class, a.outer - b.outer, a.order - b.order} {
			if d != 0 {
				return d
			}
		}
		return 0
	})
	var out strings.Builder
	done := 0
	for _, i := range all {
		out.Write(source[done:max(done, i.at)])
		out.WriteString(i.text)
		done = max(done, i.at) + i.skip
	}
	out.Write(source[done:])
	return out.String()
}
