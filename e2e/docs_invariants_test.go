package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// sorts of tests, and which names belong to one. All other tests are unit tests.
var sorts = []struct{ name, pattern string }{
	{"unit", `^Test`},
	{"script", `\.txtar$`},
	{"world", `^TestWorld$`},
	{"wire", `^(TestWire|TestStorm)$`},
	{"calls", `^(TestWatch|TestServe|TestMirror|TestFound)$`},
	{"simulation", `^(TestSimulation|TestSimulated)`},
	{"power", `^(TestPowerCut|TestCutsAtTheSource|TestBytesLost|TestDamagedState|TestKills)`},
	{"hostile", `^(TestServers|TestClients|TestEndlessTree)`},
	{"fuzz", `^Fuzz`},
}

// TestInvariantsTellTheirSorts: the second table in docs/invariants.md says which sorts of
// tests show an invariant. It is made from the names in the first.
func TestInvariantsTellTheirSorts(t *testing.T) {
	text, err := os.ReadFile("../docs/invariants.md")
	require.NoError(t, err)
	marked := testsOfMarks(t)
	var table strings.Builder
	for _, row := range regexp.MustCompile(`(?m)^\| ([WSMJ]\d+) \| \*\*([^*]+?):?\*\*.*\| (.*) \|$`).FindAllStringSubmatch(string(text), -1) {
		names := regexp.MustCompile(`\w[\w-]*\.txtar|(Test|Fuzz)[A-Z]\w+`).FindAllString(row[3], -1)
		_, _ = fmt.Fprintf(&table, "| %s %s |", row[1], strings.ToLower(row[2]))
		has := map[string]bool{}
		for _, name := range names {
			has[sortOf(name)] = true
			has["mutants"] = has["mutants"] || marked[name]
		}
		for _, sort := range append(sortNames(), "mutants") {
			cell := " |"
			if has[sort] {
				cell = " • |"
			}
			table.WriteString(cell)
		}
		table.WriteString("\n")
	}
	require.True(t, strings.Contains(string(text), table.String()), "the table of sorts in docs/invariants.md has to be:\n%s", table.String())
}

// sortOf returns the sort of a test: the last whose pattern its name matches.
func sortOf(name string) string {
	for _, sort := range slices.Backward(sorts) {
		if regexp.MustCompile(sort.pattern).MatchString(name) {
			return sort.name
		}
	}
	return ""
}

func sortNames() []string {
	names := make([]string, len(sorts))
	for i, sort := range sorts {
		names[i] = sort.name
	}
	return names
}

// testsOfMarks returns the tests that marks on guards name (tools/mutants).
func testsOfMarks(t *testing.T) map[string]bool {
	tests := map[string]bool{}
	mark := regexp.MustCompile(`// guard(?: \(.*\))?: (.+)`)
	require.NoError(t, filepath.WalkDir("../pkg", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, found := range mark.FindAllStringSubmatch(string(source), -1) {
			for _, name := range strings.Split(found[1], ", ") {
				name, _, _ = strings.Cut(name, "/")
				tests[name[strings.LastIndex(strings.TrimSuffix(name, ".txtar"), ".")+1:]] = true
			}
		}
		return err
	}))
	return tests
}
