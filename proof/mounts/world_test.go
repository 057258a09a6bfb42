package mounts

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/proof"
)

// world is a tree in a file system of its own, and what happens in it.
type world struct {
	t          *testing.T
	r          *rand.Rand
	root, copy string
	n          int   // of the last content
	log        lines // of all that was done, and of serve and mirror

	args  []string // of watch
	watch *proof.Process
	url   string // of serve
}

// lines is a log to which several goroutines write.
type lines struct {
	mu  sync.Mutex
	all strings.Builder
}

// Write implements io.Writer.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

// String returns all lines.
func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

// newWorld makes the tree. What is mounted in half of the trees spreads to the places where the same
// directory is shown, as on a machine with systemd.
func newWorld(t *testing.T, seed uint64) *world {
	dir := t.TempDir()
	w := &world{t: t, r: rand.New(rand.NewPCG(seed, 17)), root: filepath.Join(dir, "tree"), copy: filepath.Join(dir, "copy")}
	require.NoError(t, os.Mkdir(w.root, 0o755))
	require.NoError(t, syscall.Mount("tmpfs", w.root, "tmpfs", 0, "size=16m,mode=0755"))
	t.Cleanup(w.unmountAll)
	spreads := []uintptr{syscall.MS_PRIVATE, syscall.MS_SHARED}[w.r.IntN(2)]
	require.NoError(t, syscall.Mount("", w.root, "", spreads, ""))
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s\n%s", &w.log, w.watch.Logged())
		}
	})
	for d := range 9 {
		at := w.in(fmt.Sprintf("d%d/d%d", d/3, d%3))
		require.NoError(t, os.MkdirAll(at, 0o755))
		for f := range 2 {
			require.NoError(t, os.WriteFile(fmt.Sprintf("%s/f%d", at, f), w.content(), 0o644))
		}
	}
	return w
}

// in returns the path of something in the tree.
func (w *world) in(path string) string { return filepath.Join(w.root, path) }

// content returns a new one, always of one size.
func (w *world) content() []byte {
	w.n++
	return fmt.Appendf(nil, "%06d", w.n)
}

// say writes a line to the log.
func (w *world) say(what ...any) {
	_, _ = fmt.Fprintln(&w.log, append([]any{time.Now().Format("05.000000")}, what...)...)
}

// mount is one in the tree: what of its file system it shows, and where.
type mount struct{ shows, at string }

// mounts returns those at and below the root, as the kernel lists them.
func (w *world) mounts() (all []mount) {
	table, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(w.t, err)
	for line := range strings.Lines(string(table)) {
		if fields := strings.Fields(line); fields[4] == w.root || strings.HasPrefix(fields[4], w.root+"/") {
			all = append(all, mount{fields[3], fields[4]})
		}
	}
	return all
}

// unmountAll ends the tree.
func (w *world) unmountAll() {
	for len(w.mounts()) > 0 {
		require.NoError(w.t, syscall.Unmount(w.root, syscall.MNT_DETACH))
	}
}

// unmountRemoved unmounts what shows a directory or a file that was removed elsewhere: nobody can list
// that, so the copy is not complete, and mirror says so.
func (w *world) unmountRemoved() {
	for again := true; again; {
		again = false
		for _, m := range w.mounts() {
			if strings.HasSuffix(m.shows, "//deleted") && syscall.Unmount(m.at, syscall.MNT_DETACH) == nil {
				w.say("unmounted, for what it shows was removed:", m)
				again = true
			}
		}
	}
}
