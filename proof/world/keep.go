package world

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// unlikeLinks says which names are one file in one of two trees only, where mirror keeps that.
func (w *World) unlikeLinks(want, have *model) (lines []string) {
	if w.given["links"] == "" {
		return nil
	}
	groups := want.groups()
	is := have.groups()
	for _, g := range groups {
		if !slices.Contains(is, g) {
			lines = append(lines, unlinked+g)
		}
	}
	for _, g := range is {
		if !slices.Contains(groups, g) {
			lines = append(lines, "one file, and never was: "+g)
		}
	}
	return lines
}

// unlinked begins a line about names that are one file at the source only.
const unlinked = "not one file: "

// onlyUnlinked reports whether there are differences, all of this kind.
func onlyUnlinked(lines []string) bool {
	return len(lines) > 0 && !slices.ContainsFunc(lines, func(line string) bool { return !strings.HasPrefix(line, unlinked) })
}

// groups are the names of each file that has several, as one text each.
func (m *model) groups() (all []string) {
	names, entries := map[*node][]string{}, m.entries()
	for _, p := range slices.Sorted(maps.Keys(entries)) {
		if n := entries[p]; n.kind == file {
			names[n] = append(names[n], fmt.Sprintf("%q", p))
		}
	}
	for _, some := range names {
		if len(some) > 1 {
			all = append(all, strings.Join(some, " = "))
		}
	}
	slices.Sort(all)
	return all
}

// keeps checks, when all is equal, that whatever the copies had when all was equal before is in the copy or
// in its backup directory. Then it empties that, and notes what they have now.
func (w *World) keeps() {
	for i, b := range w.backups() {
		now, err := scan(w.copies[i])
		if err != nil {
			w.finding("rig", "%v", err)
			return
		}
		was, has := w.kept[i], bytesOf(now)
		if was != nil {
			backup, err := scan(b)
			if err != nil {
				w.finding("rig", "%v", err)
				return
			}
			maps.Copy(has, bytesOf(backup))
			for d, p := range was {
				if _, is := has[d]; !is {
					w.finding("kept", "%q of copy %d is neither there any more nor in the backup", p, i+1)
				}
			}
		}
		w.kept[i] = bytesOf(now)
		w.empty(b)
	}
}

// bytesOf is what is in files, and where.
func bytesOf(m *model) map[digest]string {
	all := map[digest]string{}
	for p, n := range m.entries() {
		if n.kind == file {
			all[n.hash] = p
		}
	}
	return all
}

// empty removes what is in a backup directory.
func (w *World) empty(dir string) {
	names, _ := filepath.Glob(dir + "/*")
	for _, name := range names {
		if err := os.RemoveAll(name); err != nil {
			w.finding("rig", "%v", err)
		}
	}
}
