package calls_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/proof"
)

// mirrorRun is one run of mirror that faults are put into.
type mirrorRun struct {
	local   bool // the source is a directory
	first   bool // there is no copy yet
	prepare func(t *testing.T, src, copy string)
	args    []string // in addition
	alone   bool     // args take DEST alone
	end     int      // with which code it ends where nothing fails
}

func mirrorScenarios() []scenario {
	runs := map[string]mirrorRun{
		"mirror-first":        {first: true},
		"mirror-first-local":  {first: true, local: true},
		"mirror-update":       {},
		"mirror-update-local": {local: true},
	}
	var all []scenario
	for _, name := range []string{"mirror-first", "mirror-first-local", "mirror-update", "mirror-update-local"} {
		all = append(all, scenario{name, runs[name].run})
	}
	return all
}

func TestMirror(t *testing.T) { rounds(t, 40, mirrorScenarios()) }

// served is a serve behind a proxy that counts.
type served struct {
	url      string
	requests atomic.Int64
}

// publish serves a tree until the test ends.
func publish(t *testing.T, root string) *served {
	t.Helper()
	p, err := proof.Launch(proof.Command{Args: []string{"serve", "--listen", "127.0.0.1:0", root}, Log: filepath.Join(t.TempDir(), "log")})
	require.NoError(t, err)
	t.Cleanup(p.Kill)
	require.NoError(t, p.WaitReady(patience))
	var at *url.URL
	require.Eventually(t, func() bool { at, err = p.URL(); return err == nil }, patience, 5*time.Millisecond)
	s := &served{}
	proxy := httputil.NewSingleHostReverseProxy(at)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	s.url = front.URL + "/"
	return s
}

func (r mirrorRun) run(t *testing.T, f *fault) {
	base := tempDir(t)
	src, copy := filepath.Join(base, "src"), filepath.Join(base, "copy")
	plant(t, src)
	must(t, 0, "watch", "--once", src)
	source := src
	s := &served{}
	if !r.local {
		s = publish(t, src)
		source = s.url
	}
	if !r.first {
		must(t, 0, "mirror", "--once", source, copy)
		change(t, src)
		must(t, 0, "watch", "--once", src)
	}
	if r.prepare != nil {
		r.prepare(t, src, copy)
	}
	old := snapshot{}
	if _, err := os.Lstat(copy); err == nil {
		old = look(t, copy)
	}
	args := append([]string{"mirror", "--once", "--jobs", "1"}, append(r.args, source, copy)...)
	f.supervise(t, base)
	e := finish(t, proof.Command{Args: f.supervisor.Command(args...), Dir: t.TempDir(), Env: f.env()})
	r.check(t, f, e, look(t, src), old, copy)

	again := must(t, 0, args...)
	same(t, src, copy, e.log+again.log)
	checkStaging(t, copy, e.log+again.log)
	s.requests.Store(0)
	idle := must(t, 0, args...)
	if !r.local {
		require.EqualValues(t, 1, s.requests.Load(), "when nothing changes\n%s%s%s", e.log, again.log, idle.log)
	}
}

// check looks at the copy after the fault.
func (r mirrorRun) check(t *testing.T, f *fault, e ended, source, old snapshot, copy string) {
	now := snapshot{}
	if _, err := os.Lstat(copy); err == nil {
		now = look(t, copy)
	}
	checkCopy(t, source, old, now, e.log)
	require.NotContains(t, e.log, "panic:")
	require.NotContains(t, e.log, "goroutine ")
	if f.is("kill") {
		require.Equal(t, -1, e.code, e.log)
		return
	}
	if len(f.hits) == 0 || f.is("EINTR", "short") {
		require.Equal(t, r.end, e.code, "%s is no fault\n%s", f.What, e.log)
	}
	require.Contains(t, []int{0, 1, 3, 5, 6}, e.code, e.log)
	if e.code == 0 && r.end == 0 {
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
