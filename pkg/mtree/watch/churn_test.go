package watch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
)

// churner changes a tree at random. Every error is fine: others do the same.
type churner struct {
	root, outside string
	rand          *rand.Rand
	id            int
}

func (c *churner) dir() string {
	path := c.root
	for range c.rand.IntN(4) {
		path = filepath.Join(path, string(rune('a'+c.rand.IntN(3))))
	}
	return path
}

func (c *churner) file() string {
	return filepath.Join(c.dir(), string(rune('f'+c.rand.IntN(4))))
}

func (c *churner) past() time.Time {
	return time.Unix(1_000_000_000+c.rand.Int64N(3), 0)
}

func (c *churner) step() {
	out := filepath.Join(c.outside, fmt.Sprintf("out%d", c.id))
	switch f := c.file(); c.rand.IntN(24) {
	case 0, 1, 2:
		_ = os.MkdirAll(c.dir(), 0o755)
	case 3, 4, 5, 6:
		_ = os.WriteFile(f, fmt.Appendf(nil, "%d", c.rand.IntN(100)), 0o644)
	case 7:
		if open, err := os.OpenFile(f, os.O_APPEND|os.O_WRONLY, 0); err == nil {
			_, _ = open.WriteString("more")
			_ = open.Close()
		}
	case 8:
		_ = os.Truncate(f, c.rand.Int64N(3))
	case 9:
		_ = os.Chtimes(f, c.past(), c.past())
	case 10:
		_ = os.Chtimes(f, time.Time{}, time.Now().Add(time.Hour))
	case 11:
		_ = os.Chtimes(c.dir(), time.Time{}, c.past())
	case 12, 13:
		_ = os.Rename(f, c.file())
	case 14, 15:
		_ = os.Rename(c.sub(), c.sub())
	case 16:
		_ = unix.Renameat2(unix.AT_FDCWD, c.sub(), unix.AT_FDCWD, c.sub(), unix.RENAME_EXCHANGE)
	case 17:
		_ = os.Rename(c.sub(), out)
	case 18:
		_ = os.Rename(out, c.sub())
	case 19:
		_ = os.Chmod(f, fs.FileMode(0o600+c.rand.IntN(2)*0o44))
	case 20:
		_ = os.Chmod(c.sub(), fs.FileMode(0o700+c.rand.IntN(2)*0o55))
	case 21:
		_ = os.Remove(f)
	case 22:
		if c.rand.IntN(3) == 0 {
			_ = os.RemoveAll(c.sub())
		}
	case 23: // a type swap
		_ = os.Remove(f)
		_ = os.Symlink("x", f)
	}
}

// sub is a directory below the root.
func (c *churner) sub() string {
	for {
		if path := c.dir(); path != c.root {
			return path
		}
	}
}

// reader is a mirror without files: it remembers what it saw of each directory
// under the stamp it had, and goes down only where a stamp differs.
type reader struct {
	t     testing.TB
	known map[string]*listed
}

type listed struct {
	stamp   mtree.Stamp
	entries map[string]string // name -> what shows
	dirs    map[string]bool
}

// pass goes down from the root by stamps. It reports false if it could not
// finish: something changed under its feet.
func (r *reader) pass(root *disk.Dir) bool {
	return r.descend(root, "")
}

func (r *reader) descend(d *disk.Dir, path string) bool {
	info, err := d.Self()
	if err != nil {
		return false
	}
	if have := r.known[path]; have != nil && have.stamp == info.MTime {
		return true
	}
	l := disk.Lister{Hidden: true}
	listing, err := l.Read(d, path)
	if err != nil || listing.Hot {
		return false
	}
	now := &listed{stamp: listing.Stamp, entries: map[string]string{}, dirs: map[string]bool{}}
	complete := true
	for _, e := range listing.Entries {
		if e.Kind != mtree.Dir {
			now.entries[e.Name] = fmt.Sprint(e.Kind, e.Mode, e.MTime, e.CTime, e.Size)
			continue
		}
		now.entries[e.Name], now.dirs[e.Name] = fmt.Sprint(e.Kind, e.Mode), true
		child, err := d.OpenDir(e.Name)
		if err != nil {
			complete = false
			continue
		}
		below := mtree.JoinPath(path, e.Name)
		complete = r.descend(child, below) && complete
		// Complete only if the child has the stamp that was listed for it.
		if have := r.known[below]; have == nil || have.stamp != e.MTime {
			complete = false
		}
		_ = child.Close()
	}
	if complete {
		r.known[path] = now
	} else {
		delete(r.known, path)
	}
	return complete
}

// differences compares what the reader believes with what is there.
func (r *reader) differences(d *disk.Dir, path string) (all []string) {
	have := r.known[path]
	if have == nil {
		return []string{fmt.Sprintf("%q: never seen", path)}
	}
	entries, err := d.Entries()
	require.NoError(r.t, err)
	seen := map[string]string{}
	for _, e := range entries {
		if e.Kind != mtree.Dir {
			seen[e.Name] = fmt.Sprint(e.Kind, e.Mode, e.MTime, e.CTime, e.Size)
			continue
		}
		seen[e.Name] = fmt.Sprint(e.Kind, e.Mode)
		child, err := d.OpenDir(e.Name)
		require.NoError(r.t, err)
		all = append(all, r.differences(child, mtree.JoinPath(path, e.Name))...)
		_ = child.Close()
	}
	for name := range have.entries {
		if seen[name] != have.entries[name] {
			all = append(all, fmt.Sprintf("%q: believed %s, is %s", mtree.JoinPath(path, name), have.entries[name], seen[name]))
		}
	}
	for name := range seen {
		if _, ok := have.entries[name]; !ok {
			all = append(all, fmt.Sprintf("%q: not known", mtree.JoinPath(path, name)))
		}
	}
	return all
}

// TestChurn: several writers change a tree at random while a reader polls the
// root's stamp and goes down only where stamps differ. In the end it believes
// what is there. The seed is printed by a failure; CHURN_SEED replays it, as
// far as the scheduler lets it.
func TestChurn(t *testing.T) {
	for _, backend := range backends {
		for round, steps := range []int{3, 3, 5, 5, 10, 10, 20, 50, 100, 400} {
			seed := churnSeed(t) + uint64(round)
			t.Run(fmt.Sprintf("%s/%d", backend, seed), func(t *testing.T) { churn(t, memory, backend, seed, steps) })
		}
	}
}

// churnSeed is CHURN_SEED, or one that never was.
func churnSeed(t testing.TB) uint64 {
	text := os.Getenv("CHURN_SEED")
	if text == "" {
		return uint64(time.Now().UnixNano())
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	must(t, err)
	return seed
}

func churn(t *testing.T, place, backend string, seed uint64, steps int) {
	root, outside := newTreeIn(t, place, "a/b/c/", "b/", "f = x"), newTreeIn(t, place)
	w := start(t, Config{Root: root, Backend: backend})
	dir, err := disk.OpenRoot(root)
	must(t, err)
	defer dir.Close()
	r := &reader{t: t, known: map[string]*listed{}}

	ctx, stop := context.WithCancel(context.Background())
	var reading, writing sync.WaitGroup
	reading.Go(func() {
		for ctx.Err() == nil {
			r.pass(dir)
		}
	})
	for id := range 3 {
		c := &churner{root: root, outside: outside, rand: rand.New(rand.NewPCG(seed, uint64(id))), id: id}
		writing.Go(func() {
			for range steps {
				c.step()
			}
		})
	}
	writing.Wait()
	stamp := w.sync()
	stop()
	reading.Wait()
	require.False(t, stamp.After(disk.Now().Add(w.granule())))
	for pass := 0; !r.pass(dir); pass++ {
		require.Less(t, pass, 3, "nothing changes any more, yet the stamps do")
	}
	require.Empty(t, r.differences(dir, ""))
	require.Zero(t, w.config.Stats.Losses.Load(), w.log)
	_, err = os.Stat(root)
	require.False(t, errors.Is(err, fs.ErrNotExist))
}

// backends are the sources of events that the tests of changes run with.
var backends = []string{"inotify", "fanotify"}

func eachBackend(t *testing.T, test func(t *testing.T, backend string)) {
	for _, backend := range backends {
		t.Run(backend, func(t *testing.T) { test(t, backend) })
	}
}
