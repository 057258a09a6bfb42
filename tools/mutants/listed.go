package main

import (
	"bufio"
	_ "embed"
	"fmt"
	"path/filepath"
	"strings"
)

//go:embed heart.txt
var heartText string

//go:embed equivalent.txt
var equivalentText string

// part is a line of heart.txt: sources, and the packages whose tests should look at them.
type part struct {
	files []string
	tests []string // the nearest first
	open  bool     // its survivors are not worked off yet: they are shown, and are no failure
}

// heart reads heart.txt.
func heart(root string) ([]part, error) {
	var parts []part
	for line := range lines(heartText) {
		line, open := strings.CutPrefix(line, "? ")
		pattern, tests, ok := strings.Cut(line, ":")
		if !ok {
			return nil, fmt.Errorf("heart.txt: %q has no colon", line)
		}
		if !strings.HasSuffix(pattern, ".go") {
			pattern += "/*.go"
		}
		found, err := filepath.Glob(filepath.Join(root, "pkg/mtree", pattern))
		if err != nil || len(found) == 0 {
			return nil, fmt.Errorf("heart.txt: nothing matches %s", pattern)
		}
		p := part{open: open}
		for _, name := range found {
			name, err := filepath.Rel(root, name)
			if err != nil {
				return nil, err
			}
			if !strings.HasSuffix(name, "_test.go") && filepath.Base(name) != "doc.go" {
				p.files = append(p.files, name)
			}
		}
		for _, dir := range strings.Fields(tests) {
			p.tests = append(p.tests, filepath.Join("pkg/mtree", dir))
		}
		parts = append(parts, p)
	}
	return parts, nil
}

// equivalents reads equivalent.txt: by the name of each mutant the reason why no test can
// tell it from the original.
func equivalents() (map[string]string, error) {
	listed := map[string]string{}
	name := ""
	for line := range lines(equivalentText) {
		reason, isReason := strings.CutPrefix(line, "= ")
		switch {
		case !isReason:
			name = line
			listed[name] = ""
		case name == "" || listed[name] != "":
			return nil, fmt.Errorf("equivalent.txt: %q belongs to no mutant", line)
		default:
			for other := range listed {
				if listed[other] == "" {
					listed[other] = reason
				}
			}
		}
	}
	for name, reason := range listed {
		if reason == "" {
			return nil, fmt.Errorf("equivalent.txt: %s has no reason", name)
		}
	}
	return listed, nil
}

// lines yields the lines that are neither empty nor comments.
func lines(text string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for scan := bufio.NewScanner(strings.NewReader(text)); scan.Scan(); {
			line := strings.TrimSpace(scan.Text())
			if line != "" && !strings.HasPrefix(line, "#") && !yield(line) {
				return
			}
		}
	}
}
