package notify

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/notify/internal/handles"
)

// deepWorld is a tree, and beside it or in it a directory that is too deep for any path.
type deepWorld struct {
	t      *testing.T
	base   string
	source *fanotify
	wake   chan struct{}
	deep   int // descriptor of the deepest
}

func newDeepWorld(t *testing.T, beside string, levels int) *deepWorld {
	base, err := os.MkdirTemp("/dev/shm", "tidemark-deep-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(base)) })
	w := &deepWorld{t: t, base: base, wake: make(chan struct{}, 1)}
	require.NoError(t, os.MkdirAll(filepath.Join(base, "tree", "d"), 0o755))
	require.NoError(t, os.MkdirAll(filepath.Join(base, beside), 0o755))
	w.deep, err = unix.Open(filepath.Join(base, beside), unix.O_PATH|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	for range levels {
		require.NoError(t, unix.Mkdirat(w.deep, "d", 0o755))
		next, err := unix.Openat(w.deep, "d", unix.O_PATH|unix.O_CLOEXEC, 0)
		require.NoError(t, err)
		require.NoError(t, unix.Close(w.deep))
		w.deep = next
	}
	t.Cleanup(func() { _ = unix.Close(w.deep) })
	root, err := os.Open(filepath.Join(base, "tree"))
	require.NoError(t, err)
	defer root.Close()
	source, err := Fanotify(int(root.Fd()), true, w.wake)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, source.Close()) })
	w.source = source.(*fanotify)
	return w
}

// write writes a file in the directory, or somewhere below it.
func (w *deepWorld) write(dir int, name string) {
	fd, err := unix.Openat(dir, name, unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
	require.NoError(w.t, err)
	require.NoError(w.t, unix.Close(fd))
}

// hears takes until there is an event of the name in the directory.
func (w *deepWorld) hears(path, name string) {
	w.t.Helper()
	timeout := time.After(10 * time.Second)
	for {
		events := w.source.Take()
		require.Empty(w.t, events.Lost)
		for _, d := range events.Dirs {
			for _, e := range d.Entries {
				if d.Path == path && e.Name == name {
					return
				}
			}
		}
		select {
		case <-w.wake:
		case <-timeout:
			w.t.Fatalf("no event of %q in %d bytes of path", name, len(path))
		}
	}
}

// withFewDescriptors makes a test fail that holds many descriptors.
func withFewDescriptors(t *testing.T) {
	var was syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was))
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 100, Max: was.Max}))
	t.Cleanup(func() { require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &was)) })
}

// Anybody may make directories beside the tree, thousands of levels deep, and write and
// rename there. For each such directory and each Take, the watcher went up all levels, read
// the directories on the way and kept them all open. Stamps came half a minute late, or
// never.
func TestDeepOutside(t *testing.T) {
	w := newDeepWorld(t, "beside", 6000)
	withFewDescriptors(t)
	for i := range 200 {
		name := fmt.Sprint("dir", i)
		require.NoError(t, unix.Mkdirat(w.deep, name, 0o755))
		sub, err := unix.Openat(w.deep, name, unix.O_PATH|unix.O_CLOEXEC, 0)
		require.NoError(t, err)
		w.write(sub, "f")
		require.NoError(t, unix.Close(sub))
	}
	began := time.Now()
	require.NoError(t, os.WriteFile(filepath.Join(w.base, "tree/d/f"), nil, 0o644))
	w.hears("d", "f")
	require.Less(t, time.Since(began), 8*time.Second)

	// What was found outside is remembered, and no rename there changes that.
	w.quiet(func(i int) {
		w.write(w.deep, fmt.Sprint("f", i))
		require.NoError(t, unix.Renameat(w.deep, fmt.Sprint("dir", i), w.deep, fmt.Sprint("renamed", i)))
	})
}

// quiet requires that things done outside wake nobody.
func (w *deepWorld) quiet(do func(i int)) {
	w.t.Helper()
	before := w.source.resolver.CountOutside()
	for i := range 100 {
		do(i)
		require.Empty(w.t, w.source.Take().Dirs)
		require.GreaterOrEqual(w.t, w.source.resolver.CountOutside(), before, "it is forgotten")
		before = w.source.resolver.CountOutside()
	}
	settled(w.t, &w.source.queue)
}

// A directory that was found outside is heard as soon as it is in the tree, even if it came
// as a part of another one. Its path is found however deep it is.
func TestDeepComesIn(t *testing.T) {
	const levels = 3000
	w := newDeepWorld(t, "beside/top", levels)
	withFewDescriptors(t)
	w.write(w.deep, "outside")
	require.NoError(t, os.WriteFile(filepath.Join(w.base, "tree/d/f"), nil, 0o644))
	w.hears("d", "f")
	require.True(t, w.source.resolver.IsOutside([]byte(w.handle())))
	require.NoError(t, os.Rename(filepath.Join(w.base, "beside/top"), filepath.Join(w.base, "beside/other")))
	require.NoError(t, os.WriteFile(filepath.Join(w.base, "tree/d/g"), nil, 0o644))
	w.hears("d", "g")
	require.NoError(t, os.Rename(filepath.Join(w.base, "beside"), filepath.Join(w.base, "tree/d/in")))
	w.hears("d", "in")
	w.write(w.deep, "inside")
	w.hears("d/in/other"+strings.Repeat("/d", levels), "inside")
}

func (w *deepWorld) handle() string {
	id, err := handles.Of(w.deep)
	require.NoError(w.t, err)
	return id
}

// The lost event may have been the move of a directory into the tree: after a loss none is
// known to be outside.
func TestALossForgetsWhatIsOutside(t *testing.T) {
	w := newDeepWorld(t, "beside", 1)
	w.write(w.deep, "f")
	require.NoError(t, os.WriteFile(filepath.Join(w.base, "tree/d/f"), nil, 0o644))
	w.hears("d", "f")
	require.True(t, w.source.resolver.IsOutside([]byte(w.handle())))
	w.source.queue.mu.Lock()
	w.source.queue.lost = "an overflow"
	w.source.queue.mu.Unlock()
	w.source.Take()
	require.False(t, w.source.resolver.IsOutside([]byte(w.handle())))
}
