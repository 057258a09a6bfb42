package mirror

import (
	"bytes"
	"slices"
	"strings"

	"tidemark/pkg/mtree"
)

// Everything that is another in the copy after a pass was told by a line of --print, and what the
// lines tell is so.

// simTold is what a pass told: the actions on each path, in their order.
type simTold map[string][]string

// listenTo lets the next pass print, and returns what reads it. What is killed prints no more.
func (s *sim) listenTo() func() simTold {
	var out bytes.Buffer
	s.config.Print = &out
	return func() simTold {
		s.config.Print = nil
		told := simTold{}
		for line := range strings.Lines(out.String()) {
			fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
			if len(fields) != 3 {
				s.wrong("no line of --print: %q", line)
				return told
			}
			s.log("> %s %s", fields[1], fields[2])
			told[fields[2]] = append(told[fields[2]], fields[1])
		}
		return told
	}
}

// hasLocal reports whether others change the copy while the next pass runs.
func (s *sim) hasLocal() bool {
	for _, steps := range s.at {
		if slices.ContainsFunc(steps, func(step string) bool { return strings.Contains(step, "local-") }) {
			return true
		}
	}
	return false
}

// checkTold checks what a pass told.
func (s *sim) checkTold(b simBefore, told simTold) {
	now := s.read()
	paths := map[string]bool{}
	for path := range b.copy {
		paths[path] = true
	}
	for path := range now {
		paths[path] = true
	}
	delete(paths, "") // nobody lists its mode
	for _, path := range sortedKeys(paths) {
		if want := told.lacks(b.copy, now, path); want != "" {
			s.wrong("/%s was changed, and there is no line %q", path, want)
		}
	}
	for _, path := range sortedKeys(told) {
		_, has := now[strings.TrimSuffix(path, "/")]
		switch last := told[path][len(told[path])-1]; last {
		case "create", "rename", "update", "mode":
			if !has && !told.isGoneAbove(path) {
				s.wrong("there is a line %q, and no /%s", last, path)
			}
		case "delete":
			is, has := now[strings.TrimSuffix(path, "/")]
			if has && (is.kind == mtree.Dir) == strings.HasSuffix(path, "/") {
				s.wrong("there is a line %q, and /%s is there", last, path)
			}
		}
	}
}

// lacks returns the line that is missing about a path, "" if none is.
func (t simTold) lacks(before, after map[string]simEntry, path string) string {
	was, had := before[path]
	is, has := after[path]
	line := func(kind mtree.Kind, actions ...string) string {
		name := path
		if kind == mtree.Dir {
			name += "/"
		}
		for _, action := range actions {
			if slices.Contains(t[name], action) {
				return ""
			}
		}
		return actions[0] + " " + name
	}
	switch {
	case had && !has, had && has && was.kind != is.kind && was.kind == mtree.Dir:
		if t.isGoneAbove(path) {
			return ""
		}
		return line(was.kind, "delete")
	case has && !had, is.kind != was.kind && is.kind == mtree.Dir:
		return line(is.kind, "create", "rename")
	case is.kind != was.kind, is.text != was.text, is.kind != mtree.Dir && is.mtime != was.mtime:
		return line(is.kind, "update", "create", "rename")
	case is.mode != was.mode:
		return line(is.kind, "mode", "update", "create", "rename")
	}
	return ""
}

// isGoneAbove reports whether a directory above path was deleted, or what filters do not exclude in it.
func (t simTold) isGoneAbove(path string) bool {
	for up := mtree.ParentPath(strings.TrimSuffix(path, "/")); up != ""; up = mtree.ParentPath(up) {
		if slices.Contains(t[up+"/"], "delete") || slices.Contains(t[up+"/"], "update") {
			return true
		}
	}
	return slices.Contains(t[path+"/"], "update")
}
