package watch_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/proof"
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/watch"
)

// trial is one tree under churn.
type trial struct {
	place   string // a directory on the file system to test
	backend string
	seed    uint64
	rounds  []int // steps of each churner, between moments of rest
	inside  bool  // nothing but watch changes the root itself
}

// TestChurn: several processes change a tree at random while a reader polls the
// root's stamp and goes down only where stamps differ. At every moment of rest
// it believes what is there, no stamp stands for two contents, and the root was
// never ahead of a leaf. PROOF_SEED replays a seed that a failure prints, as far
// as the scheduler lets it.
func TestChurn(t *testing.T) {
	for _, backend := range []string{"inotify", "fanotify", "none"} {
		for i, rounds := range [][]int{{3, 3, 5, 5, 10, 10, 3, 3}, {1, 2, 4, 8, 16, 32}, {20, 50, 20}, {400}} {
			withSeed(t, backend, func(t *testing.T, seed uint64) {
				trial{memory, backend, seed, rounds, i%2 == 1}.run(t)
			})
		}
	}
}

// churnSeed returns PROOF_SEED, or a new seed.
func churnSeed(t testing.TB) uint64 {
	if seed, ok := proof.Seed(t); ok {
		return seed
	}
	return uint64(time.Now().UnixNano())
}

// withSeed runs a subtest with a seed, and names the command that replays it if it fails.
func withSeed(t *testing.T, name string, run func(t *testing.T, seed uint64)) {
	seed := churnSeed(t)
	if !t.Run(fmt.Sprintf("%s/%d", name, seed), func(t *testing.T) { run(t, seed) }) {
		t.Log(proof.ReplaySeed(t.Name(), seed))
	}
}

// churners is how many processes change a tree at once.
const churners = 3

func (c trial) run(t *testing.T) {
	root, outside := newTreeIn(t, c.place, "top/a/b/c/", "top/b/", "top/f = x", "f = y"), newTreeIn(t, c.place)
	makeArchive(t, outside)
	at := root
	if c.inside {
		at = filepath.Join(root, "top")
	}
	var writers [churners]*churning
	for id := range writers {
		writers[id] = startChurner(t, at, outside, c.seed, id)
	}
	w := start(t, watch.Config{Root: root, Backend: c.backend})
	dir, err := disk.OpenRoot(root)
	must(t, err)
	defer dir.Close()
	r, look := newReader(t), &overlook{t: t, root: root}
	for i, steps := range c.rounds {
		about := fmt.Sprintf("round %d of %v, seed %d", i, c.rounds, c.seed)
		ctx, stop := context.WithCancel(context.Background())
		var reading, writing sync.WaitGroup
		reading.Go(func() {
			for ctx.Err() == nil {
				r.pass(dir)
				if c.inside {
					look.sweep()
				}
			}
		})
		for _, writer := range writers {
			writing.Go(func() {
				if err := writer.steps(steps); err != nil {
					t.Errorf("churner: %v", err)
				}
			})
		}
		writing.Wait()
		stamp := w.sync()
		stop()
		reading.Wait()
		if is := stampOf(t, root, "."); c.backend != "none" || !is.After(stamp) { // audits stamp again what was too young to be judged
			require.Equal(t, stamp, is, "%s: the root moved after --sync", about)
		}
		require.False(t, stamp.After(machine.Now().Add(2*w.granule())), about)
		r.catchesUp(dir, about)
		look.judge(about)
	}
	require.Zero(t, w.config.Stats.Losses.Load(), w.log)
}

// overlook checks that the root is never ahead of a leaf: a reader of the root's stamp finds
// below it everything that is published with a stamp at or below that. This holds for stamps
// that watch wrote, so nobody else may change the root itself.
type overlook struct {
	t      testing.TB
	root   string
	sweeps []sweep
}

// sweep is what directories, by inode, showed after the root had shown a stamp.
type sweep struct {
	root  mtree.Stamp
	below map[uint64]mtree.Stamp
}

// maxSweeps bounds memory.
const maxSweeps = 2000

func (o *overlook) sweep() {
	s := sweep{below: map[uint64]mtree.Stamp{}}
	if len(o.sweeps) >= maxSweeps {
		i := rand.IntN(len(o.sweeps))
		o.sweeps = append(o.sweeps[:i], o.sweeps[i+1:]...)
	}
	dir, err := disk.OpenRoot(o.root)
	must(o.t, err)
	defer dir.Close()
	info, err := dir.Self()
	must(o.t, err)
	s.root = info.MTime
	s.add(dir)
	o.sweeps = append(o.sweeps, s)
}

func (s *sweep) add(d *disk.Dir) {
	_ = d.ScanStat(func(name []byte, info disk.Info) error {
		if info.Kind != mtree.Dir {
			return nil
		}
		child, err := d.OpenDir(string(name))
		if err != nil {
			return nil // gone
		}
		defer child.Close()
		if info, err := child.Self(); err == nil {
			s.below[info.Node.Ino] = info.MTime
			s.add(child)
		}
		return nil
	})
}

// judge compares the sweeps with what directories show at rest.
func (o *overlook) judge(about string) {
	o.t.Helper()
	now := sweep{below: map[uint64]mtree.Stamp{}}
	dir, err := disk.OpenRoot(o.root)
	must(o.t, err)
	defer dir.Close()
	now.add(dir)
	for _, s := range o.sweeps {
		for inode, stamp := range now.below {
			showed, seen := s.below[inode]
			if seen && !stamp.After(s.root) {
				require.Equal(o.t, stamp, showed, "%s: the root showed %s before inode %d had its stamp", about, s.root, inode)
			}
		}
	}
	o.sweeps = nil
}

// backends are the sources of events that the tests of changes run with.
var backends = []string{"inotify", "fanotify"}

func eachBackend(t *testing.T, test func(t *testing.T, backend string)) {
	for _, backend := range backends {
		t.Run(backend, func(t *testing.T) { test(t, backend) })
	}
}
