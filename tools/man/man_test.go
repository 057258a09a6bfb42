package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// made runs make man once, and returns the directory of the pages.
func made(t *testing.T) string {
	t.Helper()
	if out, err := makeMan(); err != nil {
		t.Fatalf("make man: %v\n%s", err, out)
	}
	return "../../build/man"
}

var makeMan = sync.OnceValues(func() ([]byte, error) {
	cmd := exec.Command("make", "-s", "-C", "../..", "man")
	cmd.Env = append(os.Environ(), "MAKEFLAGS=", "CGO_ENABLED=0")
	return cmd.CombinedOutput()
})

// spaces is white space of any length.
var spaces = regexp.MustCompile(`\s+`)

// section returns a section of a page as people read it, each white space as one blank.
func section(t *testing.T, page, heading string) string {
	t.Helper()
	out, err := exec.Command("mandoc", "-T", "utf8", "-O", "width=1000", page).Output()
	if err != nil {
		t.Fatal(page, err)
	}
	text := regexp.MustCompile(".\x08").ReplaceAllString(string(out), "") // bold and underlined
	_, rest, ok := strings.Cut(text, "\n"+heading+"\n")
	if !ok {
		t.Fatalf("%s has no %s", page, heading)
	}
	if end := regexp.MustCompile(`\n\S`).FindStringIndex(rest); end != nil {
		rest = rest[:end[0]]
	}
	return " " + spaces.ReplaceAllString(rest, " ") + " "
}

// The manual of a program has each option that --help tells, with its value, its words and its default, in that
// order, and no other.
func TestPagesTellWhatHelpTells(t *testing.T) {
	pages := made(t)
	for _, name := range []string{"watch", "serve", "mirror"} {
		help, err := exec.Command("../../bin/"+name, "--help").Output()
		if err != nil {
			t.Fatal(err)
		}
		page := section(t, filepath.Join(pages, "tidemark-"+name+".1"), "OPTIONS")
		told := 0
		for line := range strings.Lines(string(help)) {
			line = strings.TrimSpace(line)
			if !strings.HasPrefix(line, "-") {
				continue
			}
			told++
			term, text, _ := strings.Cut(line, "  ")
			term = strings.Replace(term, " int", " N", 1)
			text, other, _ := strings.Cut(strings.TrimSpace(text), " (default ")
			text = strings.ToUpper(text[:1]) + text[1:] + "."
			if other = strings.Trim(other, `")`); other != "" && other != "0s" {
				text += " Default: " + other + "."
			}
			before, after, ok := strings.Cut(page, " "+term+" "+text)
			if !ok {
				t.Errorf("tidemark-%s(1) does not have: %s %s\n%s", name, term, text, page)
				continue
			}
			if m := regexp.MustCompile(` --[a-z-]+( \S+)? [A-Z]`).FindString(before); told > 1 && m != "" {
				t.Errorf("tidemark-%s(1) has what --help does not tell: %s", name, m)
			}
			page = after
		}
		if told < 10 || strings.TrimSpace(page) != "" {
			t.Errorf("tidemark-%s(1): %d options, and then: %s", name, told, page)
		}
	}
}

// The exit codes are those of docs/cli.md.
func TestPagesHaveTheExitCodes(t *testing.T) {
	pages := made(t)
	manual, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(manual), "## Exit codes")
	rows := regexp.MustCompile(`(?m)^\| (\d.*?) \| (.*?) \|$`).FindAllStringSubmatch(table, -1)
	if len(rows) != 8 {
		t.Fatalf("%d rows of exit codes", len(rows))
	}
	for _, name := range []string{"watch", "serve", "mirror"} {
		page := section(t, filepath.Join(pages, "tidemark-"+name+".1"), "EXIT STATUS")
		for _, row := range rows {
			text := strings.ReplaceAll(row[2], "`", "")
			if want := " " + row[1] + " " + strings.ToUpper(text[:1]) + text[1:] + "."; !strings.Contains(page, want) {
				t.Errorf("tidemark-%s(1) does not have %q: %s", name, want, page)
			}
		}
	}
}

// All five are there. man and mandoc say nothing of them, and what they refer to exists.
func TestPagesAreSound(t *testing.T) {
	pages := made(t)
	found, err := filepath.Glob(pages + "/*.[1-9]")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, page := range found {
		names = append(names, filepath.Base(page))
	}
	want := []string{"tidemark-listing.5", "tidemark-mirror.1", "tidemark-serve.1", "tidemark-watch.1", "tidemark.7"}
	if !slices.Equal(names, want) {
		t.Fatalf("pages: %v", names)
	}
	for _, page := range found {
		man := exec.Command("man", "--warnings", "--local-file", "--encoding=UTF-8", "--troff-device=utf8", "--ditroff", page)
		man.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "MANWIDTH=80")
		var warnings strings.Builder
		man.Stderr = &warnings
		if err := man.Run(); err != nil || warnings.Len() > 0 {
			t.Errorf("man --warnings %s: %v %s", page, err, &warnings)
		}
		if out, err := exec.Command("mandoc", "-T", "lint", "-W", "warning", page).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("mandoc -T lint %s: %v %s", page, err, out)
		}
		text := section(t, page, "SEE ALSO")
		for _, m := range regexp.MustCompile(`(tidemark[a-z-]*)\((\d)\)`).FindAllStringSubmatch(text, -1) {
			if !slices.Contains(names, m[1]+"."+m[2]) {
				t.Errorf("%s refers to %s", page, m[0])
			}
		}
	}
}

// Markdown in the words of an option stays what it is, and a line that is no option is an error: it would be
// missing in the page.
func TestOptionsOfHelp(t *testing.T) {
	const help = "x\n\nOptions (each also as X in the environment):\n" +
		"  -0, --null             end each *path* with <NUL>, e.g. a_b\n" +
		"      --level a|b        least level: a|b (default \"a\")\n" +
		"      --wait TIME        TIME between (these) (default 5ms)\n"
	options, err := parseOptions(help)
	if err != nil {
		t.Fatal(err)
	}
	want := []option{
		{"0", "null", "", "end each *path* with <NUL>, e.g. a_b", ""},
		{"", "level", "a|b", "least level: a|b", "a"},
		{"", "wait", "TIME", "TIME between (these)", "5ms"},
	}
	if !slices.Equal(options, want) {
		t.Errorf("%+v", options)
	}
	if text := options[0].markdown(); text != "**-0**, **--null**\n:   End each \\*path\\* with \\<NUL\\>, e.g. a\\_b.\n\n" {
		t.Errorf("%q", text)
	}
	for _, bad := range []string{"no options", help + "      a line\n"} {
		if _, err := parseOptions(bad); err == nil {
			t.Errorf("accepted: %q", bad)
		}
	}
}
