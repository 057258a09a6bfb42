package calls_test

import (
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/proof"
)

// serveRun is a serve that faults are put into. Another serve, of the same tree and
// without faults, says what its answers should be: each is that, or an error.
type serveRun struct{ std bool }

func serveScenarios() []scenario {
	return []scenario{{"serve-fast", serveRun{}.run}, {"serve-std", serveRun{std: true}.run}}
}

func TestServe(t *testing.T) { rounds(t, 8, serveScenarios()) }

// question is a request, and what is left out of the comparison of its answers.
type question struct{ target, body string }

// questions are those that read the tree in all ways.
func questions(before string) []question {
	return []question{
		{"/?txt", ""}, {"/?json", ""}, {"/?html", ""}, {"/a/?txt", ""}, {"/a/b/c/?txt", ""}, {"/many/?txt", ""}, {"/?txt", ""},
		{"/a/f1", ""}, {"/big", ""}, {"/a/mode", ""}, {"/nothing", ""},
		{"/?tar", ""}, {"/?tar", "a/f1\nbig\nmany/5\na/b/f\n"},
		{"/many/?sums", ""}, {"/?sums&tags", "a/f1\nbig\nmany/5\n"},
		{"/?txt&since=" + before, ""}, {"/?txt&recent=1000", ""}, {"/?status", ""},
	}
}

// answer is what matters of an answer. An answer that broke off has no status.
type answer struct {
	status int
	tag    string
	body   string
}

// volatile is what differs between two good answers. The button for the newest changes is there once the state of the
// tree could be read.
var volatile = regexp.MustCompile(`<form><button name="recent"[^\n]*\n|now=[0-9.]+|"now": ?"[0-9.]+"|"uptime[^,]*,|"(lag|age)": ?[0-9.]+`)

func ask(t *testing.T, url string, q question) answer {
	t.Helper()
	method := http.MethodGet
	if q.body != "" {
		method = http.MethodPost
	}
	ctx := t.Context()
	r, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(url, "/")+q.target, strings.NewReader(q.body))
	require.NoError(t, err)
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	reply, err := client.Do(r)
	if err != nil {
		return answer{}
	}
	defer reply.Body.Close()
	body, err := io.ReadAll(reply.Body)
	if err != nil {
		return answer{}
	}
	return answer{reply.StatusCode, reply.Header.Get("ETag"), volatile.ReplaceAllString(string(body), "")}
}

// ids are of directories. Serve makes them of the tree's id, which it may not know.
var ids = regexp.MustCompile(`\tid=[0-9a-f]+|"id": ?"[0-9a-f]+",? ?`)

// isError reports whether an answer says that it is none.
func (a answer) isError() bool { return a.status == 0 || a.status >= 400 }

func (r serveRun) run(t *testing.T, f *fault) {
	base := tempDir(t)
	src := filepath.Join(base, "src")
	plant(t, src)
	must(t, 0, "watch", "--once", src)
	before := stampIn(look(t, src)["."])
	change(t, src)
	must(t, 0, "watch", "--once", src)
	args := []string{"serve", "--listen", "127.0.0.1:0", "--tar"}
	if r.std {
		args = append(args, "--http", "std")
	}
	args = append(args, src)
	right := launchServe(t, args, nil)
	f.supervise(t, base)
	p := launchServe(t, f.supervisor.Command(args...), f.env())
	defer func() { noPanic(t, p.Logged()) }()
	if !p.Alive() {
		require.True(t, f.isFault(), "%s is no fault\n%s", f.What, p.Logged())
		if !f.is("kill") {
			require.Contains(t, []int{1, 6}, endOf(p).code, p.Logged())
		}
		return
	}
	wrong := r.compare(t, f, before, urlOf(t, right), urlOf(t, p))
	if !p.Alive() {
		require.True(t, f.is("kill"), p.Logged())
		return
	}
	require.Empty(t, wrong, p.Logged())
	within(t, func() string { // the state of the tree is looked at now and then
		if f.over.Store(f.hit()); f.is("kill") {
			return ""
		}
		return r.compare(t, f, before, urlOf(t, right), urlOf(t, p))
	}, p)
	_ = p.Cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.Done:
		require.Equal(t, 0, max(0, endOf(p).code), p.Logged())
	case <-time.After(patience):
		require.Fail(t, "it does not stop", p.Logged())
	}
}

// compare asks both all questions, and returns what is wrong with an answer. While a fault
// lasts an error is right, too. Then serve may not know the state of the tree either,
// which other tags and ?status show.
func (r serveRun) compare(t *testing.T, f *fault, before, right, tried string) string {
	for _, q := range questions(before) {
		want, got := ask(t, right, q), ask(t, tried, q)
		unsure := f.isFault() && !f.over.Load()
		switch {
		case unsure && (got.isError() || q.target == "/?status"):
		case unsure && got.status == want.status && q.mayLack(ids.ReplaceAllString(want.body, ""), unproved(got.body)):
		case want.status != got.status:
			return fmt.Sprintf("%v is answered by %d instead of %d: %s", q, got.status, want.status, got.body)
		case want.body != got.body:
			return fmt.Sprintf("%v is answered otherwise: %s", q, firstDifference(want.body, got.body))
		case want.tag != got.tag && !unsure:
			return fmt.Sprintf("%v has the tag %s instead of %s", q, got.tag, want.tag)
		}
	}
	return ""
}

// unproved returns an answer without the ids, and without what it says of directories of which
// it is not known whether they are still where they were: they are hot.
func unproved(body string) string {
	return strings.ReplaceAll(ids.ReplaceAllString(body, ""), "\thot=1", "")
}

// rowsOfLinks are those of symlinks on a page, which show what they lead to if that can be looked at.
var rowsOfLinks = regexp.MustCompile(`<tr class="l">[^\n]*\n`)

// mayLack reports whether an answer lacks only what a request for it alone would refuse.
// Listings and files are whole; these are not (docs/protocol.md).
func (q question) mayLack(want, got string) bool {
	if want == got {
		return true
	}
	parts := func(text string) []string { return strings.SplitAfter(text, "\n") }
	switch {
	case strings.HasSuffix(q.target, "?html"):
		return rowsOfLinks.ReplaceAllString(want, "") == rowsOfLinks.ReplaceAllString(got, "")
	case q.body != "" && strings.HasPrefix(q.target, "/?tar"):
		parts = func(text string) (blocks []string) {
			for chunk := range slices.Chunk([]byte(text), 512) {
				blocks = append(blocks, string(chunk))
			}
			return blocks
		}
	case strings.Contains(q.target, "?sums"), strings.Contains(q.target, "&since="), strings.Contains(q.target, "&recent="):
	default:
		return false
	}
	right := map[string]bool{}
	for _, part := range parts(want) {
		right[part] = true
	}
	return !slices.ContainsFunc(parts(got), func(part string) bool { return !right[part] && !strings.HasPrefix(part, "#end ") })
}

func firstDifference(want, got string) string {
	i := 0
	for i < min(len(want), len(got)) && want[i] == got[i] {
		i++
	}
	from := max(0, i-60)
	return fmt.Sprintf("at %d of %d and %d: %q and %q", i, len(want), len(got), want[from:min(len(want), i+60)], got[from:min(len(got), i+60)])
}

// launchServe starts a serve and waits until it is ready or has ended.
func launchServe(t *testing.T, args, env []string) *proof.Process {
	t.Helper()
	p, err := proof.Launch(proof.Command{Args: args, Log: filepath.Join(t.TempDir(), "log"), Env: env})
	require.NoError(t, err)
	t.Cleanup(p.Kill)
	select {
	case <-p.Ready:
	case <-p.Done:
	case <-time.After(patience):
		require.Fail(t, "neither ready nor ended", p.Logged())
	}
	return p
}

func urlOf(t *testing.T, p *proof.Process) string {
	t.Helper()
	var url string
	require.Eventually(t, func() bool {
		at, err := p.URL()
		if err == nil {
			url = at.String()
		}
		return err == nil || !p.Alive()
	}, patience, 5*time.Millisecond)
	return url
}
