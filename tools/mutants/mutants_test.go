package main

import (
	"go/parser"
	"go/token"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sourceOf loads a file with these lines in a package p.
func sourceOf(t *testing.T, lines ...string) *source {
	t.Helper()
	dir := t.TempDir()
	text := "package p\n\n" + strings.Join(lines, "\n") + "\n"
	if err := os.WriteFile(filepath.Join(dir, "p.go"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	ids := 0
	s, err := load(dir, "p.go", &ids)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Each way to mark a guard, and what is compiled in its place.
func TestMarks(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"if a && b { // guard: TestX", "if mutantFalse(1, a && b) {"},
		{"if a && b { // guard (always): TestX", "if mutantTrue(1, a && b) {"},
		{"if a && b { // guard (without b): TestX", "if a && mutantTrue(1, b) {"},
		{"if a || b { // guard (without a): TestX", "if mutantFalse(1, a) || b {"},
		{"if n+1 > 2 { // guard (without + 1): TestX", "if mutantPlus(1, n,1) > 2 {"},
		{"if a && b { // guard (a && b -> b): TestX", "if func() bool { if mutantIs(1) { return b }; return (a && b) }() {"},
		{"// guard: TestX, TestY/part\n\tif a {", "if mutantFalse(1, a) {"},
		{"if a ||\n\t\tb { // guard: TestX", "mutantFalse(1, b) {"},
		{"f() // guard: TestX\n\tif a {", "if !mutantIs(1) { f() }"},
		{"n = 2 // guard (2 -> 3): TestX\n\tif a {", "if mutantIs(1) { n = 3 } else { n = 2 }"},
		{"m := n // guard (n -> 7): TestX\n\tif a || m > 0 {", "m := n; if mutantIs(1) { m = 7 }"},
		{"if a {\n\t\treturn // guard: TestX\n\t}\n\tif b {", "if !mutantIs(1) { return }"},
	} {
		s := sourceOf(t, "func g(a, b bool, n int, f func()) {", "\t"+c.line, "\t\tf()", "\t}", "}")
		if err := s.marks(); err != nil {
			t.Fatalf("%s: %v", c.line, err)
		}
		got := apply(s.text, s.edits)
		if !strings.Contains(got, c.want) {
			t.Errorf("%s\nbecame\n%s", c.line, got)
		}
		if len(s.mutants) != 1 || s.mutants[0].tests[0] != "TestX" {
			t.Errorf("%s: %d mutants", c.line, len(s.mutants))
		}
		if strings.Count(got, "\n") != strings.Count(string(s.text), "\n") {
			t.Errorf("%s: lines were added", c.line)
		}
	}
}

// A mark that cannot mean what it says is an error, and not a guard that nobody tries.
func TestMarksThatMeanNothing(t *testing.T) {
	for _, line := range []string{
		"if a { // guard (without c): TestX", "if a { // guard (c -> d): TestX", "if a { // guard (perhaps): TestX", "m := 1; _ = m // guard: TestX",
	} {
		open := ""
		if strings.HasPrefix(line, "if") {
			open = "\t}"
		}
		s := sourceOf(t, "func g(a bool) {", "\t"+line, open, "}")
		if s.marks() == nil {
			t.Errorf("%s is accepted", line)
		}
	}
}

// What is generated for a function still parses, adds no line, and each mutant is in it.
func TestGenerated(t *testing.T) {
	s := sourceOf(t,
		"func g(a, b bool, n int, f func() error) (int, bool, error) {",
		"\tif a && (b || n <= 3) {", "\t\tn++", "\t\treturn n + 1, false, f()", "\t}",
		"\tfor n < 7 && !a {", "\t\tif b {", "\t\t\tn = 5", "\t\t\tbreak", "\t\t}", "\t}",
		"\tswitch {", "\tcase n == 2, b:", "\t\treturn 0, true, nil", "\tdefault:", "\t\treturn 1, n != 3, f()", "\t}", "}")
	s.generate()
	got := apply(s.text, s.edits)
	if _, err := parser.ParseFile(token.NewFileSet(), "p.go", got, 0); err != nil {
		t.Fatalf("%v\n%s", err, got)
	}
	if strings.Count(got, "\n") != strings.Count(string(s.text), "\n") {
		t.Error("lines were added")
	}
	var kinds []string
	for _, m := range s.mutants {
		kind, _, _ := strings.Cut(m.what, ":")
		kinds = append(kinds, kind)
	}
	for _, kind := range []string{"never", "always", "without", "bound", "removed", "nil", "not", "without 1"} {
		if !strings.Contains(strings.Join(kinds, ","), kind) {
			t.Errorf("nothing is generated of the kind %q", kind)
		}
	}
	if strings.Contains(got, "if !mutantIs(") && strings.Contains(got, "{ return 1,") {
		t.Error("the return at the end of the function was left out")
	}
}

// A mutant that a test of another package had killed counted as killed when that package no
// longer counted: survivors of ten minutes' work were not shown.
func TestAnEarlierKillerHasToCount(t *testing.T) {
	root := t.TempDir()
	test := testAt{dir: "pkg/a", path: filepath.Join(root, "a_test.go")}
	write := func(text string) {
		if err := os.WriteFile(test.path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("func TestX")
	x := &testIndex{tests: map[string][]testAt{"TestX": {test}}}
	r, other := reach{binary: &binary{dir: "pkg/a"}, test: "TestX"}, reach{binary: &binary{dir: "pkg/a"}, test: "TestY"}
	c := &cache{have: map[string]string{"key": killedBy(x, r)}}
	check := func(want, key string, count ...reach) {
		t.Helper()
		if by := earlierKiller(c, x, count, key); by != want {
			t.Errorf("killed by %q, not %q", by, want)
		}
	}
	check("a.TestX", "key", other, r)
	check("", "nobody tried it", r)
	check("", "key", other)
	write("func TestX, changed")
	check("", "key", r)
}

// Comments change no result of an earlier run.
func TestCommentsAreNoCode(t *testing.T) {
	one := sourceOf(t, "func g(a bool) {", "\tif a {", "\t}", "}")
	two := sourceOf(t, "// g does nothing.", "func g(a bool) {", "\tif a { // guard: TestX", "\t}", "}")
	if one.code != two.code {
		t.Errorf("%q\n%q", one.code, two.code)
	}
}

// Where nothing was mutated, nothing was proved.
func TestNothingMutated(t *testing.T) {
	if !(&report{out: io.Discard}).end() {
		t.Error("no mutant is no failure")
	}
	if (&report{out: io.Discard, killed: 1}).end() {
		t.Error("a mutant that was killed is a failure")
	}
}
