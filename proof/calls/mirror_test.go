package calls_test

import (
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/proof"
)

// mirrorRun is one run of mirror that faults are put into.
type mirrorRun struct {
	local   bool // the source is a directory
	first   bool // there is no copy yet
	prepare func(t *testing.T, source, src, copy string)
	args    func(source, copy string) []string // nil: one pass
	options []string                           // of every pass
	tree    func(t *testing.T, src string)     // what is there besides, at first
	change  func(t *testing.T, src string)     // what happens to that
	leaves  []string                           // names that the run leaves as they are in the copy
	plain   bool                               // the file system of the copy keeps no extended attributes
	partly  bool                               // the run does not make the copy equal
	broken  bool                               // the copy is not what its stamps say before the run
}

func mirrorScenarios() []scenario {
	release := func(_, copy string) []string { return []string{"mirror", "--release", copy} }
	repair := func(_, copy string) []string { return []string{"mirror", "--verify", "--repair", copy} }
	adopt := func(source, copy string) []string {
		return []string{"mirror", "--once", "--jobs", "1", "--adopt", source, copy}
	}
	sums := func(source, copy string) []string { return []string{"mirror", "--adopt", "--verify", source, copy} }
	limited := func(source, copy string) []string {
		return []string{"mirror", "--once", "--jobs", "1", "--max-size", "64K", "--max-age", "300d", source, copy}
	}
	links := []string{"--hard-links"}
	large := []string{"--sparse"}
	return []scenario{
		{"mirror-first", mirrorRun{first: true}.run},
		{"mirror-first-local", mirrorRun{first: true, local: true}.run},
		{"mirror-update", mirrorRun{}.run},
		{"mirror-update-local", mirrorRun{local: true}.run},
		{"mirror-update-log", mirrorRun{plain: true}.run},
		{"mirror-release", mirrorRun{prepare: hold, args: release, partly: true}.run},
		{"mirror-verify", mirrorRun{prepare: spoil, args: repair, broken: true}.run},
		{"mirror-adopt", mirrorRun{first: true, prepare: copyByHand, args: adopt}.run},
		{"mirror-unmarked", mirrorRun{prepare: unmark}.run},
		{"mirror-stays", mirrorStays},
		{"mirror-first-links", mirrorRun{first: true, options: links, tree: plantLinks, change: changeLinks}.run},
		{"mirror-update-links", mirrorRun{options: links, tree: plantLinks, change: changeLinks}.run},
		{"mirror-update-links-local", mirrorRun{local: true, options: links, tree: plantLinks, change: changeLinks}.run},
		{"mirror-update-large", mirrorRun{options: large, tree: plantLarge, change: changeLarge}.run},
		{"mirror-update-large-local", mirrorRun{local: true, options: large, tree: plantLarge, change: changeLarge}.run},
		{"mirror-update-limits", mirrorRun{args: limited, leaves: []string{"big"}, partly: true}.run},
		{"mirror-adopt-sums", mirrorRun{first: true, prepare: copyByHand, args: sums, broken: true}.run},
	}
}

// hold makes a pass that holds its deletions.
func hold(t *testing.T, source, _, copy string) {
	must(t, 5, "mirror", "--once", "--max-delete", "1", source, copy)
}

// spoil makes a pass, and then other bytes of the same size and time in the copy.
func spoil(t *testing.T, source, _, copy string) {
	must(t, 0, "mirror", "--once", source, copy)
	for _, name := range []string{"a/f1", "big", "many/7"} {
		info, err := os.Stat(filepath.Join(copy, name))
		require.NoError(t, err)
		f, err := os.OpenFile(filepath.Join(copy, name), os.O_WRONLY, 0)
		require.NoError(t, err)
		_, err = f.WriteAt([]byte("!"), 0)
		require.NoError(t, errors.Join(err, f.Close()))
		require.NoError(t, os.Chtimes(filepath.Join(copy, name), time.Time{}, info.ModTime()))
	}
}

// unmark removes the marker of the copy.
func unmark(t *testing.T, _, _, copy string) {
	require.NoError(t, os.RemoveAll(filepath.Join(copy, ".tidemark")))
}

// copyByHand makes a copy with a few differences.
func copyByHand(t *testing.T, _, src, copy string) {
	require.NoError(t, exec.Command("cp", "-a", src, copy).Run())
	require.NoError(t, os.RemoveAll(filepath.Join(copy, ".tidemark")))
	change(t, src)
	must(t, 0, "watch", "--once", src)
}

func TestMirror(t *testing.T) { rounds(t, 20, mirrorScenarios()) }

// served is a serve that counts requests.
type served struct{ url, metrics string }

// requests is how many requests it has answered.
func (s *served) requests(t *testing.T) (sum int) {
	t.Helper()
	resp, err := http.Get(s.metrics)
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	for _, m := range regexp.MustCompile(`(?m)^tidemark_serve_requests_total\S* (\d+)$`).FindAllStringSubmatch(string(text), -1) {
		n, err := strconv.Atoi(m[1])
		require.NoError(t, err)
		sum += n
	}
	return sum
}

// publish serves a tree until the test ends.
func publish(t *testing.T, root string) *served {
	t.Helper()
	metrics := proof.FreeAddress(rand.IntN)
	t.Cleanup(func() { proof.LeaveAddress(metrics) })
	p, err := proof.Launch(proof.Command{Args: []string{"serve", "--listen", "127.0.0.1:0", "--metrics", metrics, root}, Log: filepath.Join(t.TempDir(), "log")})
	require.NoError(t, err)
	t.Cleanup(p.Kill)
	require.NoError(t, p.WaitReady(patience))
	var at *url.URL
	require.Eventually(t, func() bool { at, err = p.URL(); return err == nil }, patience, 5*time.Millisecond)
	return &served{url: at.String(), metrics: "http://" + metrics + "/metrics"}
}

func (r mirrorRun) run(t *testing.T, f *fault) {
	base := tempDir(t)
	src, copy := filepath.Join(base, "src"), filepath.Join(base, "copy")
	plant(t, src)
	if r.tree != nil {
		r.tree(t, src)
	}
	must(t, 0, "watch", "--once", src)
	source := src
	s := &served{}
	if !r.local {
		s = publish(t, src)
		source = s.url
	}
	f.plain = r.plain
	f.supervise(t, base)
	ordinary := slices.Concat([]string{"mirror", "--once", "--jobs", "1"}, r.options, []string{source, copy})
	pass := func() ended {
		e := f.finish(t, r.plain, ordinary...)
		require.Equal(t, 0, e.code, e.log)
		return e
	}
	if !r.first {
		f.over.Store(true)
		pass()
		f.over.Store(false)
		change(t, src)
		must(t, 0, "watch", "--once", src)
		if r.change != nil {
			r.change(t, src)
		}
	}
	if r.prepare != nil {
		r.prepare(t, source, src, copy)
	}
	old, oldFiles := snapshot{}, map[string]uint64{}
	if _, err := os.Lstat(copy); err == nil {
		old, oldFiles = look(t, copy), filesIn(t, copy)
	}
	args := ordinary
	if r.args != nil {
		args = r.args(source, copy)
	}
	f.supervisor.Forget()
	e := f.finish(t, true, args...)
	f.trace = f.supervisor.Trace()
	r.check(t, f, e, look(t, src), old, copy)
	checkLinks(t, copy, e.log, filesIn(t, src), oldFiles)

	f.over.Store(true)
	log := e.log
	if r.args != nil && !r.partly {
		log += must(t, 0, args...).log // an ordinary pass does less, or is refused
	}
	log += pass().log
	same(t, src, copy, log)
	if slices.Contains(r.options, "--hard-links") {
		require.Equal(t, linksOf(filesIn(t, src)), linksOf(filesIn(t, copy)), log)
	}
	checkStaging(t, copy, log)
	before := 0
	if !r.local {
		before = s.requests(t)
	}
	log += pass().log
	if !r.local {
		require.Equal(t, 1, s.requests(t)-before, "when nothing changes\n%s", log)
	}
}

// check looks at the copy after the fault.
func (r mirrorRun) check(t *testing.T, f *fault, e ended, source, old snapshot, copy string) {
	now := snapshot{}
	if _, err := os.Lstat(copy); err == nil {
		now = look(t, copy)
	}
	for _, name := range r.leaves {
		if was, had := old[name]; had {
			source[name] = was
		} else {
			delete(source, name)
		}
	}
	checkCopy(t, source, old, now, r.broken, e.log)
	noPanic(t, e.log)
	if f.is("kill") {
		require.Equal(t, -1, e.code, e.log)
		return
	}
	if !f.isFault() {
		require.Equal(t, 0, e.code, "%s is no fault\n%s", f.What, e.log)
	}
	require.Contains(t, []int{0, 1, 3, 5, 6}, e.code, e.log)
	if e.code == 0 && !r.partly {
		delete(source, ".")
		delete(now, ".")
		require.Equal(t, source, now, "exit code 0\n%s", e.log)
	}
}

// checkStaging fails if something is left of what was written aside.
func checkStaging(t *testing.T, copy, log string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(copy, ".tidemark", "tmp"))
	require.NoError(t, err)
	for _, e := range entries {
		require.True(t, strings.HasPrefix(e.Name(), "part-"), "left in staging: %s\n%s", e.Name(), log)
	}
}
