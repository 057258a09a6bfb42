package watch_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/internal/disk"
)

// ordeal is a tree under churn. Its watcher, a process of its own, is killed, stopped,
// overrun and asked for audits meanwhile.
type ordeal struct {
	place   string
	backend string
	seed    uint64
	rounds  int
	fates   []fate // what may befall the watcher in a round
}

type fate string

const (
	spared  fate = "spared"
	killed  fate = "killed"  // by SIGKILL, and started again
	down    fate = "down"    // killed, and started again when all is over
	stopped fate = "stopped" // by SIGSTOP, and continued when all is over
	flooded fate = "flooded" // stopped, with a short queue that overflows
	audited fate = "audited" // asked for an audit
)

var allFates = []fate{spared, killed, down, stopped, flooded, audited}

// run: at every moment of rest a reader that went down by stamps knows what is there, and it
// never had to compare everything.
func (o ordeal) run(t testing.TB) {
	root, outside := newTreeIn(t, o.place, "a/b/c/", "b/", "f = x"), newTreeIn(t, o.place)
	makeArchive(t, outside)
	write(t, filepath.Join(outside, unheardMark), "")
	random := rand.New(rand.NewPCG(o.seed, 99))
	dir, err := disk.OpenRoot(root)
	must(t, err)
	defer dir.Close()
	var writers [churners]*churning
	for id := range writers {
		writers[id] = startChurner(t, root, outside, o.seed, id)
	}
	r := newReader(t)
	w := &running{t: t, root: root, log: new(logged)}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(w.log)
		}
	})
	p := startProcess(t, root, o.backend, w.log)
	p.ready(w)
	epoch := w.status().Tree.Epoch
	for round := range o.rounds {
		fate := o.fates[random.IntN(len(o.fates))]
		about := fmt.Sprintf("round %d, %s, seed %d", round, fate, o.seed)
		w.log.note(about)
		if fate == flooded {
			p.kill()
			p = startShort(t, root, o.backend, w.log)
			p.ready(w)
		}
		var writing sync.WaitGroup
		steps := 1 + random.IntN(60)
		for _, writer := range writers {
			writing.Go(func() {
				if err := writer.steps(steps); err != nil {
					t.Errorf("churner: %v", err)
				}
			})
		}
		for range random.IntN(30) {
			r.pass(dir)
		}
		switch fate {
		case killed, down:
			p.kill()
		case stopped, flooded:
			must(t, p.cmd.Process.Signal(syscall.SIGSTOP))
		case audited:
			must(t, p.cmd.Process.Signal(syscall.SIGHUP))
		}
		if fate == killed {
			p = startProcess(t, root, o.backend, w.log)
		}
		for range random.IntN(30) {
			r.pass(dir)
		}
		writing.Wait()
		if fate == flooded {
			flood(t, outside, root)
		}
		switch fate {
		case down:
			p = startProcess(t, root, o.backend, w.log)
		case stopped, flooded:
			must(t, p.cmd.Process.Signal(syscall.SIGCONT))
		}
		p.ready(w)
		w.sync()
		r.catchesUp(dir, about)
		require.Equal(t, epoch, w.status().Tree.Epoch, about)
		if o.backend == "inotify" {
			p.hearsAllAndNoMore(root, about)
		}
	}
	p.kill()
}

// hearsAllAndNoMore: there is a watch on each directory and on .tidemark, and
// none on what left the tree, though nobody heard of it.
func (p *process) hearsAllAndNoMore(root, about string) {
	p.t.Helper()
	want := len(stamps(p.t, root)) + 1
	require.EventuallyWithT(p.t, func(c *assert.CollectT) { assert.Equal(c, want, p.watches()) }, deadline, 10*time.Millisecond, about)
}

// watches counts the inotify watches of the process.
func (p *process) watches() (n int) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", p.cmd.Process.Pid))
	must(p.t, err)
	for _, file := range files {
		text, _ := os.ReadFile(file) // one may be closed by now
		n += strings.Count(string(text), "inotify wd:")
	}
	return n
}

// flood makes more events than a short queue holds.
func flood(t testing.TB, outside, root string) {
	for i := range 50 {
		aside := filepath.Join(outside, fmt.Sprint("flood", i))
		write(t, aside, "x")
		must(t, os.Rename(aside, filepath.Join(root, fmt.Sprint("flood", i))))
	}
	_ = os.Rename(filepath.Join(root, "a"), filepath.Join(outside, fmt.Sprint("unheard", rand.Uint64())))
}

// TestKilled: killed at random times under churn and started again, nothing is
// missed, and no reader has to compare everything.
func TestKilled(t *testing.T) {
	for _, backend := range append(slices.Clone(backends), "none") {
		withSeed(t, backend, func(t *testing.T, seed uint64) {
			ordeal{memory, backend, seed, 6, []fate{killed, down}}.run(t)
		})
	}
}

// TestOrdeal: the same with everything that may happen to a watcher, and with a short queue
// of the kernel.
func TestOrdeal(t *testing.T) {
	for _, backend := range append(slices.Clone(backends), "none") {
		withSeed(t, backend, func(t *testing.T, seed uint64) {
			ordeal{memory, backend, seed, 10, allFates}.run(t)
		})
	}
}
