package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/wire"
)

// TestEveryOptionIsDocumented: an option cannot exist undocumented, and the
// manual cannot name one that does not exist.
func TestEveryOptionIsDocumented(t *testing.T) {
	manual, err := os.ReadFile("../docs/cli.md")
	require.NoError(t, err)
	shared := []string{"help", "version", "log-format", "log-level", "metrics", "pprof"}
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

// TestTheSampleStatus: what README shows of mirror --status lacked a line that everybody sees.
func TestTheSampleStatus(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	_, sample, ok := strings.Cut(string(readme), "$ tidemark-mirror --status /srv/copy\n")
	require.True(t, ok)
	sample, _, _ = strings.Cut(sample, "\n\n")
	top := t.TempDir()
	require.NoError(t, os.Mkdir(top+"/tree", 0o755))
	require.NoError(t, os.WriteFile(top+"/tree/f", nil, 0o644))
	for _, args := range []string{"watch --once tree", "mirror --once tree copy", "mirror --status copy"} {
		words := strings.Fields(args)
		cmd := exec.Command(words[0], words[1:]...)
		cmd.Dir = top
		out, err := cmd.Output()
		require.NoError(t, err, args)
		if words[1] == "--status" {
			const name = `(?m)^([a-z ]+): `
			require.Equal(t, found(name, string(out)), found(name, sample))
		}
	}
}

// TestDocumentedCommands executes what stands in the sh blocks of the pages that
// users copy commands from, with the paths and addresses of a script in the place of
// /srv and http://host:8077/. A program that is to go on running is started, what
// needs sudo or make is left out.
func TestDocumentedCommands(t *testing.T) {
	const tree = "sh 'mkdir -p srv/tree/dir srv/tree/a/b; echo 1 >srv/tree/dir/f; echo 2 >srv/tree/a/b/g'\n"
	const running = tree + "start watch tidemark-watch srv/tree\nstart serve tidemark-serve --listen 127.0.0.1:0 srv/tree\n" +
		"start mirror tidemark-mirror $URL srv/copy\nsame srv/tree srv/copy\n"
	const gone = "! exists srv/tree/.tidemark srv/copy/.tidemark\nsh 'test -z \"$(getfattr -R -m ^user.tidemark srv 2>/dev/null)\"'\n"
	const watched = tree + "start watch tidemark-watch srv/tree\n"
	const served = watched + "start serve tidemark-serve --listen 127.0.0.1:0 srv/tree\n"
	pages := []struct{ name, file, before, after string }{
		{"readme", "../README.md", tree, ""},
		{"operations", "../docs/operations.md", running, gone},
		{"protocol", "../docs/protocol.md", running, ""},
		{"sizing", "../docs/sizing.md", running, ""},
		{"man", "../docs/man/tidemark.7.md", tree, ""},
		{"man-watch", "../docs/man/tidemark-watch.1.md", tree, ""},
		{"man-serve", "../docs/man/tidemark-serve.1.md", watched, ""},
		{"man-mirror", "../docs/man/tidemark-mirror.1.md", served, ""},
		{"man-listing", "../docs/man/tidemark-listing.5.md", running, ""},
	}
	dir := t.TempDir()
	for _, page := range pages {
		text, err := os.ReadFile(page.file)
		require.NoError(t, err)
		if strings.Contains(page.file, "/man/") {
			text = fenced(text)
		}
		script := page.before + documented(t, string(text), page.after)
		require.NoError(t, os.WriteFile(filepath.Join(dir, page.name+".txtar"), []byte(script), 0o644))
	}
	testscript.Run(t, scriptsIn(dir))
}

// TestNoDocumentedCommandIsUntested: commands stand in pages of which a test takes them: this file runs them, make
// recipes does in a booted Debian, or they are those of developers.
func TestNoDocumentedCommandIsUntested(t *testing.T) {
	tested := strings.Fields("README.md operations.md protocol.md sizing.md install.md testing.md performance.md")
	for _, page := range pages(t) {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		if strings.Contains(string(text), "\n```sh\n") {
			require.Contains(t, tested, filepath.Base(page), "%s has commands that no test runs", page)
		}
	}
}

// TestDevelopersCommandsExist: the targets, packages, tests and programs in the commands for developers are there. They
// take hours, so they are not run.
func TestDevelopersCommandsExist(t *testing.T) {
	makefile, err := os.ReadFile("../Makefile")
	require.NoError(t, err)
	r := readRepository(t)
	found := 0
	for _, page := range []string{"../docs/testing.md", "../docs/performance.md"} {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		commands := ""
		for _, block := range regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
			commands += block[1]
		}
		for _, code := range regexp.MustCompile("`((?:make|go run|go test|sh) [^`]+)`").FindAllStringSubmatch(string(text), -1) {
			commands += strings.ReplaceAll(code[1], "\n", " ") + "\n"
		}
		for _, m := range regexp.MustCompile(`(?m)^make ([a-z-]+)`).FindAllStringSubmatch(commands, -1) {
			found++
			require.Regexp(t, `(?m)^`+m[1]+`:`, string(makefile), "%s: %s", page, m[0])
		}
		for _, m := range regexp.MustCompile(`(?m)(?:^sh |^[^#\n]*go (?:run|test) [^#\n]*?\./)([a-z][\w/]*)`).FindAllStringSubmatch(commands, -1) {
			found++
			require.True(t, r.has(m[1]), "%s: %s", page, m[0])
		}
		for _, m := range regexp.MustCompile(`-run '\^(Test\w+)\$'`).FindAllStringSubmatch(commands, -1) {
			found++
			require.True(t, r.declares("", m[1]), "%s: %s", page, m[0])
		}
	}
	require.Greater(t, found, 30)
}

// TestEachStateHasAPage: docs/states has a page for each state that the programs show, and no other; each is in its
// table and says what to do.
func TestEachStateHasAPage(t *testing.T) {
	index, err := os.ReadFile("../docs/states/README.md")
	require.NoError(t, err)
	want := []string{"README"}
	for _, state := range []wire.State{
		wire.Watched, wire.Auditing, wire.Degraded, wire.Audited, wire.Unwatched, wire.Filling, wire.Mirrored, wire.Stale,
	} {
		want = append(want, string(state))
		text, err := os.ReadFile("../docs/states/" + string(state) + ".md")
		require.NoError(t, err)
		require.Regexp(t, `^# `+string(state)+"\n", string(text))
		require.Contains(t, string(text), "**What you see.**", state)
		require.Contains(t, string(text), "**What to do.**", state)
		require.Contains(t, string(index), "["+string(state)+"]("+string(state)+".md)")
	}
	rules, err := os.ReadFile("../packaging/prometheus/tidemark.rules.yml")
	require.NoError(t, err)
	for _, alert := range regexp.MustCompile("`(Tidemark[A-Z]\\w+)`").FindAllStringSubmatch(string(index), -1) {
		require.Contains(t, string(rules), "alert: "+alert[1]+"\n")
	}
	declared := 0
	for file, source := range readRepository(t).source {
		if file == "pkg/mtree/wire/state.go" {
			declared = len(regexp.MustCompile(`(?m)^\t\w+ +State = "`).FindAllString(source, -1))
		}
	}
	require.Len(t, want, declared+1, "a state was added")
	pages, err := filepath.Glob("../docs/states/*.md")
	require.NoError(t, err)
	require.Len(t, pages, len(want))
}

// forRoot are commands for root with a text for their input.
var forRoot = regexp.MustCompile(`(?ms)^[^\n]*\bsudo\b[^\n]*<<'END'\n.*?^END\n`)

// documented returns a script of the commands in the sh blocks of a page.
func documented(t *testing.T, text, after string) string {
	notHere := regexp.MustCompile(`\bsudo\b|^make\b|example\.org`)
	lives := regexp.MustCompile(`^tidemark-(watch|serve|mirror) `)
	ends := regexp.MustCompile(` --(status|check|sync|since|wait-for|once|release|verify)\b`)
	var script, files strings.Builder
	blocks := 0
	for _, part := range regexp.MustCompile("(?ms)^## Uninstalling$|^```sh\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
		if part[1] == "" {
			script.WriteString("term mirror\nterm serve\nterm watch\n")
			continue
		}
		var commands []string
		for line := range strings.Lines(forRoot.ReplaceAllString(part[1], "")) {
			line = here(line)
			name := lives.FindStringSubmatch(line)
			switch {
			case line == "" || notHere.MatchString(line):
			case name != nil && !ends.MatchString(line):
				script.WriteString("start " + name[1] + " " + line + "\n")
				if name[1] == "mirror" {
					script.WriteString("same srv/tree srv/copy\n")
				}
			default:
				commands = append(commands, line)
			}
		}
		if len(commands) > 0 {
			blocks++
			file := "block" + string(rune('a'+blocks))
			script.WriteString("sh '. ./" + file + "'\n")
			files.WriteString("-- " + file + " --\n" + strings.Join(commands, "\n") + "\n")
		}
	}
	require.NotZero(t, blocks)
	return script.String() + after + files.String()
}

// fenced returns the examples of a man page with fences around what is indented there.
func fenced(text []byte) []byte {
	_, rest, _ := strings.Cut(string(text), "\n# EXAMPLES\n")
	examples, _, _ := strings.Cut(rest, "\n# ")
	block := regexp.MustCompile(`(?m)(^    .*\n)+`)
	return []byte(block.ReplaceAllStringFunc(examples, func(lines string) string { return "```sh\n" + lines + "```\n" }))
}

// here returns a documented command with the places of a script, without a comment.
func here(line string) string {
	line, _, _ = strings.Cut(strings.TrimSpace(line), "  #")
	for _, change := range [][2]string{{"/srv/", "$WORK/srv/"}, {"http://host:8077/", "${URL}"}, {"--listen :8077", "--listen 127.0.0.1:0"}} {
		line = strings.ReplaceAll(line, change[0], change[1])
	}
	if strings.Contains(line, "${URL}") {
		line = strings.ReplaceAll(line, "'", `"`)
	}
	return strings.TrimSpace(line)
}

// TestLinksInTheDocsLead somewhere, to a heading too.
func TestLinksInTheDocsLead(t *testing.T) {
	for _, page := range pages(t) {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, m := range regexp.MustCompile(`\]\(([^)#]*)#?([^)]*)\)`).FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			target := page
			if m[1] != "" {
				target = filepath.Join(filepath.Dir(page), m[1])
			}
			led, err := os.ReadFile(target)
			if info, statErr := os.Stat(target); statErr == nil && info.IsDir() {
				continue
			}
			require.NoError(t, err, "%s links to %s", page, m[1])
			require.True(t, m[2] == "" || headings(string(led))[m[2]], "%s links to %s#%s", page, m[1], m[2])
		}
	}
}

// pages returns all pages of the documentation.
func pages(t *testing.T) []string {
	pages, err := filepath.Glob("../docs/*.md")
	require.NoError(t, err)
	states, err := filepath.Glob("../docs/states/*.md")
	require.NoError(t, err)
	pages = append(pages, states...)
	return append(pages, "../README.md", "../CHANGELOG.md", "../SECURITY.md")
}

// headings returns the anchors of a page.
func headings(text string) map[string]bool {
	anchors := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(text, -1) {
		plain := regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(strings.ToLower(m[1]), "")
		anchors[strings.ReplaceAll(plain, " ", "-")] = true
	}
	return anchors
}

// TestInvariantsNameTestsThatExist: each number in docs/invariants.md has a
// test, and the test is there.
func TestInvariantsNameTestsThatExist(t *testing.T) {
	text, err := os.ReadFile("../docs/invariants.md")
	require.NoError(t, err)
	for _, number := range strings.Fields("W1 W2 W3 W4 W5 W6 W7 S1 S2 S3 S4 S5 M1 M2 M3 M4 M5 M6 M7 M8 M9 M10 M11 M12 M13 M14 J3 J4") {
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
