package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEveryOptionIsDocumented: an option cannot exist undocumented, and the
// manual cannot name one that does not exist.
func TestEveryOptionIsDocumented(t *testing.T) {
	manual, err := os.ReadFile("../docs/cli.md")
	require.NoError(t, err)
	shared := []string{"help", "version", "log-format", "log-level", "metrics"}
	sections := regexp.MustCompile(`(?m)^## (watch|serve|mirror) `).FindAllStringSubmatchIndex(string(manual), -1)
	require.Len(t, sections, 3)
	for i, at := range sections {
		name := string(manual[at[2]:at[3]])
		end := strings.Index(string(manual), "\n## Exit codes")
		if i+1 < len(sections) {
			end = sections[i+1][0]
		}
		documented := found("`--([a-z][a-z-]*)", string(manual[at[0]:end]))
		help, err := exec.Command(name, "--help").Output()
		require.NoError(t, err)
		offered := found(`(?m)^ +(?:-\w, )?--([a-z][a-z-]*)`, string(help))
		require.NotEmpty(t, offered)
		for option := range offered {
			if !slices.Contains(shared, option) {
				require.True(t, documented[option], "%s --%s is not in docs/cli.md", name, option)
			}
			delete(documented, option)
		}
		require.Empty(t, documented, "docs/cli.md names options that %s does not have", name)
	}
	for _, option := range shared {
		require.True(t, strings.Contains(string(manual), "--"+option) || option == "version", option)
	}
}

// found returns what the first group of pattern matches in text.
func found(pattern, text string) map[string]bool {
	set := map[string]bool{}
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		set[m[1]] = true
	}
	return set
}

// TestLinksInTheDocsLead somewhere.
func TestLinksInTheDocsLead(t *testing.T) {
	pages, err := filepath.Glob("../docs/*.md")
	require.NoError(t, err)
	pages = append(pages, "../README.md", "../CHANGELOG.md")
	for _, page := range pages {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, m := range regexp.MustCompile(`\]\(([^)#]+)(#[^)]*)?\)`).FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			_, err := os.Stat(filepath.Join(filepath.Dir(page), m[1]))
			require.NoError(t, err, "%s links to %s", page, m[1])
		}
	}
}

// TestInvariantsNameTestsThatExist: each number in docs/invariants.md has a
// test, and the test is there.
func TestInvariantsNameTestsThatExist(t *testing.T) {
	text, err := os.ReadFile("../docs/invariants.md")
	require.NoError(t, err)
	for _, number := range strings.Fields("W1 W2 W3 W4 W5 W6 W7 S1 S2 S3 S4 S5 M1 M2 M3 M4 M5 M6 M7 M8 M9 M10 M11") {
		require.Regexp(t, `(?m)^\| `+number+` \|.*(Test[A-Z]\w+|\w+\.txtar)`, string(text), "%s names no test", number)
	}
	var tests strings.Builder
	require.NoError(t, filepath.WalkDir("..", func(path string, d os.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, "_test.go") || strings.Contains(path, "notifytest/") && strings.HasSuffix(path, ".go") {
			source, err := os.ReadFile(path)
			tests.Write(source)
			return err
		}
		return err
	}))
	for _, name := range regexp.MustCompile(`Test[A-Z]\w+`).FindAllString(string(text), -1) {
		require.True(t, strings.Contains(tests.String(), "func "+name+"("), "docs/invariants.md names %s, which is not there", name)
	}
	for _, script := range regexp.MustCompile(`\w[\w-]*\.txtar`).FindAllString(string(text), -1) {
		_, err := os.Stat("testdata/" + script)
		require.NoError(t, err, "docs/invariants.md names a script that is not there")
	}
}
