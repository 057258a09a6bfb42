package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDocsNameWhatIsThere: files, packages, Go names, tests and metrics that a page
// names exist; so do the headings of pages that comments name.
func TestDocsNameWhatIsThere(t *testing.T) {
	r := readRepository(t)
	for _, page := range append(pages(t), "../docs/examples/mirror.py", "../docs/examples/nginx.conf") {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, name := range r.unknown(page, string(text)) {
			t.Errorf("%s names %s, which is not there", page, name)
		}
	}
	heading := regexp.MustCompile(`docs/([a-z-]+\.md)(?:, "([^"]+)")?`)
	for file, source := range r.source {
		plain := regexp.MustCompile(`\n\s*//`).ReplaceAllString(source, "")
		for _, m := range heading.FindAllStringSubmatch(plain, -1) {
			text, err := os.ReadFile("../docs/" + m[1])
			if err != nil || m[2] != "" && !strings.Contains(string(text), "# "+m[2]+"\n") {
				t.Errorf("%s refers to %s, which is not there", file, m[0])
			}
		}
	}
}

// repository is what there is to be named.
type repository struct {
	paths  []string          // of files and directories, with a slash before them
	source map[string]string // Go files

	declared map[string]map[string]bool // names by directory: what Go files there declare
}

// declaration is what begins a declaration, and its name.
var declaration = regexp.MustCompile(`(?m)^(?:func (?:\([^)]*\) )?|type |\t|var |const )(\w+)`)

func readRepository(t *testing.T) *repository {
	r := &repository{source: map[string]string{}, declared: map[string]map[string]bool{}}
	require.NoError(t, filepath.WalkDir("..", func(path string, d os.DirEntry, err error) error {
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "bin" || d.Name() == ".demo") {
			return filepath.SkipDir
		}
		r.paths = append(r.paths, strings.TrimPrefix(path, ".."))
		if err == nil && strings.HasSuffix(path, ".go") {
			source, err := os.ReadFile(path)
			path = strings.TrimPrefix(path, "../")
			r.source[path] = string(source)
			names := r.declared[filepath.Dir(path)]
			if names == nil {
				names = map[string]bool{}
				r.declared[filepath.Dir(path)] = names
			}
			for _, m := range declaration.FindAllSubmatch(source, -1) {
				names[string(m[1])] = true
			}
			return err
		}
		return err
	}))
	return r
}

// has reports whether there is a file or directory of that name: from the root of the
// repository, or a path in it that ends so.
func (r *repository) has(name string) bool {
	name = "/" + strings.Trim(name, "/")
	return slices.ContainsFunc(r.paths, func(path string) bool { return strings.HasSuffix(path, name) })
}

// declares reports whether a Go file in dir declares name; any file, if dir is "".
func (r *repository) declares(dir, name string) bool {
	for in, names := range r.declared {
		if names[name] && (dir == "" || strings.HasSuffix(in, dir)) {
			return true
		}
	}
	return false
}

// unknown returns what a page names and is not there.
func (r *repository) unknown(page, text string) (names []string) {
	check := func(pattern string, known func(m []string) bool) {
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
			if !known(m) {
				names = append(names, m[0])
			}
		}
	}
	check("`([\\w./-]+\\.(?:go|txtar|py|conf|sh))`", func(m []string) bool {
		if strings.HasPrefix(m[1], "/usr/lib/") { // where it is installed
			return r.has(filepath.Base(m[1]))
		}
		return r.has(m[1])
	})
	check("`((?:pkg|internal|cmd|e2e|bench|docs|tools|watch|serve|mirror|notify|disk)/[\\w/.-]+)`", func(m []string) bool {
		return strings.Contains(m[1], "...") || strings.HasSuffix(m[1], "*") || r.has(m[1])
	})
	check(`\b((?:Test|Fuzz)[A-Z]\w+)`, func(m []string) bool { return r.declares("", m[1]) })
	check("`([a-z]+)\\.([A-Z]\\w+)[`.({]", func(m []string) bool { return !r.has(m[1]) || r.declares("/"+m[1], m[2]) })
	check(`tidemark_(watch|serve|mirror)_([a-z_]+[a-z])`, func(m []string) bool {
		for file, source := range r.source {
			if (strings.HasPrefix(file, "pkg/mtree/"+m[1]) || file == "internal/metrics/room.go") && strings.Contains(source, `"`+m[2]+`"`) {
				return true
			}
		}
		return false
	})
	if strings.Contains(page, "life-of-") {
		for _, m := range regexp.MustCompile(`\(([^()]*)\)`).FindAllStringSubmatch(text, -1) {
			for _, name := range regexp.MustCompile("`([a-zA-Z]+)`").FindAllStringSubmatch(m[1], -1) {
				if !r.declares("", name[1]) {
					names = append(names, name[1])
				}
			}
		}
	}
	return names
}

// TestSymptomsQuoteWhatIsSaid: what the table of symptoms quotes is a piece of some
// message of ours.
func TestSymptomsQuoteWhatIsSaid(t *testing.T) {
	text, err := os.ReadFile("../docs/operations.md")
	require.NoError(t, err)
	_, table, found := strings.Cut(string(text), "\n## Symptom, cause, remedy\n")
	require.True(t, found)
	var all strings.Builder
	for file, source := range readRepository(t).source {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		all.WriteString(regexp.MustCompile(`"\s*\+\s*"`).ReplaceAllString(source, ""))
	}
	others := []string{"403 Forbidden", "304 Not Modified"} // net/http says these
	for _, row := range regexp.MustCompile(`(?m)^\| ([^|]+) \|`).FindAllStringSubmatch(table, -1) {
		for _, quote := range regexp.MustCompile(`"([^"]+)"`).FindAllStringSubmatch(row[1], -1) {
			for piece := range strings.SplitSeq(quote[1], " … ") {
				if !slices.Contains(others, piece) && !strings.Contains(all.String(), piece) {
					t.Errorf("docs/operations.md quotes %q, which nobody says", piece)
				}
			}
		}
	}
}

// TestOverviewHasEveryPackage: docs/overview.md has a line for each package of the
// module but demos, benchmarks and the like.
func TestOverviewHasEveryPackage(t *testing.T) {
	text, err := os.ReadFile("../docs/overview.md")
	require.NoError(t, err)
	packages := map[string]bool{}
	for file := range readRepository(t).source {
		packages[filepath.Dir(file)] = true
	}
	for path := range packages {
		if !strings.HasPrefix(path, "pkg/") && !strings.HasPrefix(path, "internal/") || strings.Contains(path, "testdata") {
			continue
		}
		name := strings.TrimPrefix(path, "pkg/mtree/")
		if !strings.Contains(string(text), "`"+name+"`") {
			t.Errorf("docs/overview.md has no line for %s", path)
		}
	}
}
