package main

import (
	"fmt"
	"go/ast"
	"go/build/constraint"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// testAt is where a test is.
type testAt struct {
	name string // for -test.run, between anchors
	dir  string // its package, relative to the root
	tags string // build tags that its file needs, with commas
	path string // its file
}

// testIndex finds tests by name.
type testIndex struct {
	root  string
	tests map[string][]testAt
}

// indexTests reads the names of all tests of the module.
func indexTests(root string) (*testIndex, error) {
	x := &testIndex{root: root, tests: map[string][]testAt{}}
	for _, top := range []string{"pkg", "internal", "cmd", "e2e", "proof"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
				return ignoreMissing(err)
			}
			return x.read(path)
		})
		if err != nil {
			return nil, err
		}
	}
	return x, nil
}

func ignoreMissing(err error) error {
	if os.IsNotExist(err) {
		return nil
	}
	return err
}

var testName = regexp.MustCompile(`^(Test|Fuzz)[A-Z]`)

func (x *testIndex) read(path string) error {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	dir, err := filepath.Rel(x.root, filepath.Dir(path))
	if err != nil {
		return err
	}
	tags := tagsOf(file)
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && testName.MatchString(f.Name.Name) {
			x.tests[f.Name.Name] = append(x.tests[f.Name.Name], testAt{f.Name.Name, dir, tags, path})
		}
	}
	return nil
}

// tagsOf returns the tags that the constraint of a file names.
func tagsOf(file *ast.File) string {
	var tags []string
	for _, group := range file.Comments {
		for _, c := range group.List {
			if expr, err := constraint.Parse(c.Text); err == nil && c.Pos() < file.Package {
				expr.Eval(func(tag string) bool {
					if tag != "linux" && tag != "race" {
						tags = append(tags, tag)
					}
					return true
				})
			}
		}
	}
	slices.Sort(tags)
	return strings.Join(slices.Compact(tags), ",")
}

// find returns the test that a mark in a file names: TestX, TestX/part, dir.TestX if
// several packages have one, or script.txtar.
func (x *testIndex) find(name, file string) (testAt, error) {
	if script, ok := strings.CutSuffix(name, ".txtar"); ok {
		if _, err := os.Stat(filepath.Join(x.root, "e2e/testdata", name)); err != nil {
			return testAt{}, fmt.Errorf("no such script: %s", name)
		}
		return testAt{name: "TestScripts/" + script, dir: "e2e"}, nil
	}
	dir := ""
	if i := strings.LastIndex(name, "."); i >= 0 {
		dir, name = name[:i], name[i+1:]
	}
	top, _, _ := strings.Cut(name, "/")
	all := x.tests[top]
	if dir != "" {
		all = slices.DeleteFunc(slices.Clone(all), func(t testAt) bool { return t.dir != dir && !strings.HasSuffix(t.dir, "/"+dir) })
	}
	if len(all) == 0 {
		return testAt{}, fmt.Errorf("no such test: %s", name)
	}
	// The one that is nearest above the file.
	near := filepath.Dir(file)
	for len(all) > 1 && near != "." {
		if i := slices.IndexFunc(all, func(t testAt) bool { return t.dir == near }); i >= 0 {
			all = all[i : i+1]
		}
		near = filepath.Dir(near)
	}
	if len(all) > 1 {
		return testAt{}, fmt.Errorf("%s is in several packages: write serve.%s", name, name)
	}
	at := all[0]
	at.name = name
	return at, nil
}

// textOf returns the file of a test.
func (x *testIndex) textOf(test, dir string) string {
	for _, t := range x.tests[test] {
		if t.dir == dir {
			text, _ := os.ReadFile(t.path)
			return string(text)
		}
	}
	return ""
}

// tagsOf returns the tags that a test of a package needs.
func (x *testIndex) tagsOf(test, dir string) string {
	for _, t := range x.tests[test] {
		if t.dir == dir {
			return t.tags
		}
	}
	return ""
}
