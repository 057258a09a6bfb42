package simkernel_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/internal/proof"
	"tidemark/pkg/mtree/internal/sys"
	"tidemark/pkg/mtree/internal/sys/simkernel"
)

// TestAsLinux makes the same system calls, at random, of this machine's kernel and of the
// one in memory, by root and by another user. Their results must be equal, the trees after
// each call, which times it moved, and the events of inotify. A simulation proves as much as
// the kernel under it is true.
func TestAsLinux(t *testing.T) {
	proof.Rounds(t, realRounds, func(t *testing.T, seed uint64) {
		compare(t, []string{"/dev/shm", os.TempDir()}[seed%2], seed) // in memory, and on a disk
	})
}

const (
	realRounds = 8
	realCalls  = 120 // of a round
)

// compare makes the calls of a seed.
func compare(t *testing.T, dir string, seed uint64) {
	runtime.LockOSThread() // whose user changes; it ends with this goroutine
	defer unix.Umask(unix.Umask(0o022))
	defer sys.Simulate(nil)()
	rng := rand.New(rand.NewPCG(seed, 5))
	real, simulated := newReal(t, dir), newSimulated(t)
	var history []string
	for range realCalls {
		c := drawCall(rng)
		history = append(history, c.text)
		is, want := simulated.run(c), real.run(c)
		proof.Count("calls of simkernel compared with Linux", 1)
		if is != want {
			t.Fatalf("seed %d:\n%s\nLinux:\n%s\nsimkernel:\n%s", seed, strings.Join(history[max(0, len(history)-30):], "\n"), want, is)
		}
	}
}

// A call is a system call, or a few, by a user, that returns what came of it.
type call struct {
	text string
	user bool // by an ordinary user
	do   func(s *side) string
}

// side is one of the two kernels, with a tree.
type side struct {
	kernel sys.Kernel // nil: Linux
	roots  [2]int     // descriptors of the tree: root's, and the user's
	base   int        // of the directory above it
	slots  [4]int     // open files; -1: none
	owner  [4]bool    // whether the user opened it
	events int        // an inotify instance
	before map[uint64]unix.Statx_t
}

func newReal(t *testing.T, dir string) *side {
	sys.Simulate(nil)
	base, err := os.MkdirTemp(dir, "tidemark-simkernel-")
	require.NoError(t, err)
	t.Cleanup(func() {
		sys.Simulate(nil)
		require.NoError(t, os.RemoveAll(base))
	})
	require.NoError(t, os.Chmod(base, 0o755))
	s := &side{}
	s.begin(t, base, func(path string) int {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		require.NoError(t, err)
		return fd
	})
	s.roots[1] = s.roots[0]
	t.Cleanup(func() {
		for _, fd := range append([]int{s.roots[0], s.base, s.events}, s.slots[:]...) {
			_ = unix.Close(fd)
		}
	})
	return s
}

func newSimulated(t *testing.T) *side {
	k := simkernel.New(simkernel.Options{})
	root, user := k.Start("root", 0), k.Start("user", 1000)
	s := &side{kernel: root}
	sys.Simulate(root)
	require.NoError(t, sys.Mkdir("/base", 0o755))
	s.begin(t, "/base", func(path string) int {
		fd, err := root.Openat(unix.AT_FDCWD, path, unix.O_RDONLY|unix.O_DIRECTORY, 0)
		require.NoError(t, err)
		return fd
	})
	var err error
	s.roots[1], err = user.Openat(unix.AT_FDCWD, "/base/tree", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	require.NoError(t, err)
	return s
}

// begin makes a tree and an inotify instance.
func (s *side) begin(t *testing.T, base string, open func(path string) int) {
	tree := filepath.Join(base, "tree")
	require.NoError(t, sys.Mkdir(tree, 0o777))
	s.base, s.roots[0], s.slots = open(base), open(tree), [4]int{-1, -1, -1, -1}
	require.NoError(t, sys.Fchmod(s.roots[0], 0o777))
	var err error
	s.events, err = sys.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	require.NoError(t, err)
	for _, dir := range []string{"a", "b", "a/a", "a/b"} {
		require.NoError(t, sys.Mkdirat(s.roots[0], dir, 0o777))
	}
	_, _ = s.look(), s.heard()
}

// run makes a call, and tells its result, what has changed, and what was heard.
func (s *side) run(c call) string {
	sys.Simulate(s.kernel)
	if s.kernel == nil {
		if !fineTimes || strings.Contains(c.text, "unlink") || strings.Contains(c.text, "rename") {
			pastTick()
		}
		become(c.user)
	}
	result := c.do(s)
	if s.kernel == nil {
		become(false)
	}
	heard := s.heard()
	return c.text + " = " + result + "\n" + s.look() + heard
}

// become gives this thread, and no other, the rights of a user: the calls are made by it.
func become(user bool) {
	id := uintptr(0)
	if user {
		id = 1000
	}
	const same = ^uintptr(0)
	for _, call := range [][4]uintptr{{unix.SYS_SETRESUID, same, 0, same}, {unix.SYS_SETGROUPS, 0, 0, 0}, {unix.SYS_SETRESGID, same, id, same}, {unix.SYS_SETRESUID, same, id, same}} {
		if _, _, errno := unix.RawSyscall(call[0], call[1], call[2], call[3]); errno != 0 {
			panic(fmt.Sprint("another user: ", errno))
		}
	}
}

// pastTick waits for the next tick of the clock. File times are no finer than that before
// Linux 6.13, and on tmpfs still where a name is removed: its directory gets the time of the
// removed inode, whose own last time nobody looked at.
func pastTick() {
	var begun, now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &begun)
	for now = begun; now == begun; {
		_ = unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &now)
	}
}

// fineTimes says that this kernel gives a file another time for each change that somebody
// could see: since Linux 6.13.
var fineTimes = haveFineTimes()

func haveFineTimes() bool {
	f, err := os.CreateTemp("", "tidemark-simkernel-")
	if err != nil {
		return false
	}
	defer func() { _, _ = f.Close(), os.Remove(f.Name()) }()
	seen := map[unix.Timespec]bool{}
	for range 10 {
		var st unix.Stat_t
		_, _ = unix.Fchmod(int(f.Fd()), 0o600), unix.Fstat(int(f.Fd()), &st)
		seen[st.Ctim] = true
	}
	return len(seen) == 10
}
