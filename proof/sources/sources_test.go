package sources

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/proof"
	"tidemark/internal/testtree"
)

func TestMain(m *testing.M) { os.Exit(proof.Main(m)) }

// killsARound is how many programs one round kills.
const killsARound = 50

// TestSourcesThatDie: whatever dies of the sources of a mirror, its copy never goes back in time, and is
// equal to the tree in the end.
func TestSourcesThatDie(t *testing.T) {
	proof.Rounds(t, 1, func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 16))
		dir := t.TempDir()
		w := &writer{t: t, r: r, root: filepath.Join(dir, "tree")}
		require.NoError(t, os.Mkdir(w.root, 0o755))
		w.fill()
		k := newCast(t, dir, r)
		k.mirror(k.sources())
		e := watchCopy(filepath.Join(dir, "copy"))
		for range killsARound {
			w.write(1 + r.IntN(5))
			k.disturb(r)
			proof.Count("programs killed under a mirror with several sources", 1)
			rest(time.Duration(r.IntN(400)) * time.Millisecond)
			require.True(t, k.alive["mirror"].Alive(), "%s", k.alive["mirror"].Logged())
		}
		k.startAll()
		w.write(3)
		k.settle()
		wrong := e.end()
		if t.Failed() || wrong != "" {
			t.Log(k.alive["mirror"].Logged())
		}
		require.Empty(t, wrong)
		diff, err := testtree.Differences(w.root, filepath.Join(dir, "copy"))
		require.NoError(t, err)
		require.Empty(t, diff, "tree | copy")
		require.Greater(t, e.reads, killsARound)
		require.Positive(t, strings.Count(k.alive["mirror"].Logged(), "another source is used"), "nothing was tested")
	})
}

// rest lets the programs work for a while.
func rest(d time.Duration) { <-time.After(d) }

// disturb kills something, or starts what was killed. Something that shows the tree runs most of the time.
func (k *cast) disturb(r *rand.Rand) {
	names := []string{"serve-a", "serve-a", "serve-b", "serve-c", "second", "watch"}
	name := names[r.IntN(len(names))]
	switch n := r.IntN(10); {
	case n == 0: // a mirror that is started again with other sources
		k.kill("mirror")
		k.mirror(shuffled(r, k.sources()))
		return
	case n < 5:
		for _, name := range names {
			k.start(name)
		}
	}
	k.kill(name)
	if name == "watch" {
		k.start(name) // what nobody hears is published by its audit
	}
}

// settle waits until the copy has all that was written.
func (k *cast) settle() {
	stamp := k.run("watch", "--sync", filepath.Join(k.dir, "tree"))
	k.run("mirror", "--wait-for", strings.TrimSpace(stamp), filepath.Join(k.dir, "copy"))
}

// run runs a program to its end, and returns what it printed.
func (k *cast) run(args ...string) string {
	k.t.Helper()
	ended := make(chan struct{})
	cmd := exec.Command(args[0], args[1:]...)
	timer := time.AfterFunc(2*time.Minute, func() {
		select {
		case <-ended:
		default:
			_ = cmd.Process.Kill()
		}
	})
	out, err := cmd.Output()
	close(ended)
	timer.Stop()
	require.NoError(k.t, err, "%q\n%s", args, k.alive["mirror"].Logged())
	return string(out)
}

// writer changes the tree. Each file holds a number that only rises.
type writer struct {
	t    *testing.T
	r    *rand.Rand
	root string
	n    int
}

const (
	someDirs  = 12
	someFiles = 8 // in each
)

// fill makes the tree.
func (w *writer) fill() {
	for d := range someDirs {
		for f := range someFiles {
			path := w.path(d, f)
			require.NoError(w.t, os.MkdirAll(filepath.Dir(path), 0o755))
			w.put(path)
		}
	}
}

// path returns that of a file.
func (w *writer) path(dir, file int) string {
	return filepath.Join(w.root, fmt.Sprintf("d%d", dir%3), fmt.Sprintf("e%d", dir), fmt.Sprintf("f%d", file))
}

// put writes the next number to a file, and moves it into place. Some have the time of another one and
// always the same size, so that neither tells that the bytes differ.
func (w *writer) put(path string) {
	w.n++
	require.NoError(w.t, os.WriteFile(path+".new", fmt.Appendf(nil, "%06d\n", w.n), 0o644))
	if w.r.IntN(3) == 0 {
		at := time.Unix(1_700_000_000, 0)
		require.NoError(w.t, os.Chtimes(path+".new", at, at))
	}
	require.NoError(w.t, os.Rename(path+".new", path))
}

// write makes some changes: files are written, and directories exchanged with another one of the same
// names.
func (w *writer) write(changes int) {
	for range changes {
		d := w.r.IntN(someDirs)
		if w.r.IntN(6) > 0 {
			w.put(w.path(d, w.r.IntN(someFiles)))
			continue
		}
		dir := filepath.Dir(w.path(d, 0))
		require.NoError(w.t, os.Mkdir(dir+".next", 0o755))
		for f := range someFiles {
			w.put(filepath.Join(dir+".next", fmt.Sprintf("f%d", f)))
		}
		require.NoError(w.t, os.Rename(dir, dir+".old"))
		require.NoError(w.t, os.Rename(dir+".next", dir))
		require.NoError(w.t, os.RemoveAll(dir+".old"))
	}
}
