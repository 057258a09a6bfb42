package calls_test

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/proof"
	"tidemark/internal/testtree"
)

// mirrorStays puts faults into a mirror that goes on, of a tree with a watch that goes on.
// When the fault is over the copy becomes equal in the same process.
func mirrorStays(t *testing.T, f *fault) {
	base := tempDir(t)
	src, copy := filepath.Join(base, "src"), filepath.Join(base, "copy")
	plant(t, src)
	watch := launch(t, nil, "watch", src)
	require.NoError(t, watch.WaitReady(patience))
	s := publish(t, src)
	f.supervise(t, base)
	p := launch(t, f.env(), f.supervisor.Command("mirror", "--jobs", "1", s.url, copy)...)
	becomesEqual(t, src, copy, func() bool { return f.hit() || !p.Alive() }, p)
	change(t, src)
	becomesEqual(t, src, copy, func() bool { return f.hit() || !p.Alive() }, p)
	if f.hit() && p.Alive() {
		f.over.Store(true)
		becomesEqual(t, src, copy, func() bool { return !p.Alive() }, p)
	}
	_ = p.Cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.Done:
	case <-time.After(patience):
		require.Fail(t, "it does not stop", p.Logged())
	}
	e := endOf(p)
	noPanic(t, e.log)
	if !f.is("kill") {
		require.Contains(t, []int{0, 1, 3, 6}, e.code, e.log)
	}
	require.True(t, f.isFault() || e.code == 0, "%s is no fault\n%s", f.What, e.log)
	f.over.Store(true)
	must(t, 0, "watch", "--sync", src) // a mirror that has ended waited for nothing
	must(t, 0, "mirror", "--once", s.url, copy)
	same(t, src, copy, e.log)
	checkStaging(t, copy, e.log)
}

// launch starts a program, which is killed when the test ends.
func launch(t *testing.T, env []string, args ...string) *proof.Process {
	t.Helper()
	p, err := proof.Launch(proof.Command{Args: args, Log: filepath.Join(t.TempDir(), "log"), Env: env})
	require.NoError(t, err)
	t.Cleanup(p.Kill)
	return p
}

// becomesEqual waits until two trees are equal, or until enough.
func becomesEqual(t *testing.T, a, b string, enough func() bool, p *proof.Process) {
	t.Helper()
	within(t, func() string {
		if enough() {
			return ""
		}
		differences, err := testtree.Differences(a, b)
		if err != nil {
			return err.Error()
		}
		return strings.Join(differences, "\n")
	}, p)
}
